"""``mmcv._ext``, the compiled half of mmcv, for an mmcv without it.

Needed by: mmdet, mmpose and mmsegmentation 1.x on mmcv-lite 2.0 to 2.2, and on an onedl-mmcv that
was built without PyTorch, as pip does. These contain the Python side of ``mmcv.ops`` but not the
compiled module under it, so that ``import mmcv.ops`` fails. Steps aside where a compiled
``mmcv._ext`` is installed, since its finder stands last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

EXTENSION = 'mmcv._ext'
STAND_IN = Path(__file__).with_name('mmcv_ops.py')


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_file_location(EXTENSION, STAND_IN) if fullname == EXTENSION else None


def reason() -> str | None:
    mmcv = find_spec('mmcv')
    if mmcv is None or PathFinder.find_spec(EXTENSION, mmcv.submodule_search_locations):
        return None
    return 'mmcv has no compiled ops, torchvision runs them'


def install() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
