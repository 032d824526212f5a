"""What is compared: the networks of the hosts and of timm beside ours, with equal weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmhrnet import checkpoints
from mmhrnet.models import HRNet, HRNetC, HRNetV2, HRNetV2p
from mmhrnet.models.archs import as_extra, resolve_stages

PYRAMID = 256  # channels of the detectors' necks
CONFIGS = Path(__file__).resolve().parents[1] / '.mim' / 'configs'


class Networks(NamedTuple):
    """Networks of one case, theirs by library, the reference first."""

    ours: nn.Module
    theirs: dict[str, nn.Module]


class Case(NamedTuple):
    """Networks, and the image size (height and width) at which their papers or zoos count."""

    title: str
    shape: tuple[int, int]
    build: Callable[[str], Networks]
    takes_maps: bool = False
    only_training: bool = False


class Together(nn.Module):
    """A backbone and what follows it."""

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        ys = self.neck(tuple(self.backbone(x)))
        return (ys,) if isinstance(ys, Tensor) else tuple(ys)


class Concatenation(nn.Module):
    """What mmseg's FCNHead does before its classifier."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        width = sum(channels)
        self.head: Any = _host('mmseg.models.decode_heads.FCNHead')(
            in_channels=list(channels),
            in_index=tuple(range(len(channels))),
            input_transform='resize_concat',
            channels=width,
            kernel_size=1,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0,
            num_classes=2,
            norm_cfg=dict(type='BN'),
            align_corners=False,
        )
        del self.head.conv_seg

    def forward(self, xs: Sequence[Tensor]) -> tuple[Tensor]:
        return (self.head._forward_feature(xs),)


class TimmFeatures(nn.Module):
    """timm's classifier up to the map that is averaged."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        import timm

        self.net: Any = timm.create_model(f'hrnet_{arch}')
        for name, p in self.net.named_parameters():  # biases before norms, which ours is without
            if name.endswith('bias') and name.startswith(('downsamp', 'final')):
                nn.init.zeros_(p)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.net.forward_features(x),)


class DetectorLoss(nn.Module):
    """A whole training iteration of a detector but the optimizer, on drawn boxes."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor]:
        torch.manual_seed(0)  # the same samples for every contestant
        samples = [_boxes(images) for _ in images]
        return (self.detector.parse_losses(self.detector.loss(images, samples))[0],)


def _boxes(images: Tensor, count: int = 8) -> Any:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    height, width = images.shape[2:]
    size = torch.tensor([width, height, width, height])
    corner = torch.rand(count, 2)
    boxes = torch.cat([corner * 0.5, corner * 0.5 + 0.1 + torch.rand(count, 2) * 0.4], 1) * size
    instances = InstanceData(
        bboxes=boxes.to(images.device), labels=torch.arange(count, device=images.device)
    )
    meta = dict(img_shape=(height, width), pad_shape=(height, width), scale_factor=(1.0, 1.0))
    return DetDataSample(gt_instances=instances, metainfo=meta)


def _host(path: str) -> Any:
    module, _, name = path.rpartition('.')
    return getattr(import_module(module), name)


def _installed(**theirs: Callable[[], nn.Module]) -> dict[str, nn.Module]:
    """The networks of the libraries that are installed."""
    return {name: build() for name, build in theirs.items() if find_spec(name)}


def _backbone(library: str, arch: str, **kwargs: Any) -> nn.Module:
    return _host(f'{library}.models.backbones.HRNet')(extra=as_extra(arch), **kwargs)


def _same_weights(ours: nn.Module, theirs: dict[str, nn.Module]) -> Networks:
    """Gives our weights to theirs, under their names."""
    state = ours.state_dict()
    for network in theirs.values():
        target = network.state_dict()
        if isinstance(network, TimmFeatures):
            hosted = {name.replace('neck.', 'neck.0.'): value for name, value in state.items()}
            named = checkpoints.convert(hosted, 'timm')[0]
            fitted = {name: named.get(name.removeprefix('net.'), target[name]) for name in target}
        else:
            fitted = {name: state[name.replace('head.convs.0.', 'conv.')] for name in target}
        network.load_state_dict(fitted)
    return Networks(ours, theirs)


def _channels(arch: str) -> tuple[int, ...]:
    return resolve_stages(arch)[-1].out_channels


def pose(arch: str) -> Networks:
    theirs = _installed(mmpose=lambda: _backbone('mmpose', arch))
    return _same_weights(HRNet(arch, multiscale_output=False), theirs)


def classification(arch: str) -> Networks:
    channels = _channels(arch)
    ours = Together(HRNet(arch), HRNetC(channels, bias=False))
    theirs = _installed(
        mmpretrain=lambda: Together(
            _backbone('mmpretrain', arch), _host('mmpretrain.models.necks.HRFuseScales')(channels)
        ),
        timm=lambda: TimmFeatures(arch),
    )
    return _same_weights(ours, theirs)


def segmentation(arch: str) -> Networks:
    channels = _channels(arch)
    ours = Together(HRNet(arch, upsample='bilinear'), HRNetV2(channels))
    theirs = _installed(
        mmseg=lambda: Together(_backbone('mmseg', arch), Concatenation(channels)),
    )
    return _same_weights(ours, theirs)


def concatenation(arch: str) -> Networks:
    channels = _channels(arch)
    return _same_weights(HRNetV2(channels), _installed(mmseg=lambda: Concatenation(channels)))


def _pyramid(channels: Sequence[int]) -> nn.Module:
    return _host('mmdet.models.necks.HRFPN')(list(channels), PYRAMID)


def detection(arch: str) -> Networks:
    channels = _channels(arch)
    ours = Together(HRNet(arch), HRNetV2p(channels, PYRAMID))
    theirs = _installed(
        mmdet=lambda: Together(_backbone('mmdet', arch, norm_eval=False), _pyramid(channels)),
    )
    return _same_weights(ours, theirs)


def pyramid(arch: str) -> Networks:
    channels = _channels(arch)
    return _same_weights(HRNetV2p(channels, PYRAMID), _installed(mmdet=lambda: _pyramid(channels)))


def faster_rcnn(arch: str) -> Networks:
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    cfg = Config.fromfile(CONFIGS / 'mmdet' / f'faster_rcnn_hrnetv2p_{arch}.py').model
    init_default_scope('mmdet')
    cfg.backbone.update(init_cfg=None, norm_eval=False)
    theirs = deepcopy(cfg)
    theirs.backbone = dict(type='HRNet', extra=as_extra(arch), norm_eval=False)
    theirs.neck.type = 'HRFPN'
    losses = (DetectorLoss(MODELS.build(model)) for model in (cfg, theirs))
    return _same_weights(next(losses), {'mmdet': next(losses)})


CASES = {
    'pose': Case('HRNetV1, the backbone of pose estimators', (256, 192), pose),
    'cls': Case('HRNet-C, the features of the ImageNet classifiers', (224, 224), classification),
    'seg': Case('HRNetV2, backbone and concatenated representation', (512, 1024), segmentation),
    'seg-neck': Case('HRNetV2, the neck alone', (512, 1024), concatenation, takes_maps=True),
    'det': Case('HRNetV2p, backbone and pyramid', (800, 1344), detection),
    'det-neck': Case('HRNetV2p, the neck alone', (800, 1344), pyramid, takes_maps=True),
    'faster-rcnn': Case(
        'Faster R-CNN, the losses of whole iterations',
        (800, 1344),
        faster_rcnn,
        only_training=True,
    ),
}


def make_input(
    case: Case, arch: str, batch: int, shape: tuple[int, int], like: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """Random images, or the maps of the streams that a backbone would make of them."""
    height, width = shape
    if not case.takes_maps:
        return like.new_empty(batch, 3, height, width).normal_()
    return tuple(
        like.new_empty(batch, channels, -(-height // stride), -(-width // stride)).normal_().relu_()
        for channels, stride in zip(_channels(arch), (4, 8, 16, 32))
    )
