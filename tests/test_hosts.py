"""Beside the hosts' own HRNets: same keys, same numbers, same defaults by registry."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from mmhrnet import HRNet, HRNetV2
from mmhrnet.config.build import input_size, normalization
from mmhrnet.models.archs import as_extra

EXTRA = as_extra('w18_small_v2')
HOSTS = {
    'mmdet': 'mmdet.models.backbones.HRNet',
    'mmseg': 'mmseg.models.backbones.HRNet',
    'mmpose': 'mmpose.models.backbones.HRNet',
    'mmpretrain': 'mmpretrain.models.backbones.HRNet',
}


def host_class(path: str) -> type:
    module, _, name = path.rpartition('.')
    return getattr(import_module(module), name)


NEW_STYLE = """
from mmhrnet import HRNet

default_scope = None
model = dict(backbone=dict(type=HRNet, arch='w18_small_v1'))
"""


@pytest.mark.parametrize('host', HOSTS)
@pytest.mark.parametrize('scoped', [True, False])
def test_the_class_is_built_like_the_name(host: str, scoped: bool, tmp_path: Path) -> None:
    """As new-style configs name it, which have no default scope: the host's registry builds."""
    DefaultScope._instance_dict.clear()
    if scoped:
        init_default_scope(host)
    (tmp_path / 'config.py').write_text(NEW_STYLE)
    registry = import_module(f'{host}.registry').MODELS
    lazy = Config.fromfile(tmp_path / 'config.py').model.backbone
    assert lazy.type is HRNet
    torch.manual_seed(0)
    by_name = registry.build(dict(type='mmhrnet.HRNet', arch='w18_small_v1'))
    for cfg in (lazy, dict(type=HRNet, arch='w18_small_v1')):
        built = registry.build(cfg)
        assert cfg['type'] is HRNet
        assert type(built) is HRNet
        built.load_state_dict(by_name.state_dict())
        x = torch.rand(1, 3, 64, 64)
        outs = [model.eval()(x) for model in (by_name, built)]
        assert len(outs[0]) == (1 if host == 'mmpose' else 4)
        assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True))
        assert built.norm_eval == by_name.norm_eval == (host == 'mmdet')
        assert built.upsample == ('bilinear' if host == 'mmseg' else 'nearest')
        assert built.init_cfg == by_name.init_cfg
        assert built.init_cfg[0]['type'] == ('Normal' if host == 'mmpose' else 'Kaiming')


def test_what_the_config_says_beats_the_host() -> None:
    init_default_scope('mmpose')
    extra = {**EXTRA, 'stage4': {**EXTRA['stage4'], 'multiscale_output': True}}
    assert len(MODELS.build(dict(type='mmhrnet.HRNet', extra=extra)).out_channels) == 4
    init_default_scope('mmseg')
    model = MODELS.build(dict(type='mmhrnet.HRNet', arch='w18_small_v1', upsample='nearest'))
    assert model.stage2[0].resize.keywords['mode'] == 'nearest'


def test_python_takes_no_notice_of_hosts() -> None:
    init_default_scope('mmpose')
    assert len(HRNet('w18_small_v1').out_channels) == 4


def test_concatenation_is_bit_equal_to_mmsegs_head(randomized: object) -> None:
    init_default_scope('mmseg')  # where the head looks for its loss
    widths = [4, 8, 16, 32]
    head = host_class('mmseg.models.decode_heads.FCNHead')
    common = dict(num_classes=5, dropout_ratio=-1, concat_input=False, align_corners=False)
    theirs = head(
        in_channels=widths,
        in_index=(0, 1, 2, 3),
        channels=60,
        input_transform='resize_concat',
        kernel_size=1,
        num_convs=1,
        norm_cfg=dict(type='BN'),
        **common,
    )
    theirs = randomized(theirs).eval()
    neck, ours = HRNetV2(widths).eval(), head(in_channels=60, channels=60, num_convs=0, **common)
    neck.conv.load_state_dict(theirs.convs[0].state_dict(), strict=True)
    ours.conv_seg.load_state_dict(theirs.conv_seg.state_dict(), strict=True)
    xs = [torch.rand(2, width, 32 >> i, 40 >> i) for i, width in enumerate(widths)]
    assert torch.equal(ours(neck(xs)), theirs(xs))


@pytest.mark.parametrize(
    ('steps', 'size'),
    [
        ([dict(type='Resize', scale=(160, 128))], (128, 160)),
        ([dict(type='Resize', scale=96)], (96, 96)),
        ([dict(type='Resize', scale=256), dict(type='CenterCrop', crop_size=192)], (192, 192)),
        ([dict(type='LoadImageFromFile')], (224, 224)),
    ],
)
def test_the_input_of_a_classifier_is_what_its_test_makes(steps: list, size: tuple) -> None:
    loader = dict(dataset=dict(pipeline=steps))
    cfg = Config(dict(default_scope='mmpretrain', model={}, test_dataloader=loader))
    assert input_size(cfg) == size


def test_the_normalization_of_the_model_hides_that_of_the_top_level() -> None:
    top = dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True)
    assert normalization(Config(dict(data_preprocessor=top, model={}))).mean == [1, 2, 3]
    own = dict(data_preprocessor=dict(num_classes=3))
    assert normalization(Config(dict(data_preprocessor=top, model=own))).mean == [0, 0, 0]
