"""The necks in their deploy form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmhrnet.deploy.rewrites import Rewrites
from mmhrnet.deploy.units import ConvUnit, DeployBlock, children
from mmhrnet.deploy.upsampling import add_upsampled
from mmhrnet.errors import ConfigError
from mmhrnet.models.checks import check_maps
from mmhrnet.models.necks import HRNetC, HRNetV2, HRNetV2p, check_pyramid, concatenate


def unit_of_module(module: ConvModule, rewrites: Rewrites) -> ConvUnit:
    """The unit of MMCV's convolution, norm and ReLU.

    Raises:
        ConfigError: Another order or activation.
    """
    if not _has_form(module):
        raise ConfigError(f'Only convolution, norm and ReLU have a deploy form, not {module}')
    norm = module.norm if module.with_norm else None
    return ConvUnit(module.conv, norm, module.with_activation, rewrites)


def _has_form(module: ConvModule) -> bool:
    plain = not module.with_activation or type(module.activate) is nn.ReLU
    return plain and module.order == ('conv', 'norm', 'act')


class Mixing(nn.Module):
    """The 1x1 convolution of all maps, upsampled and side by side, then norm and ReLU if any."""

    def __init__(
        self, module: ConvModule, channels: Sequence[int], align_corners: bool, rewrites: Rewrites
    ) -> None:
        super().__init__()
        self.align_corners, self.banded = align_corners, rewrites.banded_upsampling
        unit = unit_of_module(module, rewrites)
        self.relu = unit.relu
        units, conv = [unit], unit.conv
        if rewrites.commute_upsampling and unit.norm is None and type(conv) is nn.Conv2d:
            units = _split(conv, channels, rewrites)
        self.units = nn.ModuleList(units)

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        if len(self.units) == 1:
            return self.units[0](concatenate(xs, self.align_corners))
        y, *maps = [unit(x) for unit, x in zip(self.units, xs)]  # (N, out_channels, H_i, W_i)
        return add_upsampled(y, maps, self.align_corners, self.banded, self.relu)


def _split(conv: nn.Conv2d, channels: Sequence[int], rewrites: Rewrites) -> list[ConvUnit]:
    """One convolution for each map; the first carries the bias."""
    parts, bias = [], conv.bias
    for weight in conv.weight.detach().split(list(channels), dim=1):
        part = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device='meta')
        part.weight, part.bias = nn.Parameter(weight.clone()), bias
        parts.append(ConvUnit(part, None, False, rewrites))
        bias = None
    return parts


def rewrite_concatenation(model: nn.Module, rewrites: Rewrites) -> None:
    """Lets the heads of mmseg that are HRNetV2 in themselves mix as :class:`HRNetV2` does.

    These are ``FCNHead(input_transform='resize_concat', kernel_size=1)`` on all maps, in place.
    """
    for whole in model.modules():
        widths = getattr(getattr(whole, 'backbone', None), 'out_channels', ())
        heads: list[Any] = [part for part in whole.modules() if type(part).__name__ == 'FCNHead']
        for head in filter(partial(_mixes, widths), heads):
            head.convs[0] = Mixing(head.convs[0], widths, head.align_corners, rewrites)
            head.input_transform = 'multiple_select'  # the maps as they are


def _mixes(widths: Sequence[int], head: Any) -> bool:
    """Whether the first convolution of a head, 1x1, takes all maps side by side."""
    first = next(head.convs.children(), None)
    if head.input_transform != 'resize_concat' or not isinstance(first, ConvModule):
        return False
    ordered = first.in_channels == sum(widths) and [*head.in_index] == [*range(len(widths))]
    return ordered and first.kernel_size == (1, 1) and _has_form(first)


class DeployHRNetV2(nn.Module):
    """:class:`mmhrnet.HRNetV2` with the same input and output."""

    def __init__(self, neck: HRNetV2, rewrites: Rewrites) -> None:
        super().__init__()
        self.in_channels, self.out_channels = neck.in_channels, neck.out_channels
        self.mixing = Mixing(neck.conv, neck.in_channels, neck.align_corners, rewrites)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        if not torch.compiler.is_compiling():
            check_maps('HRNetV2', inputs, self.in_channels)
        return (self.mixing(inputs),)


class DeployHRNetV2p(nn.Module):
    """:class:`mmhrnet.HRNetV2p` with the same input and output."""

    def __init__(self, neck: HRNetV2p, rewrites: Rewrites) -> None:
        super().__init__()
        self.in_channels, self.out_channels = neck.in_channels, neck.out_channels
        self.num_outs, self.pooling = neck.num_outs, neck.pooling
        if rewrites.convolved_pooling and neck.pooling is F.avg_pool2d:
            self.pooling = average_by_convolution
        self.progressive = rewrites.progressive_pooling
        self.mixing = Mixing(neck.reduction_conv, neck.in_channels, False, rewrites)
        self.convs = nn.ModuleList(
            unit_of_module(conv, rewrites) for conv in children(neck.fpn_convs)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if not torch.compiler.is_compiling():
            check_pyramid(inputs, self.in_channels, self.num_outs)
        levels = [self.mixing(inputs)]  # (N, out_channels, H/4, W/4)
        for i in range(1, self.num_outs):
            step = 2 if self.progressive else 2**i
            levels.append(self.pooling(levels[-1 if self.progressive else 0], step, step))
        return tuple(conv(level) for conv, level in zip(self.convs, levels))


def average_by_convolution(x: Tensor, size: int, stride: int) -> Tensor:
    """The average over ``size`` x ``size`` positions, as :func:`torch.nn.functional.avg_pool2d`."""
    weight = x.new_full((x.shape[1], 1, size, size), 1 / size**2)
    return F.conv2d(x, weight, stride=stride, groups=x.shape[1])


def rewrite_classifier(neck: HRNetC, rewrites: Rewrites) -> HRNetC:
    """Replaces the parts of a classification neck."""
    neck.increase_layers = nn.ModuleList(
        nn.Sequential(*(DeployBlock(block, rewrites, keep_input=True) for block in children(layer)))
        for layer in children(neck.increase_layers)
    )
    neck.downsample_layers = nn.ModuleList(
        unit_of_module(layer, rewrites) for layer in children(neck.downsample_layers)
    )
    neck.add_module('final_layer', unit_of_module(neck.final_layer, rewrites))
    return neck
