"""From a trained model to its exact fast form."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmhrnet.deploy.backbone import rewrite_backbone
from mmhrnet.deploy.necks import (
    DeployHRNetV2,
    DeployHRNetV2p,
    rewrite_classifier,
    rewrite_concatenation,
)
from mmhrnet.deploy.rewrites import Rewrites
from mmhrnet.deploy.units import ConvUnit, fold
from mmhrnet.errors import ConfigError
from mmhrnet.hub.features import Features
from mmhrnet.models import HRNet, HRNetC, HRNetV2, HRNetV2p

Model = TypeVar('Model', bound=nn.Module)
FORMS: dict[type[nn.Module], Callable[[Any, Rewrites], Any]] = {
    HRNet: rewrite_backbone,
    Features: rewrite_backbone,
    HRNetV2: DeployHRNetV2,
    HRNetV2p: DeployHRNetV2p,
    HRNetC: rewrite_classifier,
}


def optimize(
    model: Model, rewrites: Rewrites | None = None, *, inplace: bool = False, **switches: bool
) -> Model:
    """The model's exact fast form for inference: same inputs, same outputs but rounding.

    Takes a backbone, a neck, their ``nn.Sequential``, or a whole detector, segmentor, pose
    estimator or classifier of a host library, whose heads keep their classes.

    Args:
        model: Model with ``mmhrnet`` parts, trained.
        rewrites: Which rewrites to apply; None is those that won on a CPU.
        inplace: Rewrite this model instead of a copy.
        switches: Single rewrites, over ``rewrites``: ``optimize(model, channels_last=False)``.

    Returns:
        The model in eval mode. It no longer trains, and its state dict is its own.

    Raises:
        ConfigError: No part of mmhrnet in the model, or it is optimized already.
    """
    rewrites = replace(rewrites or Rewrites(), **switches)
    kinds = {type(part) for part in model.modules()}
    if ConvUnit in kinds:
        raise ConfigError(f'{type(model).__name__} is optimized already')
    if not kinds & set(FORMS):
        raise ConfigError(
            f'{type(model).__name__} contains no part of mmhrnet to optimize: set the type of the '
            "backbone in its config to 'mmhrnet.HRNet'"
        )
    model = (model if inplace else deepcopy(model)).eval()
    if rewrites.commute_upsampling:
        rewrite_concatenation(model, rewrites)
    model = _rewrite(model, rewrites)
    if rewrites.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _rewrite(module: Model, rewrites: Rewrites) -> Model:
    if type(module) in FORMS:
        return FORMS[type(module)](module, rewrites)
    for name, child in module.named_children():
        module.add_module(name, _rewrite(child, rewrites))
    if rewrites.fold_norms:
        _fold_host_norms(module)
    return module


def _fold_host_norms(module: nn.Module) -> None:
    """Folds norms whose order is known: those of ``nn.Sequential`` and ``ConvModule``."""
    pairs: list[tuple[str, str]] = []
    if isinstance(module, nn.Sequential):
        pairs = list(pairwise(module._modules))
    elif isinstance(module, ConvModule) and module.with_norm and module.order[0] == 'conv':
        pairs = [('conv', module.norm_name)] if module.order[1] == 'norm' else []
    for conv, norm in pairs:
        folded = fold(module.get_submodule(conv), module.get_submodule(norm))
        if folded is not None:
            module.add_module(conv, folded)
            module.add_module(norm, nn.Identity())
