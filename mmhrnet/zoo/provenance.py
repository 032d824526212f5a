"""What a figure depends on: the weights, the data, the config, the versions, the machine."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

import mmhrnet
from mmhrnet.checkpoints.fetching import fetch
from mmhrnet.checkpoints.places import HUB, name_of
from mmhrnet.config.check import check_paths, config_errors
from mmhrnet.doctor import distributions, processor
from mmhrnet.download import digest_of
from mmhrnet.errors import ConfigError
from mmhrnet.training.report import count_images
from mmhrnet.zoo.results import Data, Inputs, Versions

PLACES = ('ann_file', 'data_root', 'data_prefix', 'bbox_file')  # say where, not what
NAMES_HELP = "Say who measures: --by NAME, or git config user.name 'NAME'"


def inputs_of(cfg: Config, weights: str) -> Inputs:
    """What decides the figure of a config with these weights.

    Args:
        cfg: The config; its ``test_dataloader`` is what is evaluated.
        weights: URL or path of the published file; it is fetched.

    Raises:
        ConfigError: Data are missing.
        FetchError: The weights cannot be had.
    """
    data = _data(cfg)
    path, file = Path(weights), name_of(weights)
    if '://' in weights:
        path, place = fetch(weights)
        file = place.url if place.url.startswith(HUB) else place.name
    return Inputs(
        weights=name_of(weights),
        file=file,
        sha256=digest_of(path),
        settings=_settings(cfg),
        data=data,
    )


def _data(cfg: Config) -> Data:
    check_paths(cfg, ('test_dataloader',))
    scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
    with scope, config_errors():
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    return Data(annotations=dict(_annotations(dataset)), images=count_images(dataset))


def _annotations(dataset: Any) -> Iterator[tuple[str, str]]:
    """The name of what was annotated and its SHA-256."""
    files = [str(getattr(dataset, name, '')) for name in ('ann_file', 'bbox_file')]
    found = [Path(file) for file in files if file.endswith('.json')]
    if found:
        yield from ((path.name, digest_of(path)) for path in found)
        return
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    maps = [Path(info['seg_map_path']) for info in infos if info.get('seg_map_path')]
    if maps:
        yield 'label maps', _digest(f'{path.name} {digest_of(path)}' for path in maps)
    else:
        images = ((Path(info['img_path']), info['gt_label']) for info in infos)
        yield 'classes', _digest(f'{p.parent.name}/{p.name} {label}' for p, label in images)


def _digest(lines: Iterator[str]) -> str:
    return hashlib.sha256('\n'.join(sorted(lines)).encode()).hexdigest()


def _settings(cfg: Config) -> str:
    """The SHA-256 of what is evaluated and how, which is the same on every machine."""
    parts = (cfg.model, cfg.test_dataloader.dataset, cfg.test_evaluator)
    return hashlib.sha256(json.dumps(_without_places(parts)).encode()).hexdigest()


def _without_places(part: object) -> object:
    if isinstance(part, dict):
        return {
            str(key): _without_places(value)
            for key, value in sorted(part.items(), key=lambda item: str(item[0]))
            if key not in PLACES
        }
    if isinstance(part, (list, tuple)):
        return [_without_places(item) for item in part]
    return part if part is None or isinstance(part, (bool, int, float, str)) else str(part)


def versions_of(host: str) -> Versions:
    """What is installed here."""
    modules = {name: name for name in ('torch', 'mmengine', 'mmcv')} | {'host': host}
    found = {
        field: ', '.join(f'{name} {metadata.version(name)}' for name in distributions(module))
        for field, module in modules.items()
    }
    return Versions(
        python=platform.python_version(), mmhrnet=f'mmhrnet {mmhrnet.__version__}', **found
    )


def device() -> str:
    """The GPU that MMEngine takes, else the processor."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else processor()


def who(given: str | None) -> str:
    """Who measures: as given, or as git knows them.

    Raises:
        ConfigError: Nobody is known.
    """
    if given:
        return given
    command = ['git', 'config', 'user.name']
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(NAMES_HELP) from error
    if not found:
        raise ConfigError(NAMES_HELP)
    return found
