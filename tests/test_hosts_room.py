"""A host library is one object: a fifth one is added by one file and does all that ours do."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from test_doctor import distribution

from mmhrnet import hosts
from mmhrnet.errors import ConfigError

TESTS = Path(__file__).resolve().parent
CONFIG = """
default_scope = 'toyhost'
model = dict(
    type='ToyClassifier',
    data_preprocessor=dict(type='ImgDataPreprocessor', mean=[128] * 3, std=[64] * 3),
    backbone=dict(type='mmhrnet.HRNet', arch='w18_small_v1'),
    head=dict(type='ToyHead', in_channels=16, num_classes=1000),
)
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(256, 256)), dict(type='PackToy')
]
dataset = dict(type='ToyImages', data_root='data/toys', ann_file='all.txt', pipeline=pipeline)
train_dataloader = dict(batch_size=64, num_workers=2, dataset=dataset)
val_dataloader = test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    dataset=dataset,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = test_evaluator = dict(type='ToyAccuracy')
val_cfg = test_cfg = dict()
default_hooks = dict(logger=dict(type='LoggerHook'), checkpoint=dict(type='CheckpointHook'))
"""
SCRIPT = """
import json
from pathlib import Path

from mmhrnet.apis import load_config, train
from mmhrnet.benchmark import benchmark
from mmhrnet.doctor import install_command
from mmhrnet.inference.demo import demo
from mmhrnet.datasets import mini_root
from mmhrnet.zoo.complexity import count_config

train('toy.py', work_dir='run', mini=True)
(best,) = Path('run').glob('best_*.pth')
image = mini_root() / 'val2017' / '000000000003.jpg'
(picture,) = demo(image, 'run/toy.py', best, out_dir='demo')
small = dict(arch='w18_small_v1', rounds=1, forms=['eager', 'deploy'], device='cpu')
rows = benchmark('toy', out='speed', **small)
found = dict(
    best=best.name,
    picture=str(picture),
    benchmark={row.name: row.difference for row in rows},
    counts=count_config(load_config('toy.py')),
    install=install_command(['toyhost']),
)
Path('found.json').write_text(json.dumps(found))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the host library, and beside it the package that tells mmhrnet of it."""
    shutil.copytree(TESTS / 'toyhost', tmp_path / 'toyhost')
    shutil.copy(TESTS / 'toyhost_plugin.py', tmp_path)
    for name in ('toyhost', 'toyhost_plugin'):
        distribution(tmp_path, name, '1.0', name)
    entry = '[mmhrnet.hosts]\ntoyhost = toyhost_plugin:HOST\n'
    (tmp_path / 'toyhost_plugin-1.0.dist-info/entry_points.txt').write_text(entry)
    (tmp_path / 'toy.py').write_text(CONFIG)
    return tmp_path


def test_a_fifth_host_is_one_file(installed: Path) -> None:
    paths = os.pathsep.join([str(installed), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT],
        cwd=installed,
        env={**os.environ, 'PYTHONPATH': paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((installed / 'found.json').read_text())
    assert found['best'].startswith('best_toy_accuracy_iter_')
    assert 'toy/accuracy' in done.stdout  # in the table beside the published figures
    assert len(list((installed / 'run').rglob('0*.png'))) == 6  # truth and prediction
    prediction = json.loads((installed / found['picture']).with_suffix('.json').read_text())
    assert prediction['found'][0]['class'] in ('meadow', 'beach', 'desert', 'room')
    assert list(found['benchmark']) == ['toyhost eager', 'mmhrnet eager', 'mmhrnet deploy']
    assert max(found['benchmark'].values()) < 1e-5
    params, macs = found['counts']
    assert params == expected_parameters()  # under the host's defaults: one map is put out
    assert macs > 1e7
    assert found['install'] == 'pip install toyhost'


def expected_parameters() -> int:
    from mmhrnet import HRNet

    backbone = HRNet('w18_small_v1', multiscale_output=False)
    return sum(p.numel() for p in backbone.parameters()) + 16 * 1000 + 1000


def test_a_config_of_no_host_is_said() -> None:
    assert hosts.host_of(Config(dict(default_scope='mmseg'))) is hosts.OURS['mmseg']
    for cfg in (Config(dict(default_scope='mmyolo')), Config()):
        assert hosts.find_host(cfg) is None
        with pytest.raises(ConfigError, match='not a known host library: set default_scope to one'):
            hosts.host_of(cfg)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Hosts that are looked for anew, and after the test again."""
    hosts.known_hosts.cache_clear()
    yield
    hosts.known_hosts.cache_clear()


@pytest.mark.parametrize(
    ('value', 'reason'),
    [('no_such_module:HOST', 'No module named'), ('json:dumps', 'not a Host of this name')],
)
def test_a_host_that_cannot_be_loaded_is_left_out(
    value: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: Any, fresh: None
) -> None:
    entry = EntryPoint('mmyolo', value, hosts.GROUP)
    monkeypatch.setattr(hosts, '_entries', lambda: (entry,))
    with caplog.at_level(logging.WARNING):
        assert list(hosts.known_hosts()) == list(hosts.OURS)
    assert f'The host mmyolo ({value}) cannot be used: ' in caplog.text
    assert reason in caplog.text
    assert hosts.host_names() == (*hosts.OURS, 'mmyolo')
