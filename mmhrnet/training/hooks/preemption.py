"""A training that is told to stop leaves a checkpoint that resumes exactly."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce, barrier, get_comm_device, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.checkpoint import AtomicCheckpointHook
from mmhrnet.training.hooks.non_blocking import Arriving

SIGNALS = tuple(
    getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name)
)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Ends the training after the iteration in which SIGTERM, SIGINT or SIGUSR1 comes.

    It writes one checkpoint, logs the command to go on with and exits with 128 + the signal. During
    an evaluation it exits at once if the iteration has its checkpoint, as after most settings, and
    is evaluated when resumed; otherwise after the evaluation. A second signal ends at once. Of
    several processes one signal to any is enough: they ask one another in each iteration and read
    the answer in the next, so that no GPU waits, and all end after the same one. Further signals
    are not heeded there, because launchers pass on what each process has received already.

    Handlers are set in the main thread only, and set back when the training is over.
    """

    priority = 'VERY_LOW'  # after schedulers have stepped and due checkpoints are written

    def __init__(self) -> None:
        self._received = 0
        self._asked: Arriving | None = None
        self._previous: dict[int, Any] = {}
        self._is_training = False
        self._is_over = RawValue('b', 0)  # shared with the workers

    def before_train(self, runner: Runner) -> None:
        self._received, self._asked, self._is_training = 0, None, True
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        self._checkpoint = hooks[0] if hooks else AtomicCheckpointHook(by_epoch=False)
        if not hooks:
            self._checkpoint.before_train(runner)
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
            self._shield_workers(runner)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        asked, self._asked = self._asked, self._ask()
        if get_world_size() == 1:
            asked = self._asked
        if self._is_told(asked) and _is_stepped(runner):
            self._stop(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        # Processes may have unlike numbers of batches here, and could not agree.
        is_saved = get_world_size() == 1 and self._checkpoint.saved_iter == runner.iter
        if self._received and is_saved and _is_stepped(runner):
            self._stop(runner, runner.iter)

    def after_val(self, runner: Runner) -> None:
        if self._is_training and self._is_told(self._ask()) and _is_stepped(runner):
            self._stop(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        self._is_training = False
        self.restore_signals(runner)

    def restore_signals(self, runner: Runner) -> None:
        """Sets back the handlers; also to be called when a training ends by an error."""
        self._release_workers()
        atexit.unregister(self._release_workers)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received and get_world_size() == 1:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._received = self._received or number

    def _shield_workers(self, runner: Runner) -> None:
        self._is_over = RawValue('b', 0)
        atexit.register(self._release_workers)  # else multiprocessing waits for them forever
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            loader = loop.dataloader
            loader.worker_init_fn = partial(_shield, self._is_over, loader.worker_init_fn)

    def _release_workers(self) -> None:
        self._is_over.value = 1

    def _ask(self) -> Arriving:
        """The signal that any of the processes has received, or 0."""
        number = torch.tensor(self._received)
        if get_world_size() > 1:
            number = number.to(get_comm_device())
            all_reduce(number, 'max')
        return Arriving(number)

    def _is_told(self, asked: Arriving | None) -> bool:
        number = int(asked.wait()) if asked else 0
        self._received = max(self._received, number)  # to be said by all of them
        return number > 0

    def _stop(self, runner: Runner, iteration: int) -> NoReturn:
        path = self._checkpoint.save_now(runner, runner.epoch, iteration)
        barrier()  # where one ends, the launcher ends the one that still writes
        self.restore_signals(runner)
        name = signal.Signals(self._received).name
        runner.logger.warning(
            f'Stopped by {name} after iteration {iteration}, saved in {path}. '
            f'Resume with: {_resume_command()}'
        )
        raise SystemExit(128 + self._received)


def _shield(is_over: Any, init: Callable[[int], None] | None, worker: int) -> None:
    """Lets a worker outlive signals to the whole group as long as the main process needs it.

    Set in the worker itself: there torch sets a handler that ends it, and with it the training.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if is_over.value:
            os._exit(0)

    for number in SIGNALS:
        signal.signal(number, end)
    if init is not None:
        init(worker)


def _is_stepped(runner: Runner) -> bool:
    """False while gradients are accumulated, which are in no checkpoint."""
    wrappers = runner.optim_wrapper
    wrappers = wrappers.values() if hasattr(wrappers, 'values') else [wrappers]
    return all(w.should_update() for w in wrappers)


def _resume_command() -> str:
    arguments = sys.orig_argv
    return shlex.join([*arguments, *(['--resume'] if arguments[-1] != '--resume' else [])])
