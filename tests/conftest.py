"""Shared by all tests: real data where it is at hand, and quiet, small, repeatable runs."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
import torch
from fake_hub import Hub, running_hub
from filelock import FileLock

import mmhrnet  # noqa: F401 (first, so that its bridges stand before any host is imported)
from mmhrnet.files import write_text

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / 'shared' / 'data'


if 'PYTEST_XDIST_WORKER' in os.environ:
    torch.set_num_threads(1)  # processes that share two cores


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--figures', help='JSON file that takes what the tests measured')


@pytest.fixture(scope='session')
def figure(request: pytest.FixtureRequest) -> Iterator[Callable[[str, Any], None]]:
    """Keeps a measured figure by its name; ``--figures FILE`` adds them to a file."""
    figures: dict[str, Any] = {}
    yield figures.__setitem__
    path = request.config.getoption('--figures')
    if path and figures:
        known = json.loads(Path(path).read_text()) if Path(path).is_file() else {}
        write_text(path, json.dumps(known | figures, indent=1))


@pytest.fixture(scope='session')
def root() -> Path:
    return ROOT


@pytest.fixture(scope='session')
def coco_mini() -> Path:
    path = REAL_DATA / 'coco_mini'
    if not path.is_dir():
        pytest.skip('the real COCO images are not beside this checkout')
    return path


@pytest.fixture(autouse=True)
def _repeatable(request: pytest.FixtureRequest) -> None:
    torch.manual_seed(sum(map(ord, request.node.name)))


@pytest.fixture(scope='session', autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ['MMHRNET_CACHE'] = str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(autouse=True)
def _nothing_global_left() -> object:
    """MMEngine keeps scope, loggers with their files, and visualizers for the life of a process.

    mmhrnet keeps which servers did not answer.
    """
    from mmengine.logging import MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    from mmhrnet.checkpoints import fetching

    scopes = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(scopes)
    fetching.SILENT.clear()
    MMLogger._instance_dict.clear()
    visualizers = [Visualizer]
    for visualizer in visualizers:
        visualizer._instance_dict.clear()
        visualizers += visualizer.__subclasses__()


def randomize(model: torch.nn.Module) -> torch.nn.Module:
    """Realistic statistics and scales, so that nothing hides behind zeros and ones."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
    return model


MINI = {  # small configs of the four hosts, that --mini takes
    'mmdet': 'mmdet/mask-rcnn_hrnetv2p-w18-1x_coco',
    'mmpose': 'mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192',
    'mmseg': 'mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024',
    'mmpretrain': 'mmpretrain/hrnet-w18-small-v1_4xb64_in1k',
}


class Untrained(NamedTuple):
    """What a training with ``--mini`` leaves: its config, and a checkpoint, of random weights."""

    config: Path
    checkpoint: Path


@pytest.fixture(scope='session')
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Untrained]:
    folder = tmp_path_factory.mktemp('untrained')

    @cache
    def make(config: str, mini: bool = True) -> Untrained:
        """Of a host's name or a config file."""
        from mmengine.registry import DATASETS, MODELS, DefaultScope

        from mmhrnet import apis, checkpoints

        file = f'configs/{MINI[config]}.py' if config in MINI else config
        cfg = apis.make_config(ROOT / file, mini=mini, from_scratch=not mini)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = randomize(MODELS.build(cfg.model))
            dataset = dict(cfg.test_dataloader.dataset, lazy_init=not mini)
            meta = DATASETS.build(dataset).metainfo
        path = folder / str(mini) / f'{Path(file).stem}.pth'
        path.parent.mkdir(exist_ok=True)
        cfg.dump(path.with_suffix('.py'))
        run = f'{Path(file).stem}_20260101_000000'
        info = {'cfg': cfg.pretty_text, 'experiment_name': run, 'dataset_meta': meta}
        checkpoints.save({'state_dict': model.state_dict(), 'meta': info}, path)
        return Untrained(path.with_suffix('.py'), path)

    return make


@pytest.fixture(scope='session')
def whole_files(untrained: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole model of each host that has them, as an ONNX file."""
    from mmhrnet.deploy.from_config import export_config

    base = tmp_path_factory.getbasetemp()
    several = 'PYTEST_XDIST_WORKER' in os.environ
    folder = (base.parent if several else base) / 'whole'  # processes share what takes 40 s
    folder.mkdir(exist_ok=True)
    files = {host: folder / f'{host}.onnx' for host in ('mmpose', 'mmseg', 'mmpretrain')}
    with FileLock(folder / 'lock'):
        for host, out in files.items():
            if not out.exists():
                export_config(None, untrained(host).checkpoint, format='onnx', out=out)
    return files


SEGMENTOR = 'configs/mmseg/fcn_hr18sv1_4xb3-120k_cityscapes-512x1024.py'
SEGMENTORS: dict[str, dict[str, Any]] = {  # settings over this config
    'aligned': {
        'model.backbone.align_corners': True,
        'model.neck.align_corners': True,
        'model.decode_head.align_corners': True,
    },
    'sliding': {
        'model.test_cfg': dict(mode='slide', crop_size=(80, 96), stride=(48, 56)),
        'test_dataloader.dataset.pipeline': [
            dict(type='LoadImageFromFile'),
            dict(type='ResizeToMultiple', size_divisor=16),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    },
}


class Segmentor(NamedTuple):
    """A whole model of a segmentor, as an ONNX file, and what to set to get the host's own."""

    file: Path
    config: Path
    checkpoint: Path
    cfg_options: dict[str, Any]


@pytest.fixture(scope='session')
def segmentors(
    untrained: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Segmentor]:
    """Makes those of ``SEGMENTORS``."""
    from mmhrnet.deploy.from_config import export_config

    folder = tmp_path_factory.mktemp('segmentors')

    @cache
    def make(kind: str) -> Segmentor:
        model, out, options = untrained(SEGMENTOR), folder / f'{kind}.onnx', SEGMENTORS[kind]
        how = dict(format='onnx', out=out, shape=(64, 96), cfg_options=dict(options))
        export_config(None, model.checkpoint, **how)
        return Segmentor(out, *model, options)

    return make


@pytest.fixture
def run_tool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a script of ``tools/`` in this process."""

    def run(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, arguments)])
        runpy.run_path(str(ROOT / f'tools/{name}.py'), run_name='__main__')

    return run


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the test's folder; torch downloads into a part of it."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hugging Face Hub on this machine, and an empty cache of torch."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    with running_hub(tmp_path / 'hf', monkeypatch) as server:
        yield server


@pytest.fixture(scope='session')
def scene() -> Path:
    """An image of the embedded data set."""
    from mmhrnet.datasets import mini_root

    return mini_root() / 'val2017' / '000000000003.jpg'


@pytest.fixture(scope='session')
def randomized() -> object:
    return randomize
