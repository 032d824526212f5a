"""Configs of mmhrnet by name: ``mmhrnet::mmdet/faster_rcnn_hrnetv2p_w32``.

Needed by: every mmengine, whose table of packages with configs is fixed. With it a config may
begin with ``_base_ = 'mmhrnet::...'``, and ``mmengine.hub.get_config`` and ``get_model`` take such
names. The suffix ``.py`` may be left out, in the names of other packages too.

A config of mmhrnet is one of its host: mmengine would build what is taken from it in the scope
``mmhrnet``, where no detector is registered. It is built in the scope that the config names.
"""

from __future__ import annotations

from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import

PREFIX = 'mmhrnet::'
SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def reason() -> str | None:
    if find_spec('mmengine') is None:
        return None
    return 'mmengine finds configs by name only in the packages that it knows'


def install() -> None:
    after_import('mmengine.config.utils', _list_package)
    for name in ('mmengine.config.utils', 'mmengine.config.config', 'mmengine.hub.hub'):
        after_import(name, _add_suffix)
    after_import('mmengine.config.config', _leave_scope)
    for name in ('mmengine.hub.hub', 'mmengine.hub'):
        after_import(name, _build_for_its_host)


def with_suffix(name: str) -> str:
    """File name of a config whose suffix may be left out."""
    return name if Path(name).suffix in SUFFIXES else f'{name}.py'


def _list_package(module: ModuleType) -> None:
    module.MODULE2PACKAGE['mmhrnet'] = 'mmhrnet'


def _add_suffix(module: ModuleType) -> None:
    original = module._get_package_and_cfg_path
    if hasattr(original, 'adds_suffix'):
        return

    @wraps(original)
    def get_package_and_cfg_path(cfg_path: str) -> tuple[str, str]:
        package, path = original(cfg_path)
        return package, with_suffix(path)

    get_package_and_cfg_path.__dict__['adds_suffix'] = True
    module.__dict__['_get_package_and_cfg_path'] = get_package_and_cfg_path


def _leave_scope(module: ModuleType) -> None:
    original = module.Config._get_cfg_path
    if hasattr(original, 'leaves_scope'):
        return

    @wraps(original)
    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = original(cfg_path, filename)
        return path, None if scope == 'mmhrnet' else scope

    get_cfg_path.__dict__['leaves_scope'] = True
    module.Config._get_cfg_path = staticmethod(get_cfg_path)


def _build_for_its_host(module: ModuleType) -> None:
    original = module.get_model
    if hasattr(original, 'knows_hosts'):
        return

    @wraps(original)
    def get_model(cfg_path: str, pretrained: bool = False, **kwargs: Any) -> Any:
        if cfg_path.startswith(PREFIX):
            return _model_of(module.get_config(cfg_path, pretrained), pretrained, kwargs)
        return original(cfg_path, pretrained, **kwargs)

    get_model.__dict__['knows_hosts'] = True
    module.__dict__['get_model'] = get_model


def _model_of(cfg: Any, pretrained: bool, arguments: dict[str, Any]) -> Any:
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.runner import load_checkpoint

    if 'data_preprocessor' in cfg:
        cfg.model.data_preprocessor = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model, default_args=arguments)
    if pretrained:
        load_checkpoint(model, cfg.model_path)
        model._is_init = True  # else a runner would draw new weights
    return model
