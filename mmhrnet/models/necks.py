"""Necks: what the four maps of HRNet become for each kind of head (section 3.3, Fig. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmhrnet.errors import ConfigError
from mmhrnet.models.blocks import INIT_CFG, Bottleneck, Layers
from mmhrnet.models.checks import (
    building,
    can_check,
    check_arguments,
    check_choice,
    check_count,
    check_flags,
    check_init_cfg,
    check_layers,
    check_maps,
    check_widths,
)
from mmhrnet.registry import MODELS

HEAD_WIDTHS = (128, 256, 512, 1024)  # Appendix B: the same for every width of the backbone
POOLINGS: dict[str, Callable[..., Tensor]] = {'AVG': F.avg_pool2d, 'MAX': F.max_pool2d}


def concatenate(xs: Sequence[Tensor], align_corners: bool | None = False) -> Tensor:
    """All maps upsampled bilinearly to the size of the first, side by side."""
    size = xs[0].shape[2:]
    ups = (F.interpolate(x, size, mode='bilinear', align_corners=align_corners) for x in xs[1:])
    return torch.cat([xs[0], *ups], dim=1)  # (N, sum of the channels, H_0, W_0)


def check_pyramid(inputs: Sequence[Tensor], channels: Sequence[int], num_outs: int) -> None:
    check_maps('HRNetV2p', inputs, channels)
    smallest = 2 ** (num_outs - 1)
    if min(inputs[0].shape[2:]) < smallest:
        raise ConfigError(
            f'HRNetV2p with num_outs={num_outs} needs a first map with sides of {smallest} or more '
            f'(an image of {4 * smallest}), not {tuple(inputs[0].shape[2:])}'
        )


def check_octaves(inputs: Sequence[Tensor], channels: Sequence[int]) -> None:
    check_maps('HRNetC', inputs, channels)
    sizes = [tuple(x.shape[2:]) for x in inputs]
    for (h, w), after in pairwise(sizes):
        if after != (-(-h // 2), -(-w // 2)):
            raise ConfigError(
                f'HRNetC takes maps that are each half as large as the one before, not {sizes}'
            )


@MODELS.register_module()
class HRNetV2(BaseModule):
    """HRNetV2: the concatenated representation for dense prediction (section 3.3, Fig. 4b).

    All maps are upsampled to 1/4, concatenated and mixed by a 1x1 convolution, norm and ReLU; one
    more 1x1 convolution of the host's head makes classes or keypoints of it: mmseg's
    ``FCNHead(num_convs=0)``, mmpose's ``HeatmapHead(deconv_out_channels=None)``.

    The keys ``conv.conv`` and ``conv.bn`` are ``last_layer.0`` and ``.1`` of the official
    repository, ``decode_head.convs.0.conv`` and ``.bn`` of mmseg.

    Input: a tuple of ``(N, in_channels[i], H_i, W_i)``, highest resolution first; sizes need not
    divide one another. Output: a tuple of one map ``(N, out_channels, H_0, W_0)``.

    Args:
        in_channels: Channels of the input maps.
        out_channels: Channels of the output; None is the paper's 15C, their sum.
        align_corners: For the upsampling, as in the backbone. True for official plain weights on
            ADE20K and COCO-Stuff; False for mmseg's and all others.
        conv_cfg: MMCV's config of the convolution.
        norm_cfg: MMCV's config of the norm.
        init_cfg: MMEngine's initialization config.

    Raises:
        ConfigError: Options or inputs that do not fit.
    """

    @check_arguments
    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int | None = None,
        align_corners: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        self.in_channels = check_widths(in_channels)
        width = sum(self.in_channels)
        self.out_channels = width if out_channels is None else out_channels
        check_count('out_channels', self.out_channels)
        check_flags(align_corners=align_corners)
        self.align_corners = align_corners
        cfgs = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg or dict(type='BN'))
        check_layers(**cfgs)
        with building(**cfgs):
            self.conv = ConvModule(width, self.out_channels, 1, **cfgs)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        if can_check(inputs):
            check_maps('HRNetV2', inputs, self.in_channels)
        return (self.conv(concatenate(inputs, self.align_corners)),)


@MODELS.register_module()
class HRNetC(BaseModule):
    """HRNet-W*-C: from the four maps to the map that is classified (Appendix B, Fig. 11).

    A bottleneck raises each map to 128, 256, 512 or 1024 channels; from the highest resolution
    down, a stride-2 3x3 convolution is added to the next map; a 1x1 convolution ends in
    ``out_channels``. mmpretrain's ``GlobalAveragePooling`` and ``LinearClsHead`` follow. Keys and
    arguments are those of mmpretrain's ``HRFuseScales``, but ``norm_cfg`` reaches every norm.

    Input: a tuple of four maps ``(N, in_channels[i], H_i, W_i)`` with strides 4, 8, 16, 32.
    Output: a tuple of one map ``(N, out_channels, H_3, W_3)``, or of its average
    ``(N, out_channels)`` with ``pool``.

    Args:
        in_channels: Channels of the four input maps, highest resolution first.
        out_channels: Channels of the output.
        bias: Biases in the 3x3 and the last convolution, as the official weights have them. A
            norm follows each, so that they change nothing that folding into its mean does not.
        pool: Average over all positions, for mmpose, which silently drops a list of necks.
        conv_cfg: MMCV's config of every convolution.
        norm_cfg: MMCV's config of every norm.
        init_cfg: MMEngine's initialization config.

    Raises:
        ConfigError: Options or inputs that do not fit.
    """

    @check_arguments
    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 2048,
        bias: bool = False,
        pool: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_init_cfg(init_cfg)
        super().__init__(init_cfg or deepcopy(INIT_CFG))
        self.in_channels = check_widths(in_channels)
        if len(self.in_channels) != len(HEAD_WIDTHS):
            raise ConfigError(f'in_channels={in_channels!r}: HRNetC takes {len(HEAD_WIDTHS)} maps')
        check_count('out_channels', out_channels)
        check_flags(bias=bias, pool=pool)
        self.pool = pool
        layers = Layers(conv_cfg, norm_cfg or dict(type='BN'), with_cp=False)
        self.increase_layers = nn.ModuleList(
            nn.Sequential(Bottleneck(cin, width // Bottleneck.expansion, layers))
            for cin, width in zip(self.in_channels, HEAD_WIDTHS)
        )
        cfgs = dict(conv_cfg=conv_cfg, norm_cfg=layers.norm_cfg)
        with building(**cfgs):
            self.downsample_layers = nn.ModuleList(
                ConvModule(width, after, 3, stride=2, padding=1, bias=bias, **cfgs)
                for width, after in pairwise(HEAD_WIDTHS)
            )
            self.final_layer = ConvModule(HEAD_WIDTHS[-1], out_channels, 1, bias=bias, **cfgs)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        if can_check(inputs):
            check_octaves(inputs, self.in_channels)
        maps = [raised(x) for raised, x in zip(self.increase_layers, inputs)]
        y = maps[0]  # (N, 128, H/4, W/4)
        for down, x in zip(self.downsample_layers, maps[1:]):
            y = down(y) + x  # (N, 2 * channels, H/2, W/2)
        y = self.final_layer(y)  # (N, out_channels, H/32, W/32)
        return (y.mean(dim=(2, 3)) if self.pool else y,)


@MODELS.register_module()
class HRNetV2p(BaseModule):
    """HRNetV2p: the feature pyramid of HRNet for detectors (section 3.3, Fig. 4c).

    All maps are upsampled to 1/4, concatenated and reduced by a 1x1 convolution; each level is
    pooled from that map and passes a 3x3 convolution. Keys and arguments are those of mmdet's
    ``HRFPN``, except that ``norm_cfg``, which that one ignores, takes effect.

    Input: a tuple of ``(N, in_channels[i], H_i, W_i)`` with strides 4, 8, 16, ...; sizes need not
    divide one another. Output: a tuple of ``num_outs`` maps
    ``(N, out_channels, H_0 // 2^i, W_0 // 2^i)`` (``stride`` divides them once more).

    Args:
        in_channels: Channels of the input maps, highest resolution first.
        out_channels: Channels of every level.
        num_outs: Number of levels.
        pooling_type: 'AVG' or 'MAX'.
        conv_cfg: MMCV's config of the convolutions.
        norm_cfg: MMCV's config of a norm after each convolution; None is the paper's, without.
        with_cp: Recompute the convolutions in the backward pass to save memory.
        stride: Stride of the 3x3 convolutions; 2 for FCOS, whose levels start at 1/8.
        init_cfg: MMEngine's initialization config.

    Raises:
        ConfigError: Options or inputs that do not fit.
    """

    @check_arguments
    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 5,
        pooling_type: Literal['AVG', 'MAX'] = 'AVG',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        stride: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_init_cfg(init_cfg)
        super().__init__(init_cfg or dict(type='Caffe2Xavier', layer='Conv2d'))
        self.in_channels = check_widths(in_channels)
        check_choice('pooling_type', pooling_type, POOLINGS)
        check_flags(with_cp=with_cp)
        self.out_channels = check_count('out_channels', out_channels)
        self.num_outs = check_count('num_outs', num_outs)
        check_count('stride', stride)
        self.with_cp = with_cp
        self.pooling = POOLINGS[pooling_type]
        cfgs = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        check_layers(**cfgs)
        layer = partial(ConvModule, out_channels=out_channels, act_cfg=None, **cfgs)
        with building(**cfgs):
            self.reduction_conv = layer(sum(self.in_channels), kernel_size=1)
            self.fpn_convs = nn.ModuleList(
                layer(out_channels, kernel_size=3, padding=1, stride=stride)
                for _ in range(num_outs)
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if can_check(inputs):
            check_pyramid(inputs, self.in_channels, self.num_outs)
        x = self._run(self.reduction_conv, concatenate(inputs))  # (N, out_channels, H/4, W/4)
        levels = [x, *(self.pooling(x, 2**i, 2**i) for i in range(1, self.num_outs))]
        return tuple(self._run(conv, level) for conv, level in zip(self.fpn_convs, levels))

    def _run(self, layer: nn.Module, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(layer, x, use_reentrant=False)
        return layer(x)
