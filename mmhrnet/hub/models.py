"""HRNets by name, as plain PyTorch modules without a host library."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatch
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec

from mmengine.model import initialize
from torch import nn

from mmhrnet.checkpoints import CheckpointError, Report, fit, summary, unwrap
from mmhrnet.checkpoints.places import HUB
from mmhrnet.errors import ConfigError, listed
from mmhrnet.hub.classifier import IMAGENET_CLASSES, Classifier, Pooling
from mmhrnet.hub.features import STREAMS, Features, Location
from mmhrnet.hub.names import NAMES, Name, default_cfg, parse_name, weights_of_timm
from mmhrnet.hub.repository import read_stored
from mmhrnet.hub.representations import Representation
from mmhrnet.models import ARCHS, HRNet
from mmhrnet.models.blocks import ResidualBlock
from mmhrnet.models.checks import check_keys

Arguments = ParamSpec('Arguments')
LOGGER = logging.getLogger(__name__)
# Arguments with the values at which they may be given to every kind of model.
OF_CLASSIFIERS = {
    'num_classes': (0, IMAGENET_CLASSES),
    'global_pool': ('avg', ''),
    'drop_rate': (0,),
}
OF_FEATURES = {'out_indices': (None,), 'feature_location': ('',)}
OF_ITS_LAYERS = ('architecture', 'first_conv', 'classifier')  # in its default_cfg
BY_NAME = {'arch', 'extra', 'multiscale_output', 'pretrained', 'init_cfg'}


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


def from_the_hub(create: Callable[Arguments, nn.Module]) -> Callable[Arguments, nn.Module]:
    """Lets a name be ``hf://user/model``, whose own arguments are the defaults."""

    @wraps(create)
    def created(*args: Arguments.args, **given: Arguments.kwargs) -> nn.Module:
        name, *others = args or [given.get('name')]
        if not isinstance(name, str) or not name.startswith(HUB):
            return create(*args, **given)
        pretrained = given.pop('pretrained', [*others, True][0])
        given.pop('name', None)
        return _create_from_hub(create, name, bool(pretrained), given)

    return created


@from_the_hub
def create_model(
    name: str,
    pretrained: bool = False,
    *,
    num_classes: int = IMAGENET_CLASSES,
    global_pool: Pooling = 'avg',
    drop_rate: float = 0.0,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    feature_location: Location = '',
    output_stride: int = 32,
    in_channels: int | None = None,
    in_chans: int | None = None,
    checkpoint: str | Path | None = None,
    **backbone_options: Any,
) -> nn.Module:
    """Builds an HRNet by name; no host library is needed.

    ``hrnet_*`` is the ImageNet classifier HRNet-W*-C, ``hrnetv1_*`` the one map at 1/4,
    ``hrnetv2_*`` the concatenated representation of 15C channels at 1/4 and ``hrnetv2p_*`` the
    pyramid of five maps of 256 channels. One map comes as a Tensor, several as a tuple. Every
    model has the ``out_channels`` and ``out_strides`` of its maps (the classifier: of the map
    before pooling) and timm's ``feature_info`` and ``default_cfg``. The input is RGB, normalized
    by ImageNet's mean and deviation.

    Args:
        name: One of :func:`list_models`, or one of timm's: ``hrnet_w18_small`` (W18-small-v1),
            ``hrnet_w18_ssld``, with or without the tag of weights (``hrnet_w18.ms_aug_in1k``). Or
            a repository of the Hugging Face Hub, ``hf://user/model[@revision]``, which says what
            it is: that network comes with its weights, and arguments change it. Of a whole
            detector, pose estimator or segmentor it is the backbone.
        pretrained: Load ImageNet weights; ``hrnetv1_*``, ``hrnetv2_*`` and ``hrnetv2p_*`` take
            their backbone. With a name that only timm has, these are timm's. False for a
            repository builds its network without its weights.
        num_classes: Classes of the classifier; 0 gives pooled features.
        global_pool: Pooling of the classifier: 'avg', 'max', or '' for none (``num_classes=0``).
        drop_rate: Dropout of the classifier before its last layer.
        features_only: The maps of the backbone, whatever the name: the four streams at 1/4 to 1/32
            unless ``out_indices`` chooses.
        out_indices: Maps to return with ``features_only``: 0 is the stem's at 1/2, 1 to 4 are the
            streams, n as an integer is the last n.
        feature_location: With ``features_only``, 'incre' raises the streams to 128, 256, 512 and
            1024 channels by the first layers of the classifier, as timm does.
        output_stride: 32 is the only one that can be built.
        in_channels: Channels of the input, 3 if not given; pretrained weights are adapted.
        in_chans: The same under timm's name.
        checkpoint: Path, URL or ``hf://org/repo`` of weights of any published form, such as timm's.
        backbone_options: Arguments of ``mmhrnet.HRNet``.

    Raises:
        ConfigError: An unknown name, arguments that exclude each other, or no such weights.
        FileNotFoundError: No such checkpoint.
        CheckpointError: Weights that cannot be downloaded, read or fitted.

    Example:
        >>> [tuple(y.shape) for y in create_model('hrnetv2p_w18')(torch.rand(1, 3, 128, 96))]
        [(1, 256, 32, 24), (1, 256, 16, 12), (1, 256, 8, 6), (1, 256, 4, 3), (1, 256, 2, 1)]
    """
    parsed = name if isinstance(name, Name) else parse_name(name)
    if not features_only:
        maps = {'out_indices': out_indices, 'feature_location': feature_location}
        _check_idle(maps, OF_FEATURES, 'features_only=True')
    if features_only or parsed.kind != 'hrnet':
        head = {'num_classes': num_classes, 'global_pool': global_pool, 'drop_rate': drop_rate}
        _check_idle(head, OF_CLASSIFIERS, 'hrnet_* without features_only')
    if output_stride != 32:
        raise ConfigError(f'output_stride={output_stride} cannot be built: HRNet ends at 32')
    _check_options(backbone_options)
    options = backbone_options | {'in_channels': _channels(in_channels, in_chans)}
    source = _source(parsed, pretrained, checkpoint)
    model: Any  # a module, and to a type checker a module has no attribute like default_cfg
    if features_only:
        options['out_indices'] = STREAMS if out_indices is None else out_indices
        model = Features(parsed.arch, feature_location=feature_location, **options)
    elif parsed.kind == 'hrnet':
        model = Classifier(HRNet(parsed.arch, **options), num_classes, global_pool, drop_rate)
    else:
        options['multiscale_output'] = parsed.kind != 'hrnetv1'
        model = Representation(parsed.kind, HRNet(parsed.arch, **options))
    label = parsed.label if isinstance(name, Name) else name.partition('.')[0]
    _set_cfg(model, {'architecture': label, **_cfg_of(model, parsed)})
    _init_weights(model)
    if source is not None:
        load_weights(model, source)
    return model


def _create_from_hub(
    create: Callable[..., nn.Module], url: str, pretrained: bool, given: dict[str, Any]
) -> nn.Module:
    """The network of a repository, changed by the arguments that are given."""
    if given.get('checkpoint') is not None:
        raise ConfigError(f'Give either checkpoint or {url}, which has weights of its own')
    stored = read_stored(url)
    replaced = set(given) | ({'in_channels'} if 'in_chans' in given else set())
    if given.get('features_only'):
        replaced |= OF_CLASSIFIERS.keys()
    options = {key: value for key, value in stored.options.items() if key not in replaced}
    model: Any = create(stored.name, **options, **given)
    own = {key: model.default_cfg[key] for key in OF_ITS_LAYERS}
    _set_cfg(model, {**model.default_cfg, **stored.default_cfg, **own})
    if pretrained:
        report = load_weights(model, url)
        if report.new and not given:
            raise CheckpointError(
                f'The weights of {url} are not those of the network in its config.json: '
                f'{summary(report.new)} are missing'
            )
    return model.to(stored.dtype)


def _set_cfg(model: Any, cfg: Mapping[str, object]) -> None:
    model.default_cfg = model.pretrained_cfg = dict(cfg)
    model.note(default_cfg=dict(cfg))


def _cfg_of(model: nn.Module, parsed: Name) -> dict[str, object]:
    return default_cfg(
        parsed.timm.partition('.')[2],
        prefix='' if isinstance(model, HRNet) else 'backbone.',
        classifier='head.fc' if isinstance(model, Classifier) else None,
    )


def imagenet_weights() -> dict[str, str]:
    """URL of the published ImageNet weights by architecture, from the metafiles."""
    from mmhrnet.hub.published import metafile_models

    models = {
        model['Name'].partition('_')[0]: model.get('Weights')
        for model in metafile_models()
        if model['Config'].startswith('configs/mmpretrain/')
    }
    found = {arch: models.get('hrnet-' + arch.replace('_', '-')) for arch in ARCHS}
    return {arch: url for arch, url in found.items() if url}


def load_weights(model: nn.Module, source: str | Path) -> Report:
    """Loads weights of any published form; heads of other classes keep their random start.

    Returns:
        What was loaded, and what was not.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Weights that cannot be downloaded, read or fitted.
    """
    state = unwrap(_read(str(source)))
    fitted, report = fit(state, model)
    model.load_state_dict(fitted, strict=False)
    LOGGER.log(logging.WARNING if report.notes else logging.INFO, '%s: %s', source, report)
    return report


def _read(source: str) -> Mapping[str, object]:
    from mmengine.runner import CheckpointLoader

    return CheckpointLoader.load_checkpoint(source, map_location='cpu', logger='silent')


def _source(name: Name, pretrained: bool, checkpoint: str | Path | None) -> str | Path | None:
    if not pretrained:
        return checkpoint
    if checkpoint is not None:
        raise ConfigError('Give either pretrained=True or checkpoint')
    if name.timm:
        return f'hf://timm/{name.timm}'
    weights = imagenet_weights()
    if name.arch not in weights:
        raise ConfigError(
            f'There are no published weights for {name.arch}, only for {", ".join(weights)}; '
            f'{_hint(str(name.arch))}load your own with checkpoint=PATH'
        )
    return weights[name.arch]


def _hint(arch: str) -> str:
    names = weights_of_timm(arch)
    return f'timm has {listed(names)}; ' if names else ''


def _channels(in_channels: int | None, in_chans: int | None) -> int:
    given = [channels for channels in (in_channels, in_chans) if channels is not None]
    if len(given) == 2:
        raise ConfigError('Give either in_channels or in_chans, which mean the same')
    return given[0] if given else 3


def _check_idle(
    given: Mapping[str, object], idle: Mapping[str, Collection[object]], use: str
) -> None:
    """Refuses values that would have no effect in the model that is built."""
    for key, values in idle.items():
        if given[key] not in values:
            raise ConfigError(f'{key}={given[key]} is for {use}')


def _check_options(options: Mapping[str, object]) -> None:
    for option in BY_NAME & set(options):
        raise ConfigError(
            f'{option} cannot be given: the name chooses the network, and checkpoint its weights'
        )
    check_keys('The backbone', options, sorted(set(signature(HRNet).parameters) - BY_NAME))


def _init_weights(model: nn.Module) -> None:
    """As ``init_weights`` of MMEngine, which logs every parameter and fails on the meta device."""
    for part in model.modules():
        if getattr(part, 'init_cfg', None):
            initialize(part, part.init_cfg)
    backbone = getattr(model, 'backbone', model)
    if backbone.zero_init_residual:
        for block in (m for m in backbone.modules() if isinstance(m, ResidualBlock)):
            nn.init.zeros_(block.last_norm.get_parameter('weight'))
