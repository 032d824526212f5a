"""Building HRNet by its class as by its name.

Needed by: mmengine, whose registries call a class that a config names (``type=mmhrnet.HRNet``, as
new-style configs write) without asking who runs it. It would lose the defaults of the host library,
which the name ``'mmhrnet.HRNet'`` has. New-style configs have no default scope either: then the
host is the library whose registry builds.

An error that is raised while a type is built goes on as it is, with that type's name in its
attribute ``built``, and in ``arguments`` those that it takes: of several in one another, the
innermost. MMEngine does not tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import wrap

if TYPE_CHECKING:
    from mmengine.config import ConfigDict
    from mmengine.registry import Registry

NAMES = ('mmhrnet.HRNet', 'mmhrnet.models.HRNet', 'mmhrnet.models.hrnet.HRNet')


def reason() -> str | None:
    missing = "mmengine builds a class that a config names without the host's defaults"
    return missing if find_spec('mmengine') else None


def install() -> None:
    wrap('mmengine.registry.build_functions', 'build_from_cfg', build_for_its_host)
    wrap('mmengine.registry.registry', 'Registry.build', name_what_is_built)


def build_for_its_host(
    original: Callable[..., object],
    cfg: ConfigDict,
    registry: Registry,
    default_args: ConfigDict | None = None,
) -> object:
    if isinstance(cfg, dict) and _is_hrnet(cfg.get('type')):
        from mmhrnet.hosts.network import build_hrnet

        cfg = cfg.copy()
        cfg['type'] = partial(build_hrnet, registry.scope)
    return original(cfg, registry, default_args)


def name_what_is_built(
    original: Callable[..., object],
    self: Registry,
    cfg: ConfigDict,
    *args: object,
    **kwargs: object,
) -> object:
    try:
        return original(self, cfg, *args, **kwargs)
    except Exception as error:
        kind = cfg.get('type', '') if isinstance(cfg, dict) else ''
        if 'built' not in vars(error):
            vars(error)['built'] = getattr(kind, '__name__', kind)
            with suppress(Exception):  # its library may be broken
                known = _arguments(_find(self, cfg)) if isinstance(error, TypeError) else ()
                vars(error)['arguments'] = list(known)
        raise


def _find(registry: Registry, cfg: ConfigDict) -> object:
    if not isinstance(cfg['type'], str):
        return cfg['type']
    with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
        return scoped.get(cfg['type'])


def _arguments(kind: object) -> Iterator[str]:
    """What a class or function takes, with what goes on to the classes that it inherits."""
    for part in getattr(kind, '__mro__', [kind]):
        init = vars(part).get('__init__') if isinstance(part, type) else part
        parameters = signature(init).parameters.values() if callable(init) else ()
        yield from (p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        if parameters and not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return


def _is_hrnet(kind: object) -> bool:
    if isinstance(kind, type):
        kind = f'{kind.__module__}.{kind.__qualname__}'
    return kind in NAMES
