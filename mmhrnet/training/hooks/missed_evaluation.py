"""Catches up on an interrupted evaluation when the training is resumed."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.resume_state import Checkpoint


@HOOKS.register_module()
class MissedEvaluationHook(Hook):
    """Evaluates first if a resumed checkpoint was written before its evaluation.

    MMEngine writes a checkpoint, then evaluates. A checkpoint whose training died in between would
    never be evaluated, and the best one could be missed.
    """

    priority = 'LOWEST'  # after the checkpoint hook is ready to keep the best one

    def __init__(self) -> None:
        self._evaluated: int | None = None  # iteration of the last evaluation
        self._missed = False
        self._counts: dict[str, object] = {}  # as an uninterrupted evaluation saves them

    def after_load_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        self._missed = checkpoint.get('evaluated') is False
        info = checkpoint['message_hub']['runtime_info'] if self._missed else {}
        self._counts = {key: info[key] for key in ('epoch', 'iter') if key in info}

    def before_train(self, runner: Runner) -> None:
        if runner.iter > 0 and self._missed and runner.val_loop and _is_due(runner):
            runner.logger.info('MissedEvaluationHook: the checkpoint was not evaluated yet')
            for name, count in self._counts.items():  # MMEngine has set the next ones
                runner.message_hub.update_info(name, count)
            runner.val_loop.run()

    def before_val(self, runner: Runner) -> None:
        self._evaluated = runner.iter

    def before_save_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        checkpoint['evaluated'] = checkpoint['meta']['iter'] == self._evaluated


def _is_due(runner: Runner) -> bool:
    loop = runner.train_loop
    loop._decide_current_val_interval()
    done, end = loop.iter, loop.max_iters
    if isinstance(loop, EpochBasedTrainLoop):
        if loop.iter != loop.epoch * len(loop.dataloader):
            return False
        done, end = loop.epoch, loop.max_epochs
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
