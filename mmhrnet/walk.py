"""The dicts inside a config, its heads and its data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config, ConfigDict

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')


def dicts(node: object) -> Iterator[ConfigDict]:
    """Every dict in a tree of dicts and lists, outer ones first."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from dicts(child)


def datasets(cfg: Config, loaders: tuple[str, ...] = LOADERS) -> Iterator[ConfigDict]:
    """The data sets of the loaders, without wrappers: the dicts that name files."""
    for name in loaders:
        loader = cfg.get(name)
        found = dicts(loader and loader.dataset)
        yield from (d for d in found if 'ann_file' in d or 'data_root' in d)


def heads(model: object) -> Iterator[ConfigDict]:
    """The heads of a model, also those inside of others; without auxiliary ones."""
    for part in dicts(model):
        for key, value in part.items():
            if str(key).endswith('head') and not str(key).startswith('auxiliary'):
                found = value if isinstance(value, (list, tuple)) else [value]
                yield from (head for head in found if isinstance(head, dict))


def type_name(kind: object) -> str:
    """The name of a type without its module: of ``'mmdet.FCOSHead'`` or a class."""
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]
