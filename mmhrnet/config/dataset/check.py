"""Checks the data sets of a config, by the form of their files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Protocol

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mmhrnet.config.dataset.coco import CocoTask
from mmhrnet.config.dataset.labels import IMAGES, ClassTask, MapTask
from mmhrnet.config.dataset.loader import Loader, make_loader
from mmhrnet.config.dataset.skeletons import check_skeleton
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import find_host
from mmhrnet.hosts.host import DataForm
from mmhrnet.walk import EVALUATORS, LOADERS, datasets, dicts

HEADS = ('bbox_head', 'mask_head', 'decode_head', 'auxiliary_head')
BASE_SEG = {'img_suffix': '.jpg', 'seg_map_suffix': '.png', 'reduce_zero_label': False}


class Task(Hashable, Protocol):
    """What a config takes from a data set."""

    def check(self) -> None:
        """Raises a ConfigError for something in the data that the host would fail on."""


def check_contents(cfg: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Checks annotations, and a sample of the images, of those data sets whose form is known.

    Raises:
        ConfigError: The host would fail on something in the data.
    """
    for task in dict.fromkeys(task for name in loaders for task in _tasks(cfg, name)):
        task.check()


def _tasks(cfg: Config, loader: str) -> Iterator[Task]:
    evaluator = cfg.get(loader.replace('dataloader', 'evaluator'))
    labelled = not any(part.get('format_only') for part in dicts(evaluator))
    host = find_host(cfg)
    forms = host.data if host else {}
    for dataset in datasets(cfg, (loader,)):
        form = forms.get(_type(dataset))
        if form:
            yield FORMS[form](cfg, dataset, labelled, loader == LOADERS[0])


def _type(dataset: ConfigDict) -> str:
    return str(dataset.get('type')).rpartition('.')[2]


def _path(dataset: ConfigDict, *names: str) -> Path:
    """The root, then the first of these parts that the prefix has."""
    prefix = dataset.get('data_prefix') or dataset.get('split') or ''
    if isinstance(prefix, dict):
        prefix = next((prefix[name] for name in names if prefix.get(name)), '')
    return Path(dataset.get('data_root') or '', prefix)


def _file(dataset: ConfigDict) -> Path | None:
    name = dataset.get('ann_file')
    return Path(dataset.get('data_root') or '', name) if name else None


def _host_class(cfg: Config, dataset: ConfigDict) -> type[BaseDataset]:
    """The class of a data set; this imports its library."""
    found = DATASETS.get(f'{cfg.default_scope}.{_type(dataset)}')
    if found is None:
        raise ConfigError(f'{cfg.default_scope} has no data set {dataset.type!r}')
    return found


def _classes(cfg: Config, dataset: ConfigDict) -> tuple[str, ...] | None:
    """Names of the classes, whose number must be that of the model."""
    meta = dataset.get('metainfo') or {}
    if 'classes' not in meta:
        meta = getattr(_host_class(cfg, dataset), 'METAINFO', {})
    names = meta.get('classes')
    if isinstance(names, str) and not Path(names).is_file():
        raise ConfigError(
            f'metainfo has classes={names!r}, which is a string: write ({names!r},), with a comma'
        )
    if names is None or isinstance(names, str):
        return None
    _check_palette(meta.get('palette'), len(names))
    for node in dicts(cfg.model):
        for head in dicts([node.get(name) for name in HEADS]):
            if head.get('num_classes', len(names)) != len(names):
                shown = ', '.join([*names[:5], *(['...'] if len(names) > 5 else [])])
                raise ConfigError(
                    f'{head.type} has num_classes={head.num_classes}, but the data set has '
                    f'{len(names)} classes ({shown}): change '
                    'num_classes of every head, or metainfo.classes of every data set'
                )
    return tuple(names)


def _check_palette(palette: str | Sequence[object] | None, count: int) -> None:
    """mmdet draws with it after the training; it may be one colour for all classes."""
    one = isinstance(palette, str) or (palette and not isinstance(palette[0], (list, tuple)))
    if palette and not one and len(palette) < count:
        raise ConfigError(
            f'metainfo has a palette of {len(palette)} colours for {count} classes: give each '
            'class a colour, or leave out the palette'
        )


def _loader(cfg: Config, dataset: ConfigDict) -> Loader:
    return make_loader(cfg.default_scope, dataset.get('pipeline') or [])


def _boxes(cfg: Config, dataset: ConfigDict, labelled: bool, training: bool) -> CocoTask:
    filters = (not dataset.get('test_mode') and dataset.get('filter_cfg')) or {}
    return CocoTask(
        _need_file(dataset),
        _path(dataset, 'img', 'img_path'),
        _loader(cfg, dataset),
        classes=_classes(cfg, dataset),
        masks=any(step.get('with_mask') for step in dicts(dataset.get('pipeline'))),
        labelled=labelled,
        training=training,
        min_size=filters.get('min_size', 0),
    )


def _joints(cfg: Config, dataset: ConfigDict, labelled: bool, training: bool) -> CocoTask:
    persons = Path(dataset.get('bbox_file') or '')
    return CocoTask(
        _need_file(dataset),
        _path(dataset, 'img'),
        _loader(cfg, dataset),
        joints=check_skeleton(cfg, dataset, _host_class(cfg, dataset)),
        strict=_type(dataset) == 'CocoDataset',
        labelled=labelled,
        persons=persons if persons.is_file() else None,
        training=training,
    )


def _need_file(dataset: ConfigDict) -> Path:
    file = _file(dataset)
    if file is None:
        raise ConfigError(f'A data set {dataset.type} has no ann_file: set one')
    return file


def _maps(cfg: Config, dataset: ConfigDict, labelled: bool, training: bool) -> MapTask:
    host = _host_class(cfg, dataset)
    own_defaults = {name: p.default for name, p in signature(host).parameters.items()}
    options = ConfigDict({**BASE_SEG, **own_defaults, **dataset})
    ignored = next(dicts(cfg.model.get('decode_head')), ConfigDict()).get('ignore_index', 255)
    names: Sequence[str | None] | None = _classes(cfg, dataset) if labelled else None
    own = getattr(host, 'METAINFO', {}).get('classes')
    if own is not None and names is not None:  # mmseg ignores the classes that are left out
        names = [name if name in names else None for name in own]
    if names is not None:
        labels = [None, *names] if options.reduce_zero_label else names
        names = tuple(None if k == ignored else name for k, name in enumerate(labels))
    list_file = _file(dataset)
    return MapTask(
        _path(dataset, 'img_path'),
        _path(dataset, 'seg_map_path'),
        options.img_suffix,
        options.seg_map_suffix,
        list_file if list_file and list_file.is_file() else None,
        _loader(cfg, dataset),
        names,
        ignored,
        training,
    )


def _class_list(cfg: Config, dataset: ConfigDict, labelled: bool, training: bool) -> ClassTask:  # noqa: ARG001
    names = (dataset.get('metainfo') or {}).get('classes')
    file = _file(dataset)
    split = Path(dataset.get('data_root') or '', 'meta', f'{dataset.get("split")}.txt')
    if file is None and dataset.get('split') and split.is_file():  # mmpretrain takes it by default
        file = split
    count = cfg.model.head.num_classes
    if names is not None and len(names) != count:
        raise ConfigError(
            f'model.head has num_classes={count}, the data set has {len(names)} classes: change one'
        )
    _check_topk(cfg, count)
    return ClassTask(
        _path(dataset, 'img_path'),
        file,
        _loader(cfg, dataset),
        count,
        names and tuple(names),
        training,
        tuple(dataset.get('extensions') or IMAGES),
    )


def _check_topk(cfg: Config, count: int) -> None:
    """mmpretrain would end the training at its first evaluation."""
    for name in EVALUATORS:
        for part in dicts(cfg.get(name)):
            topk = part.get('topk', ())
            if max([topk] if isinstance(topk, int) else topk, default=0) > count:
                raise ConfigError(
                    f'{name} has topk={topk!r}, but there are only {count} classes: '
                    f'set {name}=dict(topk=1)'
                )


FORMS: dict[DataForm, Callable[[Config, ConfigDict, bool, bool], Task]] = {
    'boxes': _boxes,
    'joints': _joints,
    'maps': _maps,
    'classes': _class_list,
}
