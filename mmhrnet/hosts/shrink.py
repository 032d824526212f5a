"""Edits of a config that the mini recipes of several hosts make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from mmhrnet.walk import LOADERS, dicts

if TYPE_CHECKING:
    from mmengine.config import Config, ConfigDict

RESIZES = ('Resize', 'RandomChoiceResize')
SPLITS = dict(zip(LOADERS, ('train', 'val', 'val')))  # whose images each loader takes


def steps(cfg: Config) -> Iterator[ConfigDict]:
    """The transforms of all pipelines."""
    loaders = dicts([cfg[name] for name in LOADERS])
    yield from (step for d in loaders if 'pipeline' in d for step in dicts(d.pipeline))


def pipeline(dataset: ConfigDict) -> list[ConfigDict]:
    """The pipeline of a data set, or of the first one that it wraps."""
    return next(part.pipeline for part in dicts(dataset) if 'pipeline' in part)


def drop_steps(cfg: Config, *types: str) -> None:
    """Drops augmentation that a short training has no time for."""
    for dataset in dicts(cfg.train_dataloader.dataset):
        if 'pipeline' in dataset:
            dataset.pipeline = [step for step in dataset.pipeline if step.type not in types]


def add_after_resize(cfg: Config, loaders: Sequence[str], step: Mapping[str, object]) -> None:
    """Adds a step after each resize in the pipelines of some loaders."""
    for dataset in dicts([cfg[name].dataset for name in loaders]):
        if 'pipeline' in dataset:
            pairs = ([s, step] if s.type in RESIZES else [s] for s in dataset.pipeline)
            dataset.pipeline = list(chain.from_iterable(pairs))


def set_classes(model: ConfigDict, count: int) -> None:
    """Sets the number of classes in every head."""
    for part in dicts(model):
        if 'num_classes' in part:
            part.num_classes = count
