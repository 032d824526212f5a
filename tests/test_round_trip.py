"""Every shipped config trains, saves, is tested from its file, and resumes exactly.

With its own pipelines, heads, schedule, optimizer and hooks: only the images are smaller, and the
networks have one unit where theirs have many. The run is ended as a cluster ends it, by SIGTERM.
"""

from __future__ import annotations

import copy
import io
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import steps
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, METRICS, OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from test_hooks import At, config, flat, interrupted, last, run, state, terminate
from torch import nn

from mmhrnet import checkpoints
from mmhrnet.config.load import load_config
from mmhrnet.config.weights import check_complete
from mmhrnet.models.archs import ARCHS
from mmhrnet.training.hooks import AtomicCheckpointHook
from mmhrnet.training.run import use_hooks
from mmhrnet.walk import dicts

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('mm*/*.py'))
OF_THE_TRAINING = (
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'default_hooks',
    'custom_hooks',
    'auto_scale_lr',
)
HALF, WHOLE = 2, 3  # iterations
IMAGES = 1  # to be evaluated


@pytest.fixture(autouse=True)
def _without_pretty_printing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds for each run: yapf formats the config for the log and for each checkpoint."""
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **_: (text, True))


SAMPLES: dict[str, dict[str, Any]] = {}  # outside of configs, which are printed and copied
METAINFOS: dict[str, dict[str, Any]] = {}


@DATASETS.register_module(force=True)
class DrawnScenes:
    """One drawn image, again and again, through the pipeline of a config."""

    def __init__(self, name: str, pipeline: list, length: int) -> None:
        self.sample, self.metainfo = SAMPLES[name], METAINFOS[name]
        self.pipeline, self.length = Compose(pipeline), length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.pipeline(copy.deepcopy(self.sample))

    def get_data_info(self, index: int) -> dict[str, Any]:
        return self.sample

    def full_init(self) -> None:
        """For what wraps it: there is nothing to read."""


@METRICS.register_module(force=True)
class Seen:
    def __init__(self) -> None:
        self.count = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.count += len(data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        return {'seen': self.count}


@pytest.fixture
def _shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One module of one unit in each stage, of the published widths: all heads still fit."""
    for name, stages in ARCHS.items():
        shallow = [s._replace(modules=1, blocks=(1,) * len(s.blocks)) for s in stages]
        monkeypatch.setitem(ARCHS, name, tuple(shallow))


def prepare(path: Path, folder: Path) -> Config:
    """The config as shipped, on drawn images."""
    cfg = load_config(path)
    before = {key: copy.deepcopy(cfg.get(key)) for key in OF_THE_TRAINING}
    steps.prepare(cfg)
    _shrink_codec(cfg)
    for part in dicts(cfg.model):
        if 'fc_out_channels' in part:
            part.fc_out_channels = 16  # of 13 million weights, which would be written and read
        if part.get('type') == 'FCNMaskHead':
            part.conv_out_channels = 16
        if 'max_per_img' in part:
            part.max_per_img = 8  # whose masks take most of the time
    SAMPLES[path.stem], METAINFOS[path.stem] = steps.raw_sample(cfg, folder), metainfo(cfg)
    for name, length in (('train', 64), ('val', IMAGES), ('test', IMAGES)):
        _draw(path.stem, cfg[f'{name}_dataloader'], length)
    cfg.train_dataloader.batch_size = 2
    cfg.val_evaluator = cfg.test_evaluator = dict(type='Evaluator', metrics=dict(type='Seen'))
    cfg.merge_from_dict({'randomness': dict(seed=0), 'log_level': 'WARNING'})
    assert {key: cfg.get(key) for key in OF_THE_TRAINING} == before
    use_hooks(cfg)
    return cfg


def _shrink_codec(cfg: Config) -> None:
    """Heatmaps; the deformable convolutions of DEKR take a minute a step at 512x512."""
    if 'codec' not in cfg or cfg.codec.type not in ('MSRAHeatmap', 'SPR'):
        return
    for part in dicts({name: part for name, part in cfg.items() if name != 'custom_hooks'}):
        for key in {'input_size', 'heatmap_size'} & part.keys():
            part[key] = tuple(size // 4 for size in part[key])


def metainfo(cfg: Config) -> dict[str, Any]:
    host = import_module(f'{cfg.default_scope}.registry').DATASETS
    found = copy.deepcopy(host.get(steps.unwrapped(cfg.train_dataloader).type).METAINFO)
    if cfg.default_scope != 'mmpose':
        return found
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    return parse_pose_metainfo(found)


def _draw(name: str, loader: Any, length: int) -> None:
    pipeline = steps.unwrapped(loader).pipeline
    drawn = dict(type='DrawnScenes', name=name, pipeline=pipeline, length=length)
    mixes = loader.dataset.type == 'MultiImageMixDataset'
    loader.dataset = dict(loader.dataset, _scope_='mmdet', dataset=drawn) if mixes else drawn
    loader.update(num_workers=0, persistent_workers=False, batch_size=1)


def train(cfg: Config, work_dir: Path, resume: bool = False) -> dict[str, Any]:
    """The checkpoint that SIGTERM leaves at the end; another one is written half way."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({'work_dir': str(work_dir), 'experiment_name': f'{work_dir}{resume}'})
    cfg.resume = resume
    runner = Runner.from_cfg(cfg)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook))
    runner.register_hook(
        At('after_train_iter', HALF - 1, lambda: hook.save_now(runner, runner.epoch, HALF))
    )
    runner.register_hook(At('before_train_iter', WHOLE - 1, terminate))
    with pytest.raises(SystemExit):
        runner.train()
    return last(work_dir)


def ends_like_an_uninterrupted_run(cfg: Config, tmp_path: Path) -> Path:
    """Trains whole and in two parts; returns the checkpoint between these."""
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    uninterrupted = train(cfg, whole)
    (half,) = whole.glob(f'*_{HALF}.pth')
    parts.mkdir()
    shutil.copy(half, parts)
    assert not differences(train(cfg, parts, resume=True), uninterrupted)
    return half


def config_param(path: Path) -> object:
    """Those of SSLD differ from others in the weights alone, which are random here."""
    marks = [pytest.mark.slow] if 'ssld' in path.stem else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.usefixtures('_shallow')
@pytest.mark.parametrize('path', map(config_param, CONFIGS))
def test_every_config_trains_saves_is_tested_and_resumes(path: Path, tmp_path: Path) -> None:
    cfg = prepare(path, tmp_path)
    half = ends_like_an_uninterrupted_run(cfg, tmp_path)
    evaluate(cfg, half, tmp_path / 'test')


def differences(got: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of what differs, but for the time left; values would be megabytes of a message."""
    a, b = state(got), state(wanted)
    found = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return [name for name in found if name != '/message_hub/runtime_info/eta']


def evaluate(cfg: Config, file: Path, work_dir: Path) -> None:
    """As ``tools/test.py`` does with a file of the run."""
    cfg = copy.deepcopy(cfg)
    cfg.load_from = str(file)
    cfg.merge_from_dict({'work_dir': str(work_dir), 'experiment_name': str(work_dir)})
    runner = Runner.from_cfg(cfg)
    check_complete(runner.model, cfg.load_from)
    assert runner.test() == {'seen': IMAGES}
    content = checkpoints.load(file)
    assert content['meta']['iter'] == HALF
    saved = content['state_dict']
    assert all(torch.equal(saved[name], t) for name, t in runner.model.state_dict().items())


ARGUMENTS: dict[str, dict[str, Any]] = {
    'Constant': dict(factor=0.5, end=9),
    'CosineAnnealing': dict(T_max=9),
    'CosineRestart': dict(periods=[4, 5], restart_weights=[1, 0.5], eta_min=0.0),
    'Exponential': dict(gamma=0.9),
    'Linear': dict(start_factor=0.1, end=9),
    'MultiStep': dict(milestones=[3, 3, 8], gamma=0.5),
    'OneCycle': dict(eta_max=0.2, total_steps=9),
    'Poly': dict(power=0.9, end=9),
    'ReduceOnPlateau': dict(monitor='acc', patience=0, rule='greater'),
    'Step': dict(step_size=2),
}
SCHEDULERS = [
    *((name, {}) for name in PARAM_SCHEDULERS.module_dict if name.endswith(('LR', 'Momentum'))),
    ('OneCycleLR', dict(anneal_strategy='linear')),
]


def resumed_exactly(tmp_path: Path, **changes: Any) -> None:
    changes = {'train_cfg.max_iters': 9, 'train_cfg.val_interval': 3, **changes}
    run(config(tmp_path / 'whole', **changes))
    interrupted(config(tmp_path / 'parts', **changes))
    run(config(tmp_path / 'parts', resume=True, **changes))
    assert not differences(last(tmp_path / 'parts'), last(tmp_path / 'whole'))


@pytest.mark.parametrize(('name', 'more'), SCHEDULERS)
def test_every_scheduler_resumes_exactly(name: str, more: dict, tmp_path: Path) -> None:
    arguments = ARGUMENTS[name.removesuffix('LR').removesuffix('Momentum')]
    scheduler = dict(type=name, by_epoch=name.startswith('ReduceOnPlateau')) | arguments | more
    resumed_exactly(tmp_path, param_scheduler=[scheduler])


# Not of dense parameters of any shape in one step: tested by their states alone, below.
NOT_STEPPED = {'LBFGS', 'Muon', 'Optimizer', 'SparseAdam', 'ZeroRedundancyOptimizer'}


@pytest.mark.parametrize('name', sorted(set(OPTIMIZERS.module_dict) - NOT_STEPPED))
def test_every_optimizer_resumes_exactly(name: str, tmp_path: Path) -> None:
    resumed_exactly(tmp_path, **{'optim_wrapper.optimizer': dict(type=name, lr=0.01)})


OPTIMIZER_NAMES = [
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and kind is not torch.optim.Optimizer
]


@pytest.mark.parametrize('name', OPTIMIZER_NAMES)
def test_the_state_of_every_optimizer_comes_back(name: str) -> None:
    sparse = name == 'SparseAdam'
    model = nn.Embedding(4, 3, sparse=sparse)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.tensor([1, 2])).square().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    saved, file = optimizer.state_dict(), io.BytesIO()
    torch.save({'optimizer': saved}, file)
    file.seek(0)
    loaded = checkpoints.load(file)['optimizer']
    assert dict(flat(loaded)) == dict(flat(saved))
    optimizer.load_state_dict(loaded)
    optimizer.step(closure)


@pytest.mark.parametrize(
    'changes',
    [
        {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]},
        {'custom_hooks': [dict(type='EMAHook', ema_type='ExponentialMovingAverage')]},
        {
            'custom_hooks': [
                dict(type='EMAHook', ema_type='MomentumAnnealingEMA', update_buffers=True)
            ]
        },
        {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='acc', patience=50)]},
        {'optim_wrapper.accumulative_counts': 3},
        {'optim_wrapper.clip_grad': dict(max_norm=1.0)},
        {
            'optim_wrapper.optimizer.weight_decay': 0.1,
            'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0),
        },
    ],
    ids=['ema', 'exponential', 'annealing', 'early stopping', 'accumulated', 'clipped', 'groups'],
)
def test_hooks_and_wrappers_resume_exactly(changes: dict[str, Any], tmp_path: Path) -> None:
    resumed_exactly(tmp_path, **changes)


def test_the_scaler_of_mixed_precision_comes_back() -> None:
    scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    scaler.scale(torch.ones(1))
    file = io.BytesIO()
    torch.save({'optimizer': {'loss_scaler': scaler.state_dict()}}, file)
    file.seek(0)
    loaded = checkpoints.load(file)['optimizer']['loss_scaler']
    assert loaded == scaler.state_dict()
    torch.amp.GradScaler('cpu').load_state_dict(loaded)
