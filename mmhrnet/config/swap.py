"""Puts mmhrnet into a host's config."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import NamedTuple, TypeVar

from mmengine.config import Config, ConfigDict

from mmhrnet.config.check import config_errors
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts
from mmhrnet.models.archs import extra_switches

AnyConfig = TypeVar('AnyConfig', Config, dict)

OURS = {'HRNet': 'HRNet', 'HRFPN': 'HRNetV2p', 'HRFuseScales': 'HRNetC'}
# Arguments whose default differs in the HRNet of some host, with the default of the others.
DEFAULTS = dict(norm_eval=False, upsample='nearest', multiscale_output=True, init_cfg=None)
# HRFuseScales leaves its convolutions as their layers initialize them.
FUSE_INIT = dict(type='Normal', layer='Linear', std=0.01)
FUSE_NORMS = (None, dict(type='BN'), dict(type='BN', momentum=0.1))  # all are its default


class Part(NamedTuple):
    """A dict of a config that a registry builds."""

    path: str  # such as 'model.backbone'
    cfg: ConfigDict
    scope: str | None  # the library of names without a prefix
    library: str | None  # the library of its own type; None is that of the registry that builds it
    name: str


def swap(cfg: AnyConfig) -> AnyConfig:
    """Replaces a host's HRNet, HRFPN and HRFuseScales by those of mmhrnet, and prints what it did.

    The state-dict keys and the numbers stay the host's, so that its weights load.

    Args:
        cfg: A config or a part of one, such as its model; edited in place. Names like
            ``'mmdet.HRNet'`` and classes keep the defaults of their library, whichever registry
            builds them.

    Returns:
        ``cfg`` itself.

    Raises:
        ConfigError: It contains nothing to replace.

    Example:
        >>> swap(dict(type='HRFPN', in_channels=[18, 36, 72, 144], out_channels=256))['type']
        'mmhrnet.HRNetV2p'
    """
    print(*replace(cfg), sep='\n', file=sys.stderr)
    return cfg


def replace(cfg: Config | dict) -> list[str]:
    """Like :func:`swap`, but returns a line for each part that it replaced or had to keep."""
    if not isinstance(cfg, (Config, dict)):
        raise ConfigError(
            f'swap takes a config, not {cfg!r}: read it first, with mmengine.Config.fromfile'
        )
    found = list(_parts(cfg, '', cfg.get('default_scope')))
    parts = [part for part in found if part.name in OURS and part.library != 'mmhrnet']
    if not parts and any(p.library == 'mmhrnet' and p.name in OURS for p in found):
        return ['Nothing to swap: the config uses mmhrnet already']
    lines = [_why_it_stays(part) or _replace(part) for part in parts]
    if not any(' -> ' in line for line in lines):
        hosts = ', '.join(known_hosts())
        reasons = f' ({"; ".join(lines)})' if lines else ''
        raise ConfigError(
            f'Nothing to swap: no HRNet, HRFPN or HRFuseScales of {hosts} is in the config{reasons}'
        )
    return lines


def _parts(node: object, path: str, scope: str | None) -> Iterator[Part]:
    children: Iterable[tuple[object, object]] = ()
    if isinstance(node, (Config, dict)):
        scope = node.get('_scope_', scope)
        yield Part(path or 'config', node, scope, *_type(node.get('type'), scope))
        children = list(node.items())
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    for key, child in children:
        yield from _parts(child, f'{path}.{key}' if path else str(key), scope)


def _type(kind: object, scope: str | None) -> tuple[str | None, str]:
    """Library and name of a type: ``'HRNet'``, ``'mmdet.HRNet'``, a dotted path or a class."""
    if isinstance(kind, type):
        kind = f'{kind.__module__}.{kind.__qualname__}'
    if not isinstance(kind, str):
        return None, ''
    library, dot, _ = kind.partition('.')
    return library if dot else scope, kind.rpartition('.')[2]


def _why_it_stays(part: Part) -> str:
    if part.library not in (None, *known_hosts()):
        return f'{part.path}: {part.name} of {part.library} stays'
    if part.name == 'HRFuseScales' and part.cfg.get('norm_cfg') not in FUSE_NORMS:
        return (
            f'{part.path}: HRFuseScales stays: its bottlenecks ignore its norm_cfg, those of '
            'mmhrnet.HRNetC would not'
        )
    return ''


def _replace(part: Part) -> str:
    cfg, old, new = part.cfg, part.cfg['type'], f'mmhrnet.{OURS[part.name]}'
    cfg['type'] = new
    if part.name == 'HRNet':
        with config_errors():
            _keep_defaults(part)
    else:  # HRFPN ignores its norm_cfg, and that of HRFuseScales is the default here
        cfg.pop('norm_cfg', None)
    if part.name == 'HRFuseScales':
        cfg.setdefault('init_cfg', dict(FUSE_INIT))
    return f'{part.path}: {old if isinstance(old, str) else old.__qualname__} -> {new}'


def _keep_defaults(part: Part) -> None:
    """Writes the defaults of its library into a part that another library builds."""
    cfg, library = part.cfg, part.library
    host = known_hosts().get(library or '')
    if host is None:
        return
    if not host.switches_in_extra and extra_switches(cfg.get('extra')):
        cfg['extra'] = deepcopy(cfg['extra'])  # the host does not read them there
        cfg['extra'].pop('upsample', None)
        cfg['extra'].get('stage4', {}).pop('multiscale_output', None)
    if library == part.scope:
        return
    given = {**extra_switches(cfg.get('extra')), **cfg}
    for key, value in {**DEFAULTS, **host.network}.items():
        if key not in given and not (key == 'init_cfg' and given.get('pretrained') is not None):
            cfg[key] = deepcopy(value)
