"""mmcv and mmengine that are newer than a host allows.

Needed by: mmdet <= 3.3.0 and mmseg <= 1.2.2 (mmcv < 2.2.0), mmpretrain <= 1.2.0 (mmcv < 2.4.0),
mmpose <= 1.3.2 (mmcv <= 3.0.0), and all four from mmengine 1.0.0 on. Their code works with it; only
an assertion in their ``__init__`` refuses. While that file runs, and no longer, mmcv or mmengine
states a version just below the bound. Steps aside where the bounds admit what is installed, and
cannot help a host that was imported before mmhrnet.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mmhrnet.bridges.imports import around_import
from mmhrnet.hosts import host_names

PACKAGES = ('mmcv', 'mmengine')
BOUND = r"^(?:{0}_maximum_version|{1}_MAX)\s*=\s*'([^']+)'"


@cache  # every host asks for it, when its reason is given and when the bridge is installed
def installed_version(package: str) -> str | None:
    """Version of an installed package of OpenMMLab, whatever the name of its distribution.

    Its ``version.py`` says it, and needs nothing of the package that would have to be imported.
    """
    init = _init_file(package)
    path = init and init.with_name('version.py')
    return runpy.run_path(str(path)).get('__version__') if path and path.is_file() else None


def upper_bound(host: str, package: str) -> str | None:
    """The first version of a package that the installed host refuses, read from its source."""
    init = _init_file(host)
    source = init.read_text(encoding='utf-8') if init else ''
    match = re.search(BOUND.format(package, package.upper()), source, re.MULTILINE)
    return match.group(1) if match else None


def _init_file(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin) if spec and spec.origin else None


def refused(host: str) -> dict[str, str]:
    """What the host refuses, and its bound for it."""
    if find_spec(host) is None or find_spec('packaging') is None:
        return {}
    from packaging.version import Version

    found = {}
    for package in PACKAGES:
        bound, installed = upper_bound(host, package), installed_version(package)
        if bound and installed and Version(installed) >= Version(bound):
            found[package] = bound
    return found


def reason() -> str | None:
    refusals = [
        f'{host} refuses {package} {installed_version(package)}'
        for host in host_names()
        for package in refused(host)
    ]
    return ', '.join(refusals) or None


def install() -> None:
    for host in host_names():
        if refused(host):
            around_import(host, _state_accepted_versions)


@contextmanager
def _state_accepted_versions(host: ModuleType) -> Iterator[None]:
    bounds = {import_module(name): bound for name, bound in refused(host.__name__).items()}
    real = {package: package.__version__ for package in bounds}
    for package, bound in bounds.items():
        package.__dict__['__version__'] = f'{bound}.dev0'  # which is sorted before the bound
    try:
        yield
    finally:
        for package, version in real.items():
            package.__dict__['__version__'] = version
