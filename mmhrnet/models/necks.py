"""Necks: what the four maps of HRNet become for each kind of head (section 3.3, Fig. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmhrnet.registry import MODELS

POOLINGS: dict[str, Callable[..., Tensor]] = {'AVG': F.avg_pool2d, 'MAX': F.max_pool2d}


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
        ValueError: Options or inputs that do not fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 5,
        pooling_type: str = 'AVG',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        stride: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Caffe2Xavier', layer='Conv2d'))
        if isinstance(in_channels, int) or not in_channels:
            raise ValueError(f'in_channels={in_channels!r} must list the channels of each input')
        if pooling_type not in POOLINGS:
            raise ValueError(f"pooling_type={pooling_type!r} must be 'AVG' or 'MAX'")
        self.in_channels = tuple(in_channels)
        self.out_channels = out_channels
        self.num_outs = num_outs
        self.with_cp = with_cp
        self.pooling = POOLINGS[pooling_type]
        cfgs = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=None)
        self.reduction_conv = ConvModule(sum(self.in_channels), out_channels, 1, **cfgs)
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, stride=stride, **cfgs)
            for _ in range(num_outs)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if not torch.compiler.is_compiling():
            self._check_inputs(inputs)
        size = inputs[0].shape[2:]
        maps = [
            inputs[0],
            *(F.interpolate(x, size, mode='bilinear', align_corners=False) for x in inputs[1:]),
        ]
        x = self._run(self.reduction_conv, torch.cat(maps, dim=1))  # (N, out_channels, H/4, W/4)
        levels = [x, *(self.pooling(x, 2**i, 2**i) for i in range(1, self.num_outs))]
        return tuple(self._run(conv, level) for conv, level in zip(self.fpn_convs, levels))

    def _run(self, layer: nn.Module, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(layer, x, use_reentrant=False)
        return layer(x)

    def _check_inputs(self, inputs: Sequence[Tensor]) -> None:
        channels = tuple(x.shape[1] for x in inputs)
        if channels != self.in_channels:
            raise ValueError(
                f'HRNetV2p got maps of {channels} channels, it takes {self.in_channels}'
            )
        smallest = 2 ** (self.num_outs - 1)
        if min(inputs[0].shape[2:]) < smallest:
            raise ValueError(
                f'HRNetV2p with num_outs={self.num_outs} needs a first map of {smallest} or more '
                f'each way (an image of {4 * smallest}), it got {tuple(inputs[0].shape[2:])}'
            )
