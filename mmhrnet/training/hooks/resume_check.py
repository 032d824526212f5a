"""Checks that a checkpoint belongs to the model and the optimizer that resume from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal, TypeGuard

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor
from torch.optim import Optimizer

from mmhrnet.checkpoints import state_of
from mmhrnet.errors import TrainingError, listed
from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.resume_state import Checkpoint, Parameter, find_oddity
from mmhrnet.training.hooks.unwrap import model_of

NUMBERS = (bool, int, float, np.number)
LARGEST = 1e300
# Settings by which kinds of optimizers are told apart.
KINDS = {'alpha', 'betas', 'etas', 'lambd', 'lr_decay', 'momentum', 'rho'}


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Compares a checkpoint with model, optimizer and schedule before a resume.

    MMEngine leaves out tensors that do not fit, PyTorch gives the optimizer whatever state the
    file has (the fused ones then write past its end), numpy its random position, and MMEngine
    counts up to the iteration of the file.

    Raises:
        TrainingError: Names what is wrong, what it is in the file and here, and what to do.
    """

    priority = 'HIGHEST'  # before other hooks take anything out of the checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        state_of(checkpoint)
        if not runner._resume:
            return
        problem = next(_problems(runner, checkpoint), None)
        if problem is not None:
            raise TrainingError(
                f'{runner._load_from or "The checkpoint"} cannot be resumed: {problem}. Resume it '
                'with the config of its training; to start a new training from its weights, leave '
                'out --resume and give --cfg-options load_from=PATH'
            )


def _problems(runner: Runner, checkpoint: Checkpoint) -> Iterator[str]:
    parts = ('state_dict', 'meta', 'message_hub')
    absent = [part for part in parts if not isinstance(checkpoint.get(part), dict)]
    if absent:
        yield f'it contains only weights, without {listed(absent)}'
    oddity = find_oddity(checkpoint)
    if oddity:
        yield oddity
    yield from _schedule_misfits(runner, checkpoint)
    if isinstance(runner, Runner):  # pieces of sharded models are compared by PyTorch
        yield from _misfits(checkpoint['state_dict'], model_of(runner).state_dict())
        yield from _optimizer_misfits(runner, checkpoint)


def _schedule_misfits(runner: Runner, checkpoint: Checkpoint) -> Iterator[str]:
    loop, meta = runner.train_loop, checkpoint['meta']
    # The iterations of an epoch differ with the number of GPUs.
    unit: Literal['epoch', 'iter'] = 'epoch' if isinstance(loop, EpochBasedTrainLoop) else 'iter'
    end = getattr(loop, f'max_{unit}s', meta[unit])
    if meta[unit] > end:
        yield f'its meta.{unit} is {meta[unit]}, and train_cfg.max_{unit}s is {end}'
    for key, value in checkpoint['message_hub']['runtime_info'].items():
        is_number = isinstance(value, NUMBERS) or (isinstance(value, Tensor) and not value.dim())
        if key.startswith('best_score') and not is_number:
            yield f'its {key} is {_shape(value)}'
    schedulers, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
    if isinstance(schedulers, dict) and isinstance(saved, dict):
        schedulers = [s for name in saved for s in schedulers.get(name, ())]
        saved = [state for name in saved for state in saved[name]]
    if isinstance(schedulers, list) and isinstance(saved, list):
        for scheduler, state in zip(schedulers, saved):
            own = scheduler.state_dict()
            yield from _unlike(state, own, 'schedule')
            # MMEngine would replace these by those of the file.
            others = (name for name in state.keys() - own.keys() if hasattr(scheduler, name))
            yield from (f'{name} of its schedule is not one of its settings' for name in others)


def _misfits(in_file: Mapping[str, object], here: Mapping[str, object]) -> Iterator[str]:
    for name in [name for name in here if name in in_file]:
        found, wanted = in_file[name], here[name]
        if isinstance(wanted, Tensor) and (not _is_plain(found) or found.shape != wanted.shape):
            yield f'{name} is {_shape(found)} in the file and {_shape(wanted)} here'
    yield from (f'{name} is not in the file' for name in here if name not in in_file)
    yield from (f'{name} of the file is not in the model' for name in in_file if name not in here)


def _optimizer_misfits(runner: Runner, checkpoint: Checkpoint) -> Iterator[str]:
    parameters = dict(model_of(runner).named_parameters())
    order = [name for name in checkpoint['state_dict'] if name in parameters]
    for in_file, here in zip(order, parameters):
        if in_file != here:
            yield f'its optimizer counts {in_file} where this one counts {here}'
    wrapper = runner.optim_wrapper
    state: Mapping[str, Any] | None = checkpoint.get('optimizer')
    if state is not None and isinstance(wrapper, OptimWrapperDict):
        for name, part in wrapper.items():
            yield from _group_misfits(state.get(name, {}), part.optimizer)
    elif state is not None:
        yield from _group_misfits(state, wrapper.optimizer)


def _group_misfits(state: Mapping[str, Any], optimizer: Optimizer) -> Iterator[str]:
    groups, ours = state.get('param_groups', []), optimizer.param_groups
    if len(groups) != len(ours):
        yield f'its optimizer has {len(groups)} parameter groups, this one {len(ours)}'
    for number, (in_file, here) in enumerate(zip(groups, ours)):
        kinds = [', '.join(sorted(KINDS & group.keys())) or 'neither' for group in (in_file, here)]
        if kinds[0] != kinds[1]:
            yield f'its optimizer is of another kind, with {kinds[0]}, this one with {kinds[1]}'
        counts = len(in_file['params']), len(here['params'])
        if counts[0] != counts[1]:
            yield f'group {number} of its optimizer has {counts[0]} parameters, here {counts[1]}'
        settings = {name: value for name, value in here.items() if name != 'params'}
        yield from _unlike(in_file, settings, 'optimizer')
        for index, parameter in zip(in_file['params'], here['params']):
            yield from _state_misfits(state.get('state', {}).get(index, {}), parameter, index)


def _state_misfits(
    state: Mapping[str, object], parameter: Tensor, index: Parameter
) -> Iterator[str]:
    for key, value in state.items():
        what = f'{key} of parameter {index} of its optimizer is {_shape(value)}'
        if isinstance(value, (NoneType, *NUMBERS)):
            continue
        if not _is_plain(value):
            yield what
        elif not _fits(value.shape, parameter.shape):
            yield f'{what}, the parameter {_shape(parameter)}'


def _fits(shape: torch.Size, parameter: torch.Size) -> bool:
    """With as many dimensions as the parameter; a factored state has 1 where that has more."""
    if len(shape) == len(parameter):
        return all(size in (1, wanted) for size, wanted in zip(shape, parameter))
    return all(size in (1, *parameter) for size in shape)


def _unlike(in_file: Mapping[str, object], here: Mapping[str, object], what: str) -> Iterator[str]:
    """Settings that are of another kind, like text in place of a number."""
    for name, ours in here.items():
        if not _is_like(in_file.get(name, ours), ours):
            yield f'{name} of its {what} is {_shape(in_file[name])}, here {_shape(ours)}'


def _is_like(found: object, ours: object) -> bool:
    if ours is None:
        return True
    if isinstance(ours, NUMBERS):
        # ReduceOnPlateau begins with infinity; NaN is outside of all bounds.
        return isinstance(found, NUMBERS) and bool(found == ours or -LARGEST < found < LARGEST)
    if isinstance(ours, (list, tuple)) and isinstance(found, (list, tuple)) and ours:
        return all(_is_like(item, ours[0]) for item in found)
    return isinstance(found, type(ours))


def _is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor of real numbers that lie in memory side by side."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type != 'meta'
        and not value.is_quantized
        and not value.is_complex()
        and not value.is_nested
    )


def _shape(value: object) -> str:
    if _is_plain(value):
        return str(tuple(value.shape))
    if isinstance(value, NUMBERS):
        return repr(value)
    return 'not a plain tensor' if isinstance(value, Tensor) else f'of type {type(value).__name__}'
