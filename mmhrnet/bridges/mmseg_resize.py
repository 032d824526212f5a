"""Exporting segmentors with ``align_corners=True``.

Needed by: mmseg <= 1.2.2, whose ``resize`` turns sizes into numbers to say which ones would fit
better. A graph that is traced through it has that one size, so no file has free sizes. Weights come
with their own ``align_corners``, so nobody can act on what it says.
"""

from __future__ import annotations

from importlib.util import find_spec
from inspect import signature
from types import ModuleType

from mmhrnet.bridges.imports import after_import


def reason() -> str | None:
    fixes = "mmseg's resize fixes the sizes of an export with align_corners=True"
    return fixes if find_spec('mmseg') else None


def install() -> None:
    after_import('mmseg.models.utils.wrappers', _advise_not)


def _advise_not(module: ModuleType) -> None:
    resize = module.resize  # changed itself, because others have imported it by its name
    if list(signature(resize).parameters)[-1] == 'warning':
        resize.__defaults__ = (*resize.__defaults__[:-1], False)
