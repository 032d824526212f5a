"""Looks for the files of a config before any time is spent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import CheckpointLoader

from mmhrnet.apis.config import LOADERS, ConfigError, datasets, dicts
from mmhrnet.checkpoints import CheckpointError

NO_DATA = """Four ways out:
  --data-root PATH  the same data set elsewhere, with these files below it
  --mini            the embedded data set: no download, minutes on a CPU
  put the data set where the config looks for it, relative to this folder
  python tools/download_dataset.py --list  those that it fetches, and how to get the others"""
NO_PERSONS = """
Person detections are a download of mmpose's; without them, the true boxes serve:
  --cfg-options val_dataloader.dataset.bbox_file=None test_dataloader.dataset.bbox_file=None"""
NO_WEIGHTS = """Three ways out:
  --from-scratch  random weights, and norms that gather their own statistics
  --cfg-options model.backbone.init_cfg.checkpoint=PATH  a checkpoint on this machine
  a network connection, once: the file then stays in torch's cache"""


def check_data(cfg: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Raises a ConfigError that lists each annotation file and image folder that is not there."""
    paths = [path for dataset in datasets(cfg, loaders) for path in _paths(dataset)]
    missing = sorted({str(path) for path in paths if not path.exists()})
    if missing:
        persons = NO_PERSONS if any('person_detection' in path for path in missing) else ''
        lines = '\n  '.join(['The data set is not there:', *missing])
        raise ConfigError(f'{lines}\n{NO_DATA}{persons}')


def check_weights(cfg: Config) -> None:
    """Raises a ConfigError if pretrained weights cannot be had; a download is done now."""
    for checkpoint in _pretrained(cfg.model):
        try:
            CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
        except (OSError, CheckpointError) as error:
            raise ConfigError(
                f'The pretrained weights {checkpoint} cannot be had: {error}\n{NO_WEIGHTS}'
            ) from error


def check_device(device: str | None) -> str:
    """The device, or the GPU where there is one; a ConfigError if torch does not see it."""
    if device is None:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ConfigError(
            f"--device {device} is none of torch's: use cpu, cuda or cuda:1"
        ) from error
    if kind == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(f'--device {device} needs a GPU, and torch sees none here')
    return device


def _paths(dataset: ConfigDict) -> Iterator[Path]:
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or dataset.get('split') or {}
    parts = [dataset.get('ann_file'), *([prefix] if isinstance(prefix, str) else prefix.values())]
    paths = [os.path.join(root, part) for part in parts if part]  # noqa: PTH118 (may be a URL)
    for path in (*paths, dataset.get('bbox_file')):
        if path and '://' not in path:
            yield Path(path)


def _pretrained(model: ConfigDict) -> list[str]:
    inits = [m.init_cfg for m in dicts(model) if isinstance(m.get('init_cfg'), dict)]
    named = {init.checkpoint for init in inits if init.get('type') == 'Pretrained'}
    named |= {m.pretrained for m in dicts(model) if isinstance(m.get('pretrained'), str)}
    return sorted(named)
