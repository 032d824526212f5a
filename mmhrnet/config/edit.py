"""Edits of a host's config for the options of the command line."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config

from mmhrnet.errors import ConfigError
from mmhrnet.hosts import find_host
from mmhrnet.walk import EVALUATORS, LOADERS, datasets, dicts


def use_data_root(cfg: Config, root: str | Path) -> None:
    """Moves every path of data sets and evaluators from their data root to another one.

    Raises:
        ConfigError: ``root`` is not a folder.
    """
    if not Path(root).is_dir():
        raise ConfigError(f'--data-root {root} is not a folder')
    olds = {dataset.data_root for dataset in datasets(cfg) if dataset.get('data_root')}
    for node in dicts([cfg.get(name) for name in (*LOADERS, *EVALUATORS)]):
        for key, value in node.items():
            old = next((o for o in olds if _is_below(value, o)), None)
            if old is not None:
                node[key] = str(Path(root, Path(value).relative_to(old)))


def use_visualizer(cfg: Config) -> None:
    """Sets the host's visualizer if there is none, because MMEngine's draws no predictions."""
    host = find_host(cfg)
    if host and not cfg.get('visualizer'):
        cfg.visualizer = dict(type=host.visualizer, vis_backends=[dict(type='LocalVisBackend')])


def report_classes(cfg: Config) -> None:
    """Lets the evaluators report the figures of each class, if those of the host can."""
    host = find_host(cfg)
    if host is None:
        return
    for part in dicts([cfg.get(name) for name in EVALUATORS]):
        kind = str(part.get('type')).removeprefix(f'{host.name}.')
        part.update(host.class_reports.get(kind, {}))


def use_train_split(cfg: Config) -> None:
    """Tests on the training data, with the pipeline of the test.

    Raises:
        ConfigError: There are several training data sets, or the test is of another type.
    """
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    while 'dataset' in train:  # a wrapper, such as RepeatDataset
        train = train.dataset
    if train.get('type') != test.get('type'):
        raise ConfigError(f'--split train needs one plain data set, the config has {train.type}')
    before = test.get('ann_file')
    for key in ('ann_file', 'data_prefix', 'split'):
        if key in train:
            test[key] = train[key]
    if 'bbox_file' in test:
        test.bbox_file = None
    if before:
        for node in dicts(cfg.test_evaluator):
            if str(node.get('ann_file', '')).endswith(before):
                node.ann_file = node.ann_file.removesuffix(before) + train.ann_file


def _is_below(value: object, folder: str) -> bool:
    return isinstance(value, str) and Path(value).is_relative_to(folder)


def use_scratch(cfg: Config) -> None:
    """Sets random weights, and norms that learn their own statistics."""
    cfg.load_from = None
    for module in dicts(cfg.model):
        if (module.get('init_cfg') or {}).get('type') == 'Pretrained':
            del module['init_cfg']
        if module.get('pretrained') is not None:
            module['pretrained'] = None
        if str(module.get('type', '')).rpartition('.')[2] == 'HRNet':
            module['norm_eval'] = False


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Sets the argument, else keeps the config's, else takes ``work_dirs/<name of the config>``.

    Raises:
        ConfigError: The name is not UTF-8.
    """
    cfg.work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(cfg.filename).stem}'
    try:
        cfg.work_dir.encode()  # it is written to configs, logs and checkpoints
    except UnicodeEncodeError as error:
        raise ConfigError(f'--work-dir {cfg.work_dir} is not UTF-8: choose another name') from error


def set_training(
    cfg: Config, *, resume: str | None, amp: bool, auto_scale_lr: bool, no_validate: bool
) -> None:
    """Applies the training flags of the host libraries.

    Raises:
        ConfigError: The config has no part that a flag changes, or nothing to train with.
    """
    for key in ('train_cfg', 'optim_wrapper'):
        if not isinstance(cfg.get(key), dict):
            raise ConfigError(
                f'The config has no {key} dict: set one, as the configs in configs/ do'
            )
    if resume and resume != 'auto' and '://' not in resume and not Path(resume).is_file():
        raise ConfigError(
            f'--resume {resume} is not a file: name a checkpoint, or give --resume without a value '
            'for the latest one of the work folder'
        )
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
    if amp and not torch.cuda.is_available():
        raise ConfigError('--amp needs a GPU, and torch sees none here')
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ConfigError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
        cfg.auto_scale_lr.enable = True
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
