"""xtcocotools, which mmpose imports, on pycocotools.

Needed by: mmpose 1.x wherever xtcocotools is absent; it has no wheel and does not build on Python
3.13. Covers what the hosts use: ``coco.COCO``, ``mask``, ``cocoeval.COCOeval`` with every kind of
keypoints, ``sigmas`` and ``use_area``. Steps aside where xtcocotools is installed: its finder
stands last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

MODULES = ('xtcocotools', 'xtcocotools.coco', 'xtcocotools.cocoeval', 'xtcocotools.mask')


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MODULES:
            return None
        return ModuleSpec(fullname, self, is_package=fullname == MODULES[0])

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == 'xtcocotools.coco':
            from pycocotools.coco import COCO

            module.__dict__['COCO'] = COCO
        elif module.__name__ == 'xtcocotools.cocoeval':
            from mmhrnet.bridges.oks_eval import COCOeval

            module.__dict__['COCOeval'] = COCOeval
        elif module.__name__ == 'xtcocotools.mask':
            from pycocotools import mask

            names = [name for name in vars(mask) if not name.startswith('__')]
            module.__dict__.update({name: getattr(mask, name) for name in names})


def _installed() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def reason() -> str | None:
    absent = _installed() or find_spec('xtcocotools') is None
    return 'xtcocotools is not installed' if absent and find_spec('mmpose') else None


def install() -> None:
    if not _installed():
        sys.meta_path.append(_Finder())
