"""Our classifiers and their maps in timm's registry, under our own names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmhrnet.errors import ConfigError
from mmhrnet.hub.features import NUM_MAPS
from mmhrnet.hub.models import create_model, imagenet_weights
from mmhrnet.hub.names import default_cfg
from mmhrnet.models import ARCHS

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

CLASSIFIERS_ONLY: Any = ('num_classes', 'global_pool', 'drop_rate')
default_cfgs: dict[str, dict[str, object]] = {}  # timm reads it from here


def register_timm() -> list[str]:
    """Registers ``mmhrnet_w18_small_v1`` to ``mmhrnet_w64`` with timm and what builds on it.

    ``timm.create_model`` then takes these names with the arguments of
    :func:`mmhrnet.create_model`; ``features_only=True`` gives five maps, the stem's at 1/2
    included. Calling it again changes nothing.

    Returns:
        The names.

    Raises:
        ImportError: timm is not installed.
    """
    try:
        from timm.models import is_model, register_model
    except ImportError as error:
        raise ImportError('mmhrnet.register_timm needs timm: pip install timm') from error
    weights = imagenet_weights()
    names = {f'mmhrnet_{arch}': arch for arch in ARCHS}
    for name, arch in names.items():
        if not is_model(name):
            cfg = default_cfg(prefix='backbone.', classifier='head.fc')
            default_cfgs[name] = cfg | {'url': weights.get(arch)}
            register_model(_entrypoint(name, arch))
    return list(names)


def _entrypoint(name: str, arch: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(name, arch, pretrained, **kwargs)

    create.__name__ = name  # the name it is registered under
    return create


def _create(
    name: str,
    arch: str,
    pretrained: bool,
    *,
    pretrained_cfg: str | dict[str, object] | None = None,
    pretrained_cfg_overlay: dict[str, object] | None = None,
    cache_dir: str | None = None,
    features_only: bool = False,
    **kwargs: Any,
) -> nn.Module:
    from timm.models import build_model_with_cfg, resolve_pretrained_cfg

    if cache_dir is not None:
        raise ConfigError(f'cache_dir={cache_dir!r} has no effect here: set TORCH_HOME')
    cfg = resolve_pretrained_cfg(name, pretrained_cfg, pretrained_cfg_overlay)
    build = partial(create_model, f'hrnet_{arch}', checkpoint=_weights(name, cfg, pretrained))
    wrapped = features_only and 'feature_cls' in {**kwargs, **kwargs.get('feature_cfg', {})}
    if features_only and not wrapped:  # else one of timm's wrappers around a classifier
        cfg = replace(cfg, first_conv='conv1', classifier=None, num_classes=0)
        indices = kwargs.pop('out_indices', range(NUM_MAPS))
        build = partial(_list_of_maps, build, out_indices=indices)
    return build_model_with_cfg(
        build,
        name,
        pretrained=False,  # create_model loads them, safely and from any published form
        pretrained_cfg=cfg.to_dict(),
        kwargs_filter=CLASSIFIERS_ONLY if features_only and not wrapped else None,
        features_only=wrapped,
        **kwargs,
    )


def _list_of_maps(build: Callable[..., nn.Module], **kwargs: Any) -> nn.Module:
    """The maps come as a list, which segmentation_models_pytorch adds to one of its own."""
    model = build(features_only=True, **kwargs)
    model.register_forward_hook(_as_list)
    return model


def _as_list(_: nn.Module, __: object, maps: tuple[Tensor, ...]) -> list[Tensor]:
    return list(maps)


def _weights(name: str, cfg: PretrainedCfg, pretrained: bool) -> str | None:
    if not pretrained:
        return None
    source = cfg.file or cfg.url
    if isinstance(source, str) and source:
        return source
    raise ConfigError(
        f'There are no published weights for {name}: give '
        'pretrained_cfg_overlay=dict(file=PATH), or pretrained=False'
    )
