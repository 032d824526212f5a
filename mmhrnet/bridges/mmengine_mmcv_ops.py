"""Asking whether mmcv has its ops, on Python 3.14 and newer.

Needed by: mmengine <= 0.10.7, which asks ``pkgutil.find_loader``. Python 3.14 has no such function,
so that every optimizer with ``paramwise_cfg`` and every replacement of SyncBN is an AttributeError.
"""

from __future__ import annotations

import pkgutil
from importlib.util import find_spec
from types import ModuleType

from mmhrnet.bridges.imports import after_import

MODULE = 'mmengine.utils.dl_utils.misc'


def reason() -> str | None:
    if find_spec('mmengine') is None or hasattr(pkgutil, 'find_loader'):
        return None
    return 'mmengine calls pkgutil.find_loader, which this Python does not have'


def install() -> None:
    after_import(MODULE, _find_by_spec)


def _find_by_spec(module: ModuleType) -> None:
    def mmcv_full_available() -> bool:
        return find_spec('mmcv') is not None and find_spec('mmcv._ext') is not None

    module.__dict__['mmcv_full_available'] = mmcv_full_available
