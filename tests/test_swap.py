"""Host configs on mmhrnet without an edit: every HRNet config of the hosts, before and after."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from torch import nn

import mmhrnet
from mmhrnet import apis
from mmhrnet.config.build import build_tensor_model
from mmhrnet.config.swap import replace
from mmhrnet.models.archs import as_extra
from mmhrnet.walk import dicts

ROOT = Path(__file__).resolve().parents[1]
OURS = {'HRNet': 'HRNet', 'HRFPN': 'HRNetV2p', 'HRFuseScales': 'HRNetC'}
MENTION = re.compile(rf'\b({"|".join(OURS)})\b')
FLOORS = {'mmdet': 29, 'mmpose': 87, 'mmseg': 66, 'mmpretrain': 7}  # in the pinned hosts
EXTRA = as_extra('w18_small_v1')


def configs_of(host: str) -> Path:
    spec = find_spec(host)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / '.mim/configs'


@cache
def mentions_hrnet(path: Path) -> bool:
    """Whether a config, or one that it inherits from, has a part to swap."""
    if not path.is_file():  # some configs of the hosts inherit from one that is missing
        return False
    text = path.read_text(encoding='utf-8')
    parents = ((path.parent / base).resolve() for base in bases(text))
    return bool(MENTION.search(text)) or any(map(mentions_hrnet, parents))


def bases(text: str) -> Iterator[str]:
    for line in ast.parse(text).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == '_base_':
            value = ast.literal_eval(line.value)
            yield from [value] if isinstance(value, str) else value


@cache
def configs(host: str) -> dict[str, Config]:
    """The configs of a host that use its HRNet, by their path."""
    root = configs_of(host)
    paths = [p for p in root.rglob('*.py') if '_base_' not in p.parts and mentions_hrnet(p)]
    read = {str(p.relative_to(root)): Config.fromfile(p) for p in sorted(paths)}
    return {name: cfg for name, cfg in read.items() if any(d.type in OURS for d in typed(cfg))}


def typed(cfg: Config) -> list[ConfigDict]:
    return [d for d in dicts(cfg.get('model')) if isinstance(d.get('type'), str)]


def distinct(host: str, *keys: str) -> list[Config]:
    """One config for each distinct model, or for each distinct choice of parts of it."""
    parts = {
        repr([cfg.model.get(key) for key in keys] if keys else cfg.model): cfg
        for cfg in configs(host).values()
    }
    return [deepcopy(cfg) for cfg in parts.values()]


def build(cfg: Any, scope: str) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope), torch.device('meta'):
        return MODELS.build(deepcopy(cfg))


def facts(model: nn.Module) -> dict[str, Any]:
    """The keys, shapes and types of all tensors, what trains, and how HRNet is set."""
    found: dict[str, Any] = {
        name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()
    }
    found['frozen'] = [name for name, p in model.named_parameters() if not p.requires_grad]
    for module in model.modules():
        if type(module).__name__ == 'HRNet':
            for name in ('init_cfg', 'norm_eval', 'zero_init_residual'):
                found[name] = getattr(module, name)
    return found


def random_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights with realistic statistics and scales, for a model without storage."""
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tensor.shape
        if not tensor.is_floating_point():
            state[name] = torch.zeros(shape, dtype=tensor.dtype)
        elif tensor.ndim > 1:
            state[name] = torch.randn(shape) / shape[1:].numel() ** 0.5
        else:
            state[name] = 0.5 + torch.rand(shape)
    return state


def assert_bit_equal(theirs: nn.Module, ours: nn.Module, size: tuple[int, int] = (64, 96)) -> None:
    state = random_state(theirs)
    for model in (theirs, ours):
        model.load_state_dict(state, assign=True)
        model.eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected, found = theirs(image), ours(image)
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


def swapped(cfg: Any) -> Any:
    other = deepcopy(cfg)
    assert mmhrnet.swap(other) is other
    return other


@pytest.mark.parametrize('host', FLOORS)
def test_every_config_is_swapped_and_nothing_else_in_it_changes(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(configs(host)) >= FLOORS[host]
    for cfg in configs(host).values():
        expected = deepcopy(cfg)
        replaced = [d for d in typed(expected) if d.type in OURS]
        for part in replaced:
            if part.type == 'HRFuseScales':
                part.init_cfg = dict(type='Normal', layer='Linear', std=0.01)  # its default
            part.type = f'mmhrnet.{OURS[part.type]}'
        assert swapped(cfg).to_dict() == expected.to_dict()
        said = capsys.readouterr().err.splitlines()
        assert len(said) == len(replaced)
        assert 'model.backbone: HRNet -> mmhrnet.HRNet' in said


def parts(cfg: Config) -> nn.Sequential:
    """Backbone and neck, if they can be swapped or have been."""
    neck = cfg.model.get('neck')
    chain = [cfg.model.backbone, *(neck if isinstance(neck, list) else [neck] if neck else [])]
    known = {*OURS, *OURS.values()}
    chain = [part for part in chain if part.type.removeprefix('mmhrnet.') in known]
    return nn.Sequential(*(build(part, cfg.default_scope) for part in chain))


@pytest.mark.parametrize('host', FLOORS)
def test_backbones_and_necks_have_the_keys_and_settings_of_the_host(host: str) -> None:
    init_default_scope(host)
    for cfg in distinct(host, 'backbone', 'neck'):
        assert facts(parts(swapped(cfg))) == facts(parts(cfg))


@pytest.mark.slow
@pytest.mark.parametrize('host', FLOORS)
def test_whole_models_have_the_keys_and_settings_of_the_host(host: str) -> None:
    init_default_scope(host)
    for cfg in distinct(host):
        theirs, ours = build(cfg.model, host), build(swapped(cfg).model, host)
        assert any(type(m) is mmhrnet.HRNet for m in ours.modules())
        assert facts(ours) == facts(theirs)


@pytest.mark.slow
@pytest.mark.parametrize('host', FLOORS)
def test_backbones_and_necks_are_bit_equal(host: str) -> None:
    init_default_scope(host)
    for cfg in distinct(host, 'backbone', 'neck'):
        assert_bit_equal(parts(cfg), parts(swapped(cfg)))


WHOLE = [
    ('mmdet', 'hrnet/faster-rcnn_hrnetv2p-w18-1x_coco.py'),
    (
        'mmpose',
        'body_2d_keypoint/associative_embedding/coco/ae_hrnet-w32_8xb24-300e_coco-512x512.py',
    ),
    (
        'mmpose',
        'wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/'
        'td-hm_hrnet-w32_8xb64-210e_coco-wholebody-256x192.py',
    ),
    ('mmpose', 'face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py'),
    ('mmseg', 'hrnet/fcn_hr18s_4xb4-20k_voc12aug-512x512.py'),
    ('mmpretrain', 'hrnet/hrnet-w18_4xb32_in1k.py'),
]


@pytest.mark.parametrize(('host', 'name'), WHOLE, ids=[Path(name).stem for _, name in WHOLE])
def test_whole_models_are_bit_equal(host: str, name: str) -> None:
    cfg = configs(host)[name]
    with torch.device('meta'):
        theirs = build_tensor_model(deepcopy(cfg))
        ours = build_tensor_model(swapped(cfg))
    assert_bit_equal(theirs, ours)


@pytest.mark.parametrize('host', FLOORS)
def test_random_weights_start_bit_equal(host: str) -> None:
    """A training from scratch begins where the host's does."""
    cfg = dict(type='HRNet', extra=EXTRA)
    states = []
    for part in (cfg, swapped(cfg)):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(host):
            model = MODELS.build(deepcopy(part))
        model.init_weights()
        states.append(model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(t, states[1][name]) for name, t in states[0].items())


PREFIXES = [('name', library, scope) for library in FLOORS for scope in FLOORS]
PREFIXES += [(kind, library, 'mmpose') for library in FLOORS for kind in ('path', 'class')]


@pytest.mark.parametrize(('kind', 'library', 'scope'), PREFIXES)
def test_a_prefix_keeps_the_defaults_of_its_library(kind: str, library: str, scope: str) -> None:
    path = f'{library}.models.backbones.hrnet'
    types = {'name': f'{library}.HRNet', 'path': f'{path}.HRNet'}
    kind = types.get(kind) or import_module(path).HRNet
    init_default_scope(scope)
    cfg = dict(default_scope=scope, model=dict(backbone=dict(type=kind, extra=EXTRA)))
    models = [build(c['model']['backbone'], scope) for c in (cfg, swapped(cfg))]
    assert facts(models[1]) == facts(models[0])
    assert_bit_equal(*models)


HRNET = dict(type='HRNet', extra=EXTRA)
HRFPN = dict(type='HRFPN', in_channels=[16, 32, 64, 128], out_channels=8)
FUSE = dict(type='HRFuseScales', in_channels=(16, 32, 64, 128))


def test_parts_are_found_wherever_they_are() -> None:
    teacher = dict(_scope_='mmdet', type='FasterRCNN', backbone=HRNET, neck=HRFPN)
    models = [dict(backbone=HRNET), (dict(backbone=HRNET),)]
    model = dict(models=models, teacher=teacher, other=dict(type='mmyolo.HRNet'))
    cfg = Config(dict(default_scope='mmpose', model=model))
    assert replace(cfg) == [
        'model.models.0.backbone: HRNet -> mmhrnet.HRNet',
        'model.models.1.0.backbone: HRNet -> mmhrnet.HRNet',
        'model.teacher.backbone: HRNet -> mmhrnet.HRNet',
        'model.teacher.neck: HRFPN -> mmhrnet.HRNetV2p',
        'model.other: HRNet of mmyolo stays',
    ]
    expected = dict(HRNET, type='mmhrnet.HRNet')  # the scope that builds it has its defaults
    assert cfg.model.models[0].backbone == cfg.model.teacher.backbone == expected


NEW_STYLE = """
from mmdet.models import HRFPN, HRNet

default_scope = None
model = dict(backbone=dict(type=HRNet, extra=EXTRA), neck=dict(type=HRFPN))
""".replace('EXTRA', repr(EXTRA))


def test_new_style_configs_are_swapped(tmp_path: Path) -> None:
    (tmp_path / 'config.py').write_text(NEW_STYLE)
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert replace(cfg) == [
        'model.backbone: HRNet -> mmhrnet.HRNet',
        'model.neck: HRFPN -> mmhrnet.HRNetV2p',
    ]
    model = import_module('mmdet.registry').MODELS.build(cfg.model.backbone)
    assert type(model) is mmhrnet.HRNet
    assert model.norm_eval
    cfg.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.model.backbone.type == 'mmhrnet.HRNet'
    assert replace(again) == ['Nothing to swap: the config uses mmhrnet already']


def test_arguments_that_the_host_ignores_stay_without_effect() -> None:
    neck = dict(HRFPN, norm_cfg=dict(type='BN'))
    assert facts(build(swapped(neck), 'mmdet')) == facts(build(neck, 'mmdet'))
    extra = dict(EXTRA, upsample=dict(mode='bilinear', align_corners=False))
    extra['stage4'] = dict(EXTRA['stage4'], multiscale_output=False)
    for library in FLOORS:
        init_default_scope(library)
        cfg = dict(default_scope=library, model=dict(type='HRNet', extra=extra))
        models = [build(c['model'], library) for c in (cfg, swapped(cfg))]
        assert facts(models[1]) == facts(models[0])
        assert_bit_equal(*models)


def test_weights_of_a_file_take_the_place_of_a_random_start() -> None:
    init_default_scope('mmpose')
    backbone = dict(type='mmdet.HRNet', extra=EXTRA, pretrained='weights.pth')
    cfg = swapped(dict(default_scope='mmpose', backbone=backbone))
    expected = dict(type='Pretrained', checkpoint='weights.pth')
    assert build(cfg['backbone'], 'mmpose').init_cfg == expected


def test_a_neck_whose_norms_would_change_stays_the_host_s() -> None:
    norm_cfg = dict(type='GN', num_groups=4)
    cfg = dict(backbone=dict(HRNET), neck=dict(FUSE, norm_cfg=norm_cfg))
    assert replace(cfg) == [
        'backbone: HRNet -> mmhrnet.HRNet',
        'neck: HRFuseScales stays: its bottlenecks ignore its norm_cfg, those of '
        'mmhrnet.HRNetC would not',
    ]
    assert cfg['neck'] == dict(FUSE, norm_cfg=norm_cfg)
    same = swapped(dict(FUSE, norm_cfg=dict(type='BN', momentum=0.1)))
    assert facts(build(same, 'mmpretrain')) == facts(build(FUSE, 'mmpretrain'))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(model=dict(type='ResNet')), 'Nothing to swap: no HRNet, HRFPN or HRFuseScales of mm'),
        (
            dict(default_scope='mmyolo', model=dict(type='HRNet')),
            r'is in the config \(model: HRNet of mmyolo stays\)',
        ),
        ('config.py', r"swap takes a config, not 'config.py': read it first"),
        (
            dict(type='mmdet.HRNet', extra=dict(upsample=1)),
            "extra\\['upsample'\\]=1 must be a dict",
        ),
    ],
)
def test_what_cannot_be_swapped_is_named(cfg: Any, message: str) -> None:
    with pytest.raises(apis.ConfigError, match=message):
        mmhrnet.swap(cfg)


def test_tools_swap(
    tmp_path: Path, run_tool: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = configs_of('mmpretrain') / 'hrnet/hrnet-w18_4xb32_in1k.py'
    saved = tmp_path / 'swapped.py'
    run_tool('print_config', path, '--swap', '--save-path', saved)
    said = capsys.readouterr()
    assert 'model.neck.0: HRFuseScales -> mmhrnet.HRNetC' in said.err.splitlines()
    assert '->' not in said.out  # it is the config
    assert Config.fromfile(saved).model.backbone.type == 'mmhrnet.HRNet'
    run_tool('print_config', saved, '--swap')
    assert 'Nothing to swap: the config uses mmhrnet already' in capsys.readouterr().err


SMALL = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 2}


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmdet', 'mmseg', 'mmpretrain'])
def test_host_configs_train_and_what_they_leave_needs_no_flag(host: str, tmp_path: Path) -> None:
    path = configs_of(host) / next(name for h, name in WHOLE if h == host)
    run = tmp_path / 'run'
    apis.train(path, swap=True, mini=True, work_dir=str(run), cfg_options=SMALL)
    (best,) = run.glob('best_*.pth')
    cfg = Config.fromfile(run / path.name)
    assert cfg.model.backbone.type == 'mmhrnet.HRNet'
    assert apis.test(run / path.name, best, work_dir=str(tmp_path / 'test'))
