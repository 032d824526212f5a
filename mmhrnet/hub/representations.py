"""HRNetV1, HRNetV2 and HRNetV2p as plain modules: a backbone and what a neck makes of its maps."""

from __future__ import annotations

from torch import Tensor, nn

from mmhrnet.hub.features import FeatureInfo, MapInfo
from mmhrnet.models import HRNet, HRNetV2, HRNetV2p

PYRAMID_CHANNELS = 256


class Representation(nn.Module):
    """A backbone and what a neck makes of its maps.

    Output: one map ``(N, C, H, W)``, or a tuple of them where there are several.

    Attributes:
        out_channels: Channels of each map.
        out_strides: Stride of each map with respect to the input, in pixels.
        feature_info: Both, as timm gives them.
    """

    def __init__(
        self,
        backbone: HRNet,
        neck: nn.Module,
        out_channels: tuple[int, ...],
        out_strides: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck
        self.out_channels, self.out_strides = out_channels, out_strides
        info = [
            MapInfo(num_chs=width, reduction=stride, module='neck', index=index)
            for index, (width, stride) in enumerate(zip(out_channels, out_strides))
        ]
        self.feature_info = FeatureInfo(info, range(len(info)))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        maps = self.neck(self.backbone(x))
        return maps[0] if len(maps) == 1 else maps


def _v1(backbone: HRNet) -> Representation:
    return Representation(backbone, nn.Identity(), backbone.out_channels, backbone.out_strides)


def _v2(backbone: HRNet) -> Representation:
    neck = HRNetV2(backbone.out_channels)
    return Representation(backbone, neck, (neck.out_channels,), backbone.out_strides[:1])


def _v2p(backbone: HRNet) -> Representation:
    neck = HRNetV2p(backbone.out_channels, PYRAMID_CHANNELS)
    strides = tuple(backbone.out_strides[0] << level for level in range(neck.num_outs))
    return Representation(backbone, neck, (neck.out_channels,) * neck.num_outs, strides)


BUILDERS = {'hrnetv1': _v1, 'hrnetv2': _v2, 'hrnetv2p': _v2p}
