"""HRNetV1, HRNetV2 and HRNetV2p as plain modules: a backbone and what a neck makes of its maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmhrnet.hub.features import FeatureInfo, MapInfo
from mmhrnet.models import HRNet, HRNetV2, HRNetV2p
from mmhrnet.models.checks import check_choice
from mmhrnet.models.on_hub import OnHub

PYRAMID_CHANNELS = 256


class Representation(nn.Module, OnHub):
    """A backbone and what a neck makes of its maps.

    Output: one map ``(N, C, H, W)``, or a tuple of them where there are several.

    Args:
        kind: The neck: 'hrnetv1' none, 'hrnetv2' the concatenation, 'hrnetv2p' the pyramid.
        backbone: The streams, or the arguments of ``HRNet``.

    Attributes:
        out_channels: Channels of each map.
        out_strides: Stride of each map with respect to the input, in pixels.
        feature_info: Both, as timm gives them.
    """

    def __init__(self, kind: str, backbone: HRNet | Mapping[str, Any]) -> None:
        super().__init__()
        check_choice('kind', kind, ('hrnetv1', 'hrnetv2', 'hrnetv2p'))
        self.backbone = backbone if isinstance(backbone, HRNet) else HRNet(**backbone)
        widths, strides = self.backbone.out_channels, self.backbone.out_strides
        self.neck: nn.Module = nn.Identity()
        if kind == 'hrnetv2':
            self.neck = HRNetV2(widths)
            widths, strides = (sum(widths),), strides[:1]
        elif kind == 'hrnetv2p':
            neck = self.neck = HRNetV2p(widths, PYRAMID_CHANNELS)
            widths = (PYRAMID_CHANNELS,) * neck.num_outs
            strides = tuple(strides[0] << level for level in range(neck.num_outs))
        self.out_channels, self.out_strides = widths, strides
        info = [
            MapInfo(num_chs=width, reduction=stride, module='neck', index=index)
            for index, (width, stride) in enumerate(zip(widths, strides))
        ]
        self.feature_info = FeatureInfo(info, range(len(info)))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        maps = self.neck(self.backbone(x))
        return maps[0] if len(maps) == 1 else maps
