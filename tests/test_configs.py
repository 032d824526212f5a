"""Every config of the repository: resolves, costs what its metafile says, learns and predicts."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import steps
import torch
import yaml
from mmengine.config import Config

from mmhrnet.cli import main
from mmhrnet.config.build import build_tensor_model, input_size
from mmhrnet.config.check import pretrained
from mmhrnet.config.settings import COUNTS, Settings, settings_of
from mmhrnet.hub.published import (
    metafile_models,
    other_data,
    published_results,
)
from mmhrnet.models import ARCHS
from mmhrnet.walk import dicts
from mmhrnet.zoo.complexity import Complexity, count
from mmhrnet.zoo.weights import find_weights

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('mm*/*.py'))
# Wide ones, and those of SSLD, which differ from others in the weights alone.
WIDE = re.compile(r'w(40|44|48|64)|hr(40|48)|dekr|(htc|cascade).*w32|384x288|ssld')
every_config = pytest.mark.parametrize('path', CONFIGS, ids=[path.stem for path in CONFIGS])


def config_param(path: Path) -> object:
    marks = [pytest.mark.slow] if WIDE.search(path.stem) else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.fixture(scope='session')
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('drawn')


COUNTED: dict[str, Complexity] = {}


def counted(cfg: Config) -> Complexity:
    """Builds each network once: many configs differ in data and schedule only."""
    key = repr((cfg.default_scope, input_size(cfg), cfg.model.to_dict()))
    if key not in COUNTED:
        cfg = cfg.copy()
        said = settings_of(cfg)
        cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))  # as the runner
        with torch.device('meta'):
            model = build_tensor_model(cfg)
        check_settings(said, model.model)
        COUNTED[key] = count(model, (3, *input_size(cfg)))
    return COUNTED[key]


def check_settings(said: Settings, model: torch.nn.Module) -> None:
    """What a config says is what its modules use; test_settings.py has the normalization."""
    modules = [m for m in model.modules() if getattr(m, 'upsample', '') != 'nearest']
    aligned = {getattr(m, 'align_corners', None) for m in modules} - {None}
    assert aligned == {said.align_corners} - {None}
    heads = [m for m in modules if type(m).__name__.endswith('Head')]
    assert ', '.join(dict.fromkeys(type(head).__name__ for head in heads)) == said.head
    counts = {getattr(m, name, None) for m in modules for name in COUNTS}
    assert said.classes in counts
    assert said.flip_test == bool((getattr(model, 'test_cfg', None) or {}).get('flip_test'))
    assert not said.inplace_abn


@every_config
def test_resolves_the_same_when_inherited_and_counts_as_said(path: Path, tmp_path: Path) -> None:
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = {str(path)!r}\n')
    cfg = Config.fromfile(path)
    assert Config.fromfile(child).to_dict() == cfg.to_dict()
    assert not any('extra' in part for part in dicts(cfg.model))
    known = {weight.url for weight in find_weights()}
    assert {weight.url for weight in find_weights(pretrained(cfg.model))} <= known
    said = next(model for model in metafile_models() if model['Name'] == path.stem)['Metadata']
    complexity = counted(cfg)
    assert (said['Parameters'], said['FLOPs']) == (complexity.params, complexity.macs)


@pytest.mark.parametrize('path', [config_param(path) for path in CONFIGS])
def test_learns_and_predicts(path: Path, drawn: Path) -> None:
    cfg = Config.fromfile(path)
    steps.prepare(cfg)
    model = steps.build(cfg)
    for name, grad in steps.training_step(cfg, model, drawn).items():
        if 'rescore_net' in name:  # DEKR's is trained by nobody: it comes with its weights
            continue
        assert grad is not None, name
        assert grad.isfinite().all(), name
    (sample,) = steps.prediction_step(cfg, model, drawn)
    assert [key for key in sample.keys() if key.startswith('pred')]  # noqa: SIM118


@every_config
def test_head_states_the_recipe_and_the_figure(path: Path) -> None:
    head = [line for line in path.read_text().splitlines() if line.startswith('# ')]
    text = ' '.join(head)
    assert 'Recipe' in text
    assert 'Published' in text or 'o figure is published' in text or 'no published' in text


TODAY = [path for path in CONFIGS if re.search('ssld|adamw|lsj', path.stem)]
DETECTORS = [
    path
    for path in CONFIGS
    if path.parent.name == 'mmdet' and 'v2p' in path.stem and path not in TODAY
]


@pytest.mark.parametrize('path', DETECTORS, ids=[path.stem for path in DETECTORS])
def test_detectors_follow_the_recipe(path: Path) -> None:
    cfg = Config.fromfile(path)
    backbone, neck = cfg.model.backbone, cfg.model.neck
    assert backbone.norm_eval
    assert backbone.init_cfg.checkpoint.endswith(backbone.arch)
    assert tuple(neck.in_channels) == ARCHS[backbone.arch][-1].out_channels
    epochs = re.search(r'(\d+)e_|([12])x', path.stem)
    expected = int(epochs[1] or 12 * int(epochs[2])) if epochs else 12
    assert cfg.train_cfg.max_epochs == expected
    optimizer = cfg.optim_wrapper.optimizer
    lr = 0.01 if path.stem.startswith('fcos') else 0.02
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (lr, 0.9, 0.0001)


@pytest.mark.parametrize('path', TODAY, ids=[path.stem for path in TODAY])
def test_recipes_of_today_are_marked_and_differ_where_they_say(path: Path) -> None:
    assert 'a recipe of today' in path.read_text()
    model = next(model for model in metafile_models() if model['Name'] == path.stem)
    assert model['In Collection'] == 'HRNet, recipes of today'
    cfg = Config.fromfile(path)
    if 'ssld' in path.stem:
        assert f'hrnet-{cfg.model.backbone.arch}_3rdparty_8xb32-ssld' in str(
            cfg.model.backbone.init_cfg.checkpoint
        )
        base = Config.fromfile(str(path).replace('-ssld', '').replace('_ssld', ''))
        base.model.backbone.init_cfg = cfg.model.backbone.init_cfg
        assert base.model == cfg.model
        assert base.train_dataloader == cfg.train_dataloader
        assert base.optim_wrapper == cfg.optim_wrapper


@pytest.mark.parametrize('arch', ['w32', 'w48'])
@pytest.mark.parametrize(('size', 'sigma'), [('256x192', 2), ('384x288', 3)])
def test_pose_follows_the_recipe(arch: str, size: str, sigma: int) -> None:
    (path,) = (ROOT / 'configs/mmpose').glob(f'td-hm_hrnet-{arch}_4xb*-210e_coco-{size}.py')
    cfg = Config.fromfile(path)
    assert cfg.codec.sigma == sigma
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('Adam', 1e-3)
    assert cfg.param_scheduler[1].milestones == [170, 200]
    assert cfg.train_cfg.max_epochs == 210
    (augment,) = (s for s in cfg.train_pipeline if s.type == 'RandomBBoxTransform')
    assert (augment.rotate_factor, augment.scale_factor) == (45, (0.65, 1.35))
    assert cfg.train_dataloader.dataset.pipeline == cfg.train_pipeline
    assert cfg.auto_scale_lr.base_batch_size == 4 * cfg.train_dataloader.batch_size


@pytest.mark.parametrize('name', ['hr48', 'hr40', 'hr18s', 'hr18sv1'])
def test_cityscapes_follows_the_recipe(name: str) -> None:
    path = ROOT / f'configs/mmseg/fcn_{name}_4xb3-120k_cityscapes-512x1024.py'
    cfg = Config.fromfile(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 0.0005)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == 120_000
    assert cfg.param_scheduler[0].power == 0.9
    assert cfg.crop_size == cfg.model.data_preprocessor.size == (512, 1024)
    assert cfg.train_pipeline[2].ratio_range == (0.5, 2.0)
    assert cfg.train_dataloader.batch_size * 4 == cfg.auto_scale_lr.base_batch_size == 12
    assert cfg.model.backbone.upsample == 'bilinear'


@pytest.mark.parametrize('arch', ARCHS)
def test_imagenet_follows_the_recipe(arch: str) -> None:
    name = f'hrnet-{arch.replace("_", "-")}_4xb64_in1k.py'
    cfg = Config.fromfile(ROOT / 'configs/mmpretrain' / name)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.9, 1e-4)
    assert optimizer.nesterov
    assert cfg.param_scheduler.milestones == [30, 60, 90]
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.train_dataloader.batch_size * 4 == cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.model.backbone.arch == arch


def test_metafiles_list_every_config_once() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index['Import'] == [
        f'configs/{lib}/metafile.yml' for lib in ('mmdet', 'mmpose', 'mmseg', 'mmpretrain')
    ]
    models = metafile_models()
    assert sorted(ROOT / model['Config'] for model in models) == CONFIGS
    assert all(model['Name'] == Path(model['Config']).stem for model in models)


@pytest.mark.slow
def test_metafiles_repeat_what_the_configs_say() -> None:
    for model in metafile_models():
        cfg, meta = Config.fromfile(ROOT / model['Config']), model['Metadata']
        loops = 5 if model['Name'].startswith('centernet') else 1  # its RepeatDataset
        expected = meta.get('Epochs', meta.get('Iterations'))
        assert expected == cfg.train_cfg.get('max_iters', cfg.train_cfg.get('max_epochs')) * loops


def test_published_results() -> None:
    assert published_results('faster_rcnn_hrnetv2p_w32') == {'box AP': 40.2}
    assert published_results('no_such_config') == {}


def test_published_figures_belong_to_their_data() -> None:
    assert other_data('faster_rcnn_hrnetv2p_w32', 5000, same_data=True) == ''
    assert other_data('faster_rcnn_hrnetv2p_w32', 60, same_data=True).endswith(
        '60 images, not 5000)'
    )
    mpii = 'td-hm_hrnet-w32_4xb32-210e_mpii-256x256'  # of whose size sources disagree
    assert other_data(mpii, 2729, same_data=True) == ''
    assert other_data(mpii, 60, same_data=True) == 'other data (60 images)'  # the embedded set
    assert other_data('my_own', 7, same_data=True) == ''


def test_models_are_a_table_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['mmhrnet', 'models'])
    main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {name: ' '.join(facts) for name, *facts in filter(None, lines) if name[:2] == 'mm'}
    assert {*rows} == {f'{path.parent.name}/{path.stem}' for path in CONFIGS}
    assert rows['mmdet/faster_rcnn_hrnetv2p_w32'] == 'COCO 47.3 M 229.08 box AP 40.2'
