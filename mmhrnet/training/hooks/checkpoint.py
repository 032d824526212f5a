"""Checkpoints that are never half-written and are kept until their successor is complete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend, LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmhrnet.bridges.mmengine_paths import checkpoint_folder
from mmhrnet.checkpoints import CheckpointError, load
from mmhrnet.errors import TrainingError
from mmhrnet.hosts import class_metric
from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.durable_files import DURABLE, DurableBackend, sweep, write_durably
from mmhrnet.training.hooks.latest import newest_intact


class Step(TypedDict):
    epoch: int
    iter: int


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook, with its arguments, whose local files survive a crash at any time.

    Periodic and best checkpoints and the file ``last_checkpoint`` are written to a temporary file,
    synchronized with the disk and renamed; what they replace is removed after that. Where
    ``max_keep_ckpts`` would leave one checkpoint, two are kept. The first one is read back at once.
    Resuming without a named checkpoint takes the newest intact one.

    Other backends (``out_dir='s3://...'``) write as MMEngine does.

    Args:
        max_keep_ckpts: Periodic checkpoints to keep, at least two; -1 keeps all.
        kwargs: The other arguments of MMEngine's CheckpointHook.
    """

    file_backend: BaseStorageBackend
    saved_iter: int | None = None  # iteration of the last checkpoint of this process
    is_read_back = False

    def __init__(self, *, max_keep_ckpts: int = -1, **kwargs: object) -> None:
        keep = max(max_keep_ckpts, 2) if max_keep_ckpts > 0 else max_keep_ckpts
        super().__init__(max_keep_ckpts=keep, **kwargs)

    def before_run(self, runner: Runner) -> None:
        """Chooses the checkpoint to resume; MMEngine looks for it after this."""
        pointer = Path(runner.work_dir, 'last_checkpoint')
        if pointer.is_dir():
            raise TrainingError(f'{pointer} is a folder where a file is to be written: move it')
        folder = checkpoint_folder(self, runner)
        if runner._resume and runner._load_from is None and '://' not in folder:
            found = newest_intact(runner.work_dir, folder)
            runner._load_from = found and str(found)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
        if type(self.file_backend) is LocalBackend and self.file_client_args is None:
            self.file_backend = DurableBackend()
            self.backend_args = dict(backend=DURABLE)
            if is_main_process():
                sweep(self.out_dir)
                self._mark(runner.message_hub.runtime_info.get('outdated_ckpts', ()))
                self._remove_outdated()

    def save_now(self, runner: Runner, epoch: int, iteration: int) -> str:
        """Writes a checkpoint after that many epochs and iterations, unless there is one.

        Returns:
            Its path.
        """
        if self.saved_iter != iteration:
            step = f'{epoch}_iter_{iteration}' if self.by_epoch else iteration
            self._save_checkpoint_with_step(runner, step, {'epoch': epoch, 'iter': iteration})
        return str(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner: Runner, step: int | str, meta: Step) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._mark_outdated(runner, step)
        # On all processes, whereas only the main one writes.
        runner.call_hook('before_gather_checkpoint')
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.saved_iter = meta['iter']
        self._read_back()
        if is_main_process():
            write_durably(Path(runner.work_dir, 'last_checkpoint'), os.fsencode(self.last_ckpt))
        self._remove_outdated()

    def _read_back(self) -> None:
        """Loads the first checkpoint, so that one that cannot be resumed is noticed early."""
        local = isinstance(self.file_backend, DurableBackend) and Path(self.last_ckpt).is_file()
        if self.is_read_back or not local or not is_main_process():
            return
        self.is_read_back = True
        try:
            load(self.last_ckpt, 'cpu')
        except CheckpointError as error:
            raise TrainingError(f'What this training saves cannot be loaded: {error}') from error

    def _save_best_checkpoint(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        whole = {name: value for name, value in metrics.items() if not class_metric(name)}
        super()._save_best_checkpoint(runner, whole)  # 'auto' takes the first one
        self._remove_outdated()

    def _mark_outdated(self, runner: Runner, step: int | str) -> None:
        if self.max_keep_ckpts <= 0:
            return
        steps = [*(kept for kept in self.keep_ckpt_ids if kept != step), step]
        names = [self.filename_tmpl.format(old) for old in steps[: -self.max_keep_ckpts]]
        outdated = [self.file_backend.join_path(self.out_dir, name) for name in names]
        self._mark(outdated)
        self.keep_ckpt_ids.extend(steps)  # a deque of that length
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        # For the run that is resumed from this one, if it is killed before these are removed.
        runner.message_hub.update_info('outdated_ckpts', outdated)

    def _mark(self, outdated: Iterable[str]) -> None:
        for path in outdated if is_main_process() else ():
            self.file_backend.remove(path)

    def _remove_outdated(self) -> None:
        if isinstance(self.file_backend, DurableBackend):
            self.file_backend.remove_outdated(self.out_dir)
