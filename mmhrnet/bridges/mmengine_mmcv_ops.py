"""Asking whether mmcv has its ops, on Python 3.14 and newer.

Needed by: mmengine <= 0.10.7, which asks ``pkgutil.find_loader``. Python 3.14 has no such function,
so that every optimizer with ``paramwise_cfg`` and every replacement of SyncBN is an AttributeError.
"""

from __future__ import annotations

import pkgutil
from importlib.util import find_spec

from mmhrnet.bridges.imports import wrap


def reason() -> str | None:
    if find_spec('mmengine') is None or hasattr(pkgutil, 'find_loader'):
        return None
    return 'mmengine calls pkgutil.find_loader, which this Python does not have'


def install() -> None:
    wrap('mmengine.utils.dl_utils.misc', 'mmcv_full_available', has_ops)


def has_ops(_: object) -> bool:
    return find_spec('mmcv') is not None and find_spec('mmcv._ext') is not None
