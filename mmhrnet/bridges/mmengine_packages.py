"""Packages that mmengine finds by the module in them.

Needed by: mmengine <= 0.10.7, which asks ``pkg_resources``, and setuptools 82 has none; and every
mmengine where the distribution has another name than the one in mmengine's table. The OneDL forks
do: ``onedl-mmsegmentation`` contains ``mmseg``, and mmengine looks for ``mmsegmentation`` when a
config says ``mmseg::``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mmhrnet.bridges.imports import after_import

MODULES = (  # the first defines the functions, the others take them by name
    'mmengine.utils.package_utils',
    'mmengine.utils',
    'mmengine.config.config',
    'mmengine.hub.hub',
)


def reason() -> str | None:
    by = 'mmengine finds packages by pkg_resources or by the name of their distribution'
    return by if find_spec('mmengine') else None


def install() -> None:
    for name in MODULES:
        after_import(name, _find_modules)


def _find_modules(module: ModuleType) -> None:
    for function in (is_installed, get_installed_path, package2module):
        if hasattr(module, function.__name__):
            setattr(module, function.__name__, function)


def is_installed(package: str) -> bool:
    """Whether there is such a distribution or such a module."""
    from importlib import metadata

    spec = find_spec(package2module(package))
    return bool(spec and spec.origin) or any(metadata.distributions(name=package))


def get_installed_path(package: str) -> str:
    """Folder of a package that is named by its module or its distribution.

    Raises:
        ModuleNotFoundError: It is not installed.
        RuntimeError: It is a namespace package, which has many folders.
    """
    spec = find_spec(package2module(package))
    if spec is None:
        raise ModuleNotFoundError(f'{package} is not installed')
    if spec.origin is None:
        raise RuntimeError(f'{package} is a namespace package, which has no folder of its own')
    return str(Path(spec.origin).parent)


def package2module(package: str) -> str:
    """Name of the module in a distribution: ``mmseg`` of ``mmsegmentation``."""
    from importlib.metadata import packages_distributions

    from mmengine.config.utils import MODULE2PACKAGE
    from packaging.utils import canonicalize_name

    known = {name: module for module, name in MODULE2PACKAGE.items()}
    if package in known or find_spec(package):
        return known.get(package, package)
    name = canonicalize_name(package)
    for module, distributions in packages_distributions().items():
        if name in map(canonicalize_name, distributions) and find_spec(module):
            return module
    return package
