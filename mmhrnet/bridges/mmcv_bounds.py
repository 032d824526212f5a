"""mmcv 2.2.0 and newer under hosts that refuse it.

Needed by: mmdet <= 3.3.0 and mmseg <= 1.2.2 (mmcv < 2.2.0), mmpretrain <= 1.2.0 (mmcv < 2.4.0).
Their code works with it; only an assertion in their ``__init__`` refuses. While that file runs, and
no longer, mmcv states a version that the host accepts. Steps aside where the bound admits mmcv, and
can do nothing for a host that was imported before mmhrnet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mmhrnet.bridges.imports import around_import

HOSTS = ('mmdet', 'mmseg', 'mmpretrain')
STATED_VERSION = '2.1.0'
BOUND = re.compile(r"^(?:mmcv_maximum_version|MMCV_MAX)\s*=\s*'([^']+)'", re.MULTILINE)


def mmcv_version() -> str | None:
    """Version of the installed mmcv, compiled or lite."""
    for name in ('mmcv', 'mmcv-lite'):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def upper_bound(host: str) -> str | None:
    """The first mmcv that the installed host refuses, read from its source."""
    spec = find_spec(host)
    if spec is None or spec.origin is None:
        return None
    match = BOUND.search(Path(spec.origin).read_text(encoding='utf-8'))
    return match.group(1) if match else None


def refusing_hosts() -> list[str]:
    try:
        from packaging.version import Version
    except ModuleNotFoundError:  # as doctor says
        return []
    mmcv = mmcv_version()
    bounds = {host: upper_bound(host) for host in HOSTS}
    return [host for host, b in bounds.items() if mmcv and b and Version(mmcv) >= Version(b)]


def reason() -> str | None:
    refusing = refusing_hosts()
    return f'{", ".join(refusing)} refuse mmcv {mmcv_version()}' if refusing else None


def install() -> None:
    for host in refusing_hosts():
        around_import(host, _state_accepted_version)


@contextmanager
def _state_accepted_version(_: ModuleType) -> Iterator[None]:
    import mmcv

    real = mmcv.__version__
    mmcv.__version__ = STATED_VERSION
    try:
        yield
    finally:
        mmcv.__version__ = real
