"""A training that is told to stop leaves a checkpoint that resumes exactly."""

from __future__ import annotations

import atexit
import ctypes
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import NoReturn

import torch
from mmengine.dist import all_reduce, barrier, get_comm_device, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.checkpoint import AtomicCheckpointHook
from mmhrnet.training.hooks.non_blocking import Arriving
from mmhrnet.training.hooks.unwrap import optim_wrappers

Handler = Callable[[int, FrameType | None], object] | int | None
SIGNALS = tuple(
    getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name)
)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Ends the training after the iteration in which SIGTERM, SIGINT or SIGUSR1 arrives.

    It writes one checkpoint, logs the command that resumes it and exits with 128 + the signal.
    During an evaluation, it exits at once if the iteration already has a checkpoint, as most
    settings make it, and the resumed training evaluates that first; otherwise it exits after the
    evaluation. A second signal ends the process at once.

    With several processes, a signal to any of them is enough: they ask each other in each iteration
    and read the answer in the next one, so that no GPU waits, and all end after the same iteration.
    Further signals are ignored there, because launchers pass on signals that each process has
    received already.

    Handlers are set in the main thread only and are restored when the training is over.
    """

    priority = 'VERY_LOW'  # after schedulers have stepped and due checkpoints are written

    def __init__(self) -> None:
        self._received = 0
        self._asked: Arriving | None = None
        self._previous: dict[int, Handler] = {}
        self._is_training = False
        self._is_over = RawValue(ctypes.c_bool, False)  # shared with the workers

    def before_train(self, runner: Runner) -> None:
        self._received, self._asked, self._is_training = 0, None, True
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        self._checkpoint = hooks[0] if hooks else AtomicCheckpointHook(by_epoch=False)
        if not hooks:
            self._checkpoint.before_train(runner)
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
            self._shield_workers(runner)

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        asked, self._asked = self._asked, self._ask()
        if get_world_size() == 1:
            asked = self._asked
        if self._is_told(asked) and _is_stepped(runner):
            self._stop(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        # The processes may have different numbers of batches here, so they could not agree.
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
        """Restores the handlers; to be called, too, when a training ends with an error."""
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
        self._is_over = RawValue(ctypes.c_bool, False)
        atexit.register(self._release_workers)  # else multiprocessing waits for them forever
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            loader = loop.dataloader
            loader.worker_init_fn = partial(_shield, self._is_over, loader.worker_init_fn)

    def _release_workers(self) -> None:
        self._is_over.value = True

    def _ask(self) -> Arriving:
        """The signal that any of the processes has received, or 0."""
        number = torch.tensor(self._received)
        if get_world_size() > 1:
            number = number.to(get_comm_device())
            all_reduce(number, 'max')
        return Arriving(number)

    def _is_told(self, asked: Arriving | None) -> bool:
        number = int(asked.wait()) if asked else 0
        self._received = max(self._received, number)  # all of them log it
        return number > 0

    def _stop(self, runner: Runner, iteration: int) -> NoReturn:
        path = self._checkpoint.save_now(runner, runner.epoch, iteration)
        barrier()  # when one process ends, the launcher ends the one that still writes
        self.restore_signals(runner)
        name = signal.Signals(self._received).name
        runner.logger.warning(
            f'Stopped by {name} after iteration {iteration}, saved in {path}. '
            f'Resume with: {resume_command()}'
        )
        raise SystemExit(128 + self._received)


def _shield(is_over: ctypes.c_bool, init: Callable[[int], None] | None, worker: int) -> None:
    """Lets a worker outlive signals to the whole group as long as the main process needs it.

    It runs in the worker, where torch has set a handler that would end it and the training.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if is_over.value:
            os._exit(0)

    for number in SIGNALS:
        signal.signal(number, end)
    if init is not None:
        init(worker)


def _is_stepped(runner: Runner) -> bool:
    """False while gradients are accumulated, which no checkpoint contains."""
    return all(wrapper.should_update() for wrapper in optim_wrappers(runner))


def resume_command() -> str:
    """The command that runs, from the latest checkpoint on instead of one that it named."""
    kept, before = [], ''
    for argument in sys.orig_argv:
        is_value = before == '--resume' and not argument.startswith('-')
        if not is_value and argument.partition('=')[0] != '--resume':
            kept.append(argument)
        before = argument
    return shlex.join([*kept, '--resume'])
