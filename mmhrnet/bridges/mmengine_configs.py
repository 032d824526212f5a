"""Configs of mmhrnet by name: ``mmhrnet::mmdet/faster_rcnn_hrnetv2p_w32``.

Needed by: every mmengine, whose table of packages with configs is fixed. With it a config may
begin with ``_base_ = 'mmhrnet::...'``, and ``mmengine.hub.get_config`` and ``get_model`` take such
names. The suffix ``.py`` may be left out, in the names of other packages too.

A config of mmhrnet is one of its host: mmengine would build what is taken from it in the scope
``mmhrnet``, where no detector is registered. It is built in the scope that the config names.

For each ``_base_`` by name, mmengine parses all metafiles of the package, which is most of the
time that a config takes. Here it does so once in a process.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import after_import, wrap

if TYPE_CHECKING:
    from torch import nn

PREFIX = 'mmhrnet::'
SUFFIXES = ('.py', '.json', '.yaml', '.yml')
METAFILES: dict[str, object] = {}  # what they say, by path


def reason() -> str | None:
    fixed = 'mmengine finds configs by name only in the packages that it knows'
    return fixed if find_spec('mmengine') else None


def install() -> None:
    after_import('mmengine.config.utils', _list_package)
    # Where a function is defined, and where it is imported by name.
    for name in ('mmengine.config.utils', 'mmengine.config.config', 'mmengine.hub.hub'):
        wrap(name, '_get_package_and_cfg_path', add_suffix)
    wrap('mmengine.config.utils', 'load', read_once)
    wrap('mmengine.config.config', 'Config._get_cfg_path', leave_scope)
    for name in ('mmengine.hub.hub', 'mmengine.hub'):
        wrap(name, 'get_model', build_for_its_host)


def with_suffix(name: str) -> str:
    """File name of a config whose suffix may be left out."""
    return name if Path(name).suffix in SUFFIXES else f'{name}.py'


def _list_package(module: ModuleType) -> None:
    module.MODULE2PACKAGE['mmhrnet'] = 'mmhrnet'


def add_suffix(original: Callable[[str], tuple[str, str]], cfg_path: str) -> tuple[str, str]:
    package, path = original(cfg_path)
    return package, with_suffix(path)


def read_once(original: Callable[[str], object], path: str) -> object:
    if path not in METAFILES:
        METAFILES[path] = original(path)
    return METAFILES[path]


def leave_scope(
    original: Callable[[str, str], tuple[str, str | None]], cfg_path: str, filename: str
) -> tuple[str, str | None]:
    path, scope = original(cfg_path, filename)
    return path, None if scope == 'mmhrnet' else scope


def build_for_its_host(
    original: Callable[..., nn.Module], cfg_path: str, pretrained: bool = False, **kwargs: object
) -> nn.Module:
    if not cfg_path.startswith(PREFIX):
        return original(cfg_path, pretrained, **kwargs)
    from mmengine.hub import get_config
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.runner import load_checkpoint

    cfg = get_config(cfg_path, pretrained)
    if 'data_preprocessor' in cfg:
        cfg.model.data_preprocessor = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model, default_args=kwargs)
    if pretrained:
        load_checkpoint(model, cfg.model_path)
        model._is_init = True  # else a runner would draw new weights
    return model
