"""HRNets by name, as plain PyTorch modules without a host library."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatch
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.model import initialize
from torch import Tensor, nn

from mmhrnet.checkpoints import CheckpointError, fit, unwrap
from mmhrnet.models import ARCHS, HRNet, HRNetC, HRNetV2, HRNetV2p
from mmhrnet.models.blocks import ResidualBlock

LOGGER = logging.getLogger(__name__)
IMAGENET_CLASSES = 1000
PYRAMID_CHANNELS = 256
NOT_OPTIONS = {'arch', 'extra', 'multiscale_output', 'pretrained', 'init_cfg'}


class Representation(nn.Module):
    """A backbone and what a neck makes of its maps.

    Output: one map ``(N, C, H, W)``, or a tuple of them where there are several.

    Attributes:
        out_channels: Channels of each map.
        out_strides: Stride of each map with respect to the input, in pixels.
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

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        maps = self.neck(self.backbone(x))
        return maps[0] if len(maps) == 1 else maps


class LinearHead(nn.Module):
    """A linear classifier of pooled features; none with ``num_classes`` 0."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class Classifier(nn.Module):
    """HRNet-W*-C with the methods of timm's models and mmpretrain's parameter names.

    Output: logits ``(N, num_classes)``, or pooled features ``(N, 2048)`` with ``num_classes`` 0.

    Attributes:
        num_classes: Number of classes.
        num_features: Channels of the pooled features.
        out_channels: Channels of the one map before pooling, that of :meth:`forward_features`.
        out_strides: Stride of that map with respect to the input, in pixels.
    """

    def __init__(self, backbone: HRNet, num_classes: int = IMAGENET_CLASSES) -> None:
        super().__init__()
        neck = HRNetC(backbone.out_channels)
        self.backbone, self.neck = backbone, nn.Sequential(neck)
        self.num_features = neck.final_layer.out_channels
        self.out_channels, self.out_strides = (self.num_features,), backbone.out_strides[-1:]
        self.num_classes = _check_classes(num_classes)
        self.head = LinearHead(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """The map before pooling, ``(N, 2048, H/32, W/32)``."""
        return self.neck(self.backbone(x))[0]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of that map, or its pooled features ``(N, 2048)`` with ``pre_logits``."""
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def reset_classifier(self, num_classes: int) -> None:
        """A new last layer for so many classes, or none with 0.

        Raises:
            ValueError: A negative number.
        """
        self.num_classes = _check_classes(num_classes)
        weight = next(self.neck.parameters())
        head = LinearHead(self.num_features, num_classes).train(self.training)
        self.head = head.to(weight.device, weight.dtype)


def _v1(backbone: HRNet) -> Representation:
    return Representation(backbone, nn.Identity(), backbone.out_channels, backbone.out_strides)


def _v2(backbone: HRNet) -> Representation:
    neck = HRNetV2(backbone.out_channels)
    return Representation(backbone, neck, (neck.out_channels,), backbone.out_strides[:1])


def _v2p(backbone: HRNet) -> Representation:
    neck = HRNetV2p(backbone.out_channels, PYRAMID_CHANNELS)
    strides = tuple(backbone.out_strides[0] << level for level in range(neck.num_outs))
    return Representation(backbone, neck, (neck.out_channels,) * neck.num_outs, strides)


BUILDERS: dict[str, Callable[[HRNet], nn.Module]] = {
    'hrnet': Classifier,
    'hrnetv1': _v1,
    'hrnetv2': _v2,
    'hrnetv2p': _v2p,
}
NAMES = {f'{kind}_{arch}': (kind, arch) for kind in BUILDERS for arch in ARCHS}


def list_models(pattern: str = '*', pretrained: bool = False) -> list[str]:
    """Names that :func:`create_model` takes.

    Args:
        pattern: Shell pattern.
        pretrained: Only those with ImageNet weights to download.

    Example:
        >>> list_models('*w32')
        ['hrnet_w32', 'hrnetv1_w32', 'hrnetv2_w32', 'hrnetv2p_w32']
    """
    archs = imagenet_weights() if pretrained else ARCHS
    return [name for name, (_, arch) in NAMES.items() if arch in archs and fnmatch(name, pattern)]


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    num_classes: int = IMAGENET_CLASSES,
    features_only: bool = False,
    in_channels: int = 3,
    checkpoint: str | Path | None = None,
    **backbone_options: Any,
) -> nn.Module:
    """Builds an HRNet by name; no host library is needed.

    ``hrnet_*`` is the ImageNet classifier HRNet-W*-C, ``hrnetv1_*`` the one map at 1/4,
    ``hrnetv2_*`` the concatenated representation of 15C channels at 1/4 and ``hrnetv2p_*`` the
    pyramid of five maps of 256 channels. One map comes as a Tensor, several as a tuple. Every
    model tells ``out_channels`` and ``out_strides`` of its maps, the classifier those of the map
    before pooling. The input is RGB, normalized by ImageNet's mean and deviation.

    Args:
        name: One of :func:`list_models`.
        pretrained: Load ImageNet weights; ``hrnetv1_*``, ``hrnetv2_*`` and ``hrnetv2p_*`` take
            their backbone.
        num_classes: Classes of the classifier; 0 gives pooled features.
        features_only: The four maps of the backbone, at 1/4 to 1/32, whatever the name.
        in_channels: Channels of the input; pretrained weights are adapted.
        checkpoint: Path or URL of weights of any published form, timm's for example.
        backbone_options: Arguments of ``mmhrnet.HRNet``.

    Raises:
        ValueError: An unknown name, arguments that exclude each other, or no such weights.
        FileNotFoundError: No such checkpoint.
        CheckpointError: Weights that cannot be downloaded, read or fitted.

    Example:
        >>> [tuple(y.shape) for y in create_model('hrnetv2p_w18')(torch.rand(1, 3, 128, 96))]
        [(1, 256, 32, 24), (1, 256, 16, 12), (1, 256, 8, 6), (1, 256, 4, 3), (1, 256, 2, 1)]
    """
    kind, arch = _parse(name)
    classifies = kind == 'hrnet' and not features_only
    if not classifies and num_classes not in (0, IMAGENET_CLASSES):
        raise ValueError(f'num_classes={num_classes} is for hrnet_* without features_only')
    _check_options(backbone_options)
    source = _source(arch, pretrained, checkpoint)
    one_map = kind == 'hrnetv1' and not features_only
    backbone = HRNet(
        arch, in_channels=in_channels, multiscale_output=not one_map, **backbone_options
    )
    model: nn.Module = backbone
    if classifies:
        model = Classifier(backbone, num_classes)
    elif not features_only:
        model = BUILDERS[kind](backbone)
    _init_weights(model)
    if source is not None:
        load_weights(model, source)
    return model


def imagenet_weights() -> dict[str, str]:
    """URL of the published ImageNet weights by architecture, from the metafiles."""
    from mmhrnet.analysis.zoo import metafile_models

    models = {
        model['Name'].partition('_')[0]: model.get('Weights')
        for model in metafile_models()
        if model['Config'].startswith('configs/mmpretrain/')
    }
    found = {arch: models.get('hrnet-' + arch.replace('_', '-')) for arch in ARCHS}
    return {arch: url for arch, url in found.items() if url}


def load_weights(model: nn.Module, source: str | Path) -> None:
    """Loads weights of any published form; heads of other classes keep their random start.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Weights that cannot be downloaded, read or fitted.
    """
    state = unwrap(_read(str(source)))
    fitted, report = fit(state, model)
    model.load_state_dict(fitted, strict=False)
    LOGGER.log(logging.WARNING if report.notes else logging.INFO, '%s: %s', source, report)


def _read(source: str) -> Mapping[str, Any]:
    from mmengine.runner import CheckpointLoader

    try:
        return CheckpointLoader.load_checkpoint(source, map_location='cpu', logger='silent')
    except OSError as error:
        if '://' not in source:
            raise
        raise CheckpointError(
            f'The weights {source} cannot be downloaded: {error}. Download them where there is a '
            'network and give the file: create_model(..., checkpoint=PATH)'
        ) from error


def _parse(name: str) -> tuple[str, str]:
    if name not in NAMES:
        close = ' or '.join(map(repr, get_close_matches(name, NAMES, n=2)))
        hint = f'did you mean {close}? ' if close else ''
        raise ValueError(f'There is no model {name!r}: {hint}mmhrnet.list_models() names them all')
    return NAMES[name]


def _source(arch: str, pretrained: bool, checkpoint: str | Path | None) -> str | Path | None:
    if not pretrained:
        return checkpoint
    if checkpoint is not None:
        raise ValueError('Give either pretrained=True or checkpoint')
    weights = imagenet_weights()
    if arch not in weights:
        raise ValueError(
            f'There are no published weights of {arch}, only of {", ".join(weights)}; '
            'load your own with checkpoint=PATH'
        )
    return weights[arch]


def _check_options(options: Mapping[str, Any]) -> None:
    known = set(signature(HRNet).parameters) - NOT_OPTIONS
    for option in options:
        if option in NOT_OPTIONS:
            raise ValueError(
                f'{option} is not to be given: the name says the network, checkpoint the weights'
            )
        if option not in known:
            raise ValueError(f'{option!r} is no option, those are {", ".join(sorted(known))}')


def _check_classes(num_classes: int) -> int:
    if num_classes < 0:
        raise ValueError(f'num_classes={num_classes} must be 0 (pooled features) or more')
    return num_classes


def _init_weights(model: nn.Module) -> None:
    """As ``init_weights`` of MMEngine, which logs every parameter and fails on the meta device."""
    for part in model.modules():
        if getattr(part, 'init_cfg', None):
            initialize(part, part.init_cfg)
    backbone = getattr(model, 'backbone', model)
    if backbone.zero_init_residual:
        for block in (m for m in backbone.modules() if isinstance(m, ResidualBlock)):
            nn.init.zeros_(block.last_norm.get_parameter('weight'))
