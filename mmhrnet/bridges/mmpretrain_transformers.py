"""Importing mmpretrain beside any version of transformers.

Needed by: mmpretrain <= 1.2.0 and onedl-mmpretrain <= 1.3.6. Their multimodal models import names
that transformers 4.57 and newer no longer have, and one of their classes derives from the None that
stands for such a name, so that ``import mmpretrain.models`` is a TypeError; mmdet and mmseg import
it too. Where a name is missing, mmpretrain takes the way that it has for no transformers at all:
its multimodal models say that they need it when they are built, and everything else works.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mmhrnet.bridges.imports import after_import

FOLDERS = ('models/multimodal', 'models/utils')  # what is imported if there is transformers


def reason() -> str | None:
    if find_spec('mmpretrain') is None or find_spec('transformers') is None:
        return None
    return 'mmpretrain cannot be imported beside a transformers without all names that it uses'


def install() -> None:
    after_import('mmpretrain.utils.dependency', _do_without)


def _do_without(module: ModuleType) -> None:
    package = Path(str(module.__file__)).parents[1]
    if module.WITH_MULTIMODAL and not all(map(_exists, _names(package))):
        module.__dict__['WITH_MULTIMODAL'] = False


def _names(package: Path) -> Iterator[tuple[str, str]]:
    """Modules of transformers and their names that mmpretrain imports."""
    paths = [path for folder in FOLDERS for path in sorted((package / folder).rglob('*.py'))]
    texts = (path.read_text(encoding='utf-8') for path in paths)
    for tree in (ast.parse(text) for text in texts if 'from transformers' in text):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('transformers'):
                yield from ((str(node.module), alias.name) for alias in node.names)


def _exists(imported: tuple[str, str]) -> bool:
    module, name = imported
    try:
        return hasattr(import_module(module), name) or find_spec(f'{module}.{name}') is not None
    except Exception:  # transformers raises many kinds where a dependency is too old
        return False
