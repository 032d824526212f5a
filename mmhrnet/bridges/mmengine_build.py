"""Building HRNet by its class as by its name.

Needed by: mmengine, whose registries call a class that a config names (``type=mmhrnet.HRNet``, as
new-style configs write) without asking who runs it. It would lose the defaults of the host library,
which the name ``'mmhrnet.HRNet'`` has. New-style configs have no default scope either: then the
host is the library whose registry builds.

An error that is raised while a type is built goes on as it is, with that type's name in its
attribute ``built``: of several in one another, the innermost. MMEngine does not tell it.
"""

from __future__ import annotations

from functools import partial, wraps
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import

MODULE = 'mmengine.registry.build_functions'
NAMES = ('mmhrnet.HRNet', 'mmhrnet.models.HRNet', 'mmhrnet.models.hrnet.HRNet')


def reason() -> str | None:
    if find_spec('mmengine') is None:
        return None
    return "mmengine builds a class that a config names without the host's defaults"


def install() -> None:
    after_import(MODULE, _build_for_its_host)
    after_import('mmengine.registry.registry', _name_what_is_built)


def _build_for_its_host(module: ModuleType) -> None:
    original = module.build_from_cfg
    if hasattr(original, 'knows_hosts'):
        return

    @wraps(original)
    def build_from_cfg(cfg: Any, registry: Any, default_args: Any = None) -> Any:
        if isinstance(cfg, dict) and _is_hrnet(cfg.get('type')):
            from mmhrnet.hosts.network import build_hrnet

            cfg = cfg.copy()
            cfg['type'] = partial(build_hrnet, registry.scope)
        return original(cfg, registry, default_args)

    build_from_cfg.__dict__['knows_hosts'] = True
    module.__dict__['build_from_cfg'] = build_from_cfg


def _name_what_is_built(module: ModuleType) -> None:
    original = module.Registry.build
    if hasattr(original, 'names_what_is_built'):
        return

    @wraps(original)
    def build(self: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, cfg, *args, **kwargs)
        except Exception as error:
            kind = cfg.get('type', '') if isinstance(cfg, dict) else ''
            error.__dict__.setdefault('built', getattr(kind, '__name__', kind))
            raise

    build.__dict__['names_what_is_built'] = True
    module.Registry.build = build


def _is_hrnet(kind: Any) -> bool:
    if isinstance(kind, type):
        kind = f'{kind.__module__}.{kind.__qualname__}'
    return kind in NAMES
