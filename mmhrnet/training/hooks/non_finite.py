"""Stops a training at the first loss that is not finite, names the cause and keeps the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NoReturn

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmhrnet.errors import TrainingError
from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.non_blocking import Arriving
from mmhrnet.training.hooks.random_state import random_state, set_random_state
from mmhrnet.training.hooks.resume_state import Checkpoint, RandomState
from mmhrnet.training.hooks.unwrap import model_of, optim_wrappers

Losses = Mapping[str, Tensor | list[Tensor]]
Parsed = tuple[Tensor, dict[str, Tensor]]


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stops at the first loss that is NaN or infinite, and keeps such weights out of checkpoints.

    The loss is checked before the optimizer steps, while the weights are still those that gave it:
    the batch is run again, and the first module with a non-finite output is named. On a GPU the
    answer is copied while the backward pass runs, so nothing waits for it.

    Where the step is compiled as a whole (``compile`` of the config), or a model computes its step
    without ``parse_losses``, the loss is checked after the step.

    Raises:
        TrainingError: Names the iteration, the images of the batch and the module; or the weights
            that are not finite in a checkpoint.
    """

    priority = 80  # after ExactResumeHook set the random state, before checkpoints are written

    def __init__(self) -> None:
        self._batch: object = None
        self._state: RandomState
        self._is_finite: Arriving | None = None
        self._by_design: set[str] = set()
        self._handles: list[RemovableHandle] = []

    def before_train(self, runner: Runner) -> None:
        model = model_of(runner)
        self._by_design = set(_non_finite(model.state_dict()))
        if runner.cfg.get('compile'):
            return
        model.parse_losses = partial(self._parse_losses, model.parse_losses)
        check = partial(self._before_step, runner)
        self._handles = [
            wrapper.optimizer.register_step_pre_hook(check) for wrapper in optim_wrappers(runner)
        ]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        self._batch, self._state, self._is_finite = data_batch, random_state(), None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Checks steps that mixed precision skipped, accumulation delayed or no hook watched."""
        loss = (outputs or {}).get('loss')
        if loss is not None and not bool(torch.as_tensor(loss).isfinite().all()):
            self._stop(runner)

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()
        vars(model_of(runner)).pop('parse_losses', None)

    def before_save_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        bad = [n for n in _non_finite(checkpoint['state_dict']) if n not in self._by_design]
        if bad:
            raise TrainingError(
                f'After iteration {checkpoint["meta"]["iter"]} the weights are not finite, first '
                f'{bad[0]}: no checkpoint is written, and the earlier ones are good. '
                'Lower the learning rate or clip gradients, and continue with --resume'
            )

    def _parse_losses(self, parse: Callable[[Losses], Parsed], losses: Losses) -> Parsed:
        loss, logged = parse(losses)
        if isinstance(loss, Tensor):
            self._is_finite = Arriving(loss.detach().isfinite().all())
        return loss, logged

    def _before_step(self, runner: Runner, *step: object) -> None:
        if self._is_finite is not None and not bool(self._is_finite.wait()):
            self._stop(runner)

    def _stop(self, runner: Runner) -> NoReturn:
        last = runner.message_hub.runtime_info.get('last_ckpt')
        images = ', '.join(_image_names(self._batch)) or 'unknown'
        raise TrainingError(
            f'The loss of iteration {runner.iter + 1} is not finite. {self._cause(runner)} '
            f'Images of the batch: {images}. The last good checkpoint: {last or "none yet"}'
        )

    def _cause(self, runner: Runner) -> str:
        model = model_of(runner)
        # Not the buffers: this very forward pass may have spoilt a running mean.
        weights = next(_non_finite(dict(model.named_parameters())), None)
        if weights:
            return f'The step before it made the weights not finite, first {weights}.'
        synced = any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
        if synced and get_world_size() > 1:  # it would wait for the other processes
            return 'The module is not searched for where norms are synchronized.'
        set_random_state(self._state)
        with torch.no_grad(), runner.optim_wrapper.optim_context(model):
            name = first_non_finite_module(model, self._batch)
        if name is None:
            return 'The outputs of all modules are finite, so the loss itself is the cause.'
        return f'The first module whose output is not finite: {name or type(model).__name__}.'


def first_non_finite_module(model: BaseModel, batch: object) -> str | None:
    """Runs a training batch forward; the name of the first module with a non-finite output."""
    found: list[str] = []

    def look(name: str, module: nn.Module, args: object, output: object) -> None:  # noqa: ARG001
        tensors = (leaf for leaf in _leaves(output) if isinstance(leaf, Tensor))
        if not found and any(not tensor.isfinite().all() for tensor in tensors):
            found.append(name)

    hooks = [m.register_forward_hook(partial(look, name)) for name, m in model.named_modules()]
    try:
        data = model.data_preprocessor(batch, True)
        model._run_forward(data, mode='loss')
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _leaves(tree: object) -> Iterator[object]:
    if not isinstance(tree, (dict, list, tuple)):
        yield tree
        return
    for branch in tree.values() if isinstance(tree, dict) else tree:
        yield from _leaves(branch)


def _image_names(batch: object) -> Iterator[str]:
    for leaf in _leaves(batch):
        if isinstance(leaf, BaseDataElement) and 'img_path' in leaf.metainfo:
            yield str(leaf.metainfo['img_path'])


def _non_finite(tensors: Mapping[str, object]) -> Iterator[str]:
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not bool(tensor.isfinite().all()):
            yield name
