"""The host libraries: ours, and those that other packages add.

A package adds one by an entry point of the group ``mmhrnet.hosts``, named as the library, that
leads to its :class:`Host`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from mmhrnet.errors import ConfigError
from mmhrnet.hosts import mmdet, mmpose, mmpretrain, mmseg
from mmhrnet.hosts.host import ClassMetric, Host, Metric

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = [
    'Host',
    'class_metric',
    'find_host',
    'host_names',
    'host_of',
    'known_hosts',
    'published_metrics',
]

LOGGER = logging.getLogger(__name__)
GROUP = 'mmhrnet.hosts'
OURS = {module.HOST.name: module.HOST for module in (mmdet, mmpose, mmseg, mmpretrain)}


def host_of(cfg: Config) -> Host:
    """The host library of a config, by its default scope.

    Raises:
        ConfigError: The config is of no known host.
    """
    host = find_host(cfg)
    if host is None:
        names = ', '.join(known_hosts())
        raise ConfigError(
            f'The config is of {cfg.get("default_scope")}, which is not a known host library: '
            f'set default_scope to one of {names}'
        )
    return host


def find_host(cfg: Config) -> Host | None:
    """Like :func:`host_of`, but None if the config names no known host."""
    return known_hosts().get(cfg.get('default_scope'))


@cache
def known_hosts() -> Mapping[str, Host]:
    """All hosts by name. One that cannot be loaded is left out with a warning."""
    added = {entry.name: _load(entry) for entry in _entries()}
    return {**OURS, **{name: host for name, host in added.items() if host}}


def host_names() -> tuple[str, ...]:
    """The names of all hosts, without importing any of them."""
    return (*OURS, *(entry.name for entry in _entries()))


def published_metrics() -> dict[str, Metric]:
    """The published metrics of all hosts, by the names that their evaluators use."""
    return {
        name: metric for host in known_hosts().values() for name, metric in host.metrics.items()
    }


@cache
def class_metric(name: str) -> ClassMetric | None:
    """Figure and class of a metric of a single class, by the name that an evaluator gives it."""
    kinds = [host.class_metric for host in known_hosts().values() if host.class_metric]
    found = ((figure, re.fullmatch(pattern, name)) for figure, pattern in kinds)
    return next((ClassMetric(figure, match[1]) for figure, match in found if match), None)


@cache
def _entries() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _load(entry: EntryPoint) -> Host | None:
    try:
        host = entry.load()
        if not isinstance(host, Host) or host.name != entry.name:
            raise TypeError(f'it is {host!r}, not a Host of this name')
    except Exception as error:  # a module is a program, which may raise anything
        LOGGER.warning('The host %s (%s) cannot be used: %s', entry.name, entry.value, error)
        return None
    return host
