"""xtcocotools, which mmpose imports, on pycocotools.

Needed by: mmpose 1.x wherever xtcocotools is absent; it has no wheel and does not build on Python
3.13. Covers what the hosts use: ``coco.COCO``, ``mask``, ``cocoeval.COCOeval`` with every kind of
keypoints, ``sigmas`` and ``use_area``. Steps aside where xtcocotools is installed: its finder
stands last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

SOURCES = {  # the modules whose names they take
    'xtcocotools.coco': 'pycocotools.coco',
    'xtcocotools.cocoeval': 'mmhrnet.bridges.oks_eval',
    'xtcocotools.mask': 'pycocotools.mask',
}


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != 'xtcocotools' and fullname not in SOURCES:
            return None
        return ModuleSpec(fullname, self, is_package=fullname == 'xtcocotools')

    def exec_module(self, module: ModuleType) -> None:
        if source := SOURCES.get(module.__name__):
            names = vars(import_module(source))
            module.__dict__.update({k: v for k, v in names.items() if not k.startswith('__')})


def _installed() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def reason() -> str | None:
    absent = _installed() or find_spec('xtcocotools') is None
    return 'xtcocotools is not installed' if absent and find_spec('mmpose') else None


def install() -> None:
    if not _installed():
        sys.meta_path.append(_Finder())
