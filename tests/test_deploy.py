"""Every rewrite of the deploy form against the plain form."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from steps import build, prediction_step, prepare

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p
from mmhrnet.deploy import PORTABLE, Rewrites, optimize
from mmhrnet.deploy.units import ConvUnit, has_bf16

NETWORKS = {
    'v2': dict(),
    'v1': dict(multiscale_output=False),
    'bilinear': dict(upsample='bilinear'),
    'corners': dict(upsample='bilinear', align_corners=True),
}
NONE = dict.fromkeys([field.name for field in fields(Rewrites)], False)
SWITCHES = {
    'default': {},
    'none': NONE,
    **{name: NONE | {name: True} for name in NONE},
    'portable': vars(PORTABLE),
}
CHANNELS = (6, 12, 24, 48)


class Doubled(torch.nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


NECKS = {
    'v2': lambda: HRNetV2(CHANNELS),
    'v2_corners': lambda: HRNetV2(CHANNELS, 20, align_corners=True),
    'v2p': lambda: HRNetV2p(CHANNELS, 16),
    'v2p_norm_max': lambda: HRNetV2p(CHANNELS, 16, pooling_type='MAX', norm_cfg=dict(type='BN')),
    'v2p_other_conv': lambda: HRNetV2p(CHANNELS, 16, conv_cfg=dict(type=Doubled)),
    'v2p_stride': lambda: HRNetV2p(CHANNELS, 16, num_outs=4, stride=2),
    'classifier': lambda: HRNetC(CHANNELS, 40, bias=True, pool=True),
}


@pytest.fixture(scope='module')
def nets(randomized: object) -> dict[str, HRNet]:
    torch.manual_seed(0)
    nets = {name: HRNet('w18_small_v1', **kwargs) for name, kwargs in NETWORKS.items()}
    return {name: randomized(net).eval() for name, net in nets.items()}


def assert_same(fast: object, plain: object, tolerance: float = 1e-5) -> None:
    assert len(fast) == len(plain)
    for a, b in zip(fast, plain):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize('switches', SWITCHES)
@pytest.mark.parametrize('name', NETWORKS)
def test_backbone(nets: dict[str, HRNet], name: str, switches: str) -> None:
    fast = optimize(nets[name], **SWITCHES[switches])
    for size in ((64, 96), (65, 97), (128, 32)):
        x = torch.rand(2, 3, *size)
        given = x.clone()
        with torch.no_grad():
            assert_same(fast(x), nets[name](x))
        assert torch.equal(x, given)


@pytest.mark.parametrize('switches', SWITCHES)
@pytest.mark.parametrize('name', NECKS)
def test_neck(randomized: object, name: str, switches: str) -> None:
    neck = randomized(NECKS[name]()).eval()
    fast = optimize(neck, **SWITCHES[switches])
    for height, width in ((32, 16), (33, 18), (16, 1024)):  # the last in several bands
        xs = [
            torch.rand(2, c, -(-height // 2**i), -(-width // 2**i)) for i, c in enumerate(CHANNELS)
        ]
        given = [x.clone() for x in xs]
        with torch.no_grad():
            assert_same(fast(xs), neck(xs))
        for x, before in zip(xs, given):
            assert torch.equal(x, before)


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('switches', ['default', 'portable', 'commute_upsampling'])
def test_segmentation_heads_mix_maps_before_upsampling(
    randomized: object, switches: str, aligned: bool
) -> None:
    from mmseg.models.decode_heads import FCNHead

    backbone = HRNet('w18_small_v1', upsample='bilinear', align_corners=aligned)
    width = sum(backbone.out_channels)
    heads = [  # FCN's, that of OCRNet's auxiliary loss, and one that reads other maps
        FCNHead(
            in_channels=[backbone.out_channels[i] for i in maps],
            in_index=maps,
            input_transform='resize_concat',
            channels=width,
            kernel_size=1,
            num_convs=1,
            concat_input=False,
            num_classes=3,
            align_corners=aligned,
            norm_cfg=dict(type='BN'),
        )
        for maps in ((0, 1, 2, 3), (3, 2, 1, 0))
    ]
    model = torch.nn.Module()
    model.backbone, model.decode_head = backbone, torch.nn.ModuleList(heads)
    model = randomized(model).eval()
    fast = optimize(torch.nn.Sequential(model), **SWITCHES[switches])[0]
    convs = [next(head.convs.children()) for head in fast.decode_head]
    joined = [conv.in_channels == width for conv in convs if hasattr(conv, 'in_channels')]
    folds = SWITCHES[switches].get('fold_norms', True)
    assert joined == [True]
    assert (len(convs[0].units) == 4) == folds
    x = torch.rand(2, 3, 64, 97)
    with torch.no_grad():
        found, expected = ([head(m.backbone(x)) for head in m.decode_head] for m in (fast, model))
    assert_same(found, expected)


@pytest.mark.parametrize('switches', ['default', 'none'])
@pytest.mark.parametrize('name', NETWORKS)
def test_gradients(nets: dict[str, HRNet], name: str, switches: str) -> None:
    plain = copy.deepcopy(nets[name]).double()
    fast = optimize(plain, **SWITCHES[switches])
    outs, grads = [], []
    for net in (fast, plain):
        x = torch.linspace(0, 1, 3 * 64 * 64, dtype=torch.float64).view(1, 3, 64, 64)
        x.requires_grad_()
        ys = net(x)
        outs.append(ys)
        grads.append(torch.autograd.grad(sum(y.square().mean() for y in ys), x))
    assert_same(*outs, tolerance=1e-12)
    assert_same(*grads, tolerance=1e-8)


def test_bands_go_through_several(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmhrnet.deploy import upsampling

    monkeypatch.setattr(upsampling, 'BAND_BYTES', 1)
    y = torch.rand(2, 5, 32, 24)
    maps = [torch.rand(2, 5, 32 >> i, 24 >> i) for i in (1, 2, 3)]
    plain = y + sum(torch.nn.functional.interpolate(x, (32, 24), mode='bilinear') for x in maps)
    with torch.no_grad():
        fast = upsampling.add_upsampled(y.clone(), maps, False, banded=True, relu=False)
        rectified = upsampling.add_upsampled(y.clone(), maps, False, banded=True, relu=True)
    assert len(upsampling._bands(y, 8)) == 4
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(rectified, plain.relu())


def test_norms_are_gone_and_the_original_is_left_alone(nets: dict[str, HRNet]) -> None:
    before = {key: value.clone() for key, value in nets['v2'].state_dict().items()}
    fast = optimize(nets['v2'])
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fast.modules())
    after = nets['v2'].state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert optimize(copy.deepcopy(net := nets['v1']), inplace=True) is not net


def test_packed_weights_follow_the_weights(nets: dict[str, HRNet]) -> None:
    fast, x = optimize(nets['v2']), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        first = fast(x)
        assert any(m._packed is not None for m in fast.modules() if isinstance(m, ConvUnit))
        again = pickle.loads(pickle.dumps(copy.deepcopy(fast)))  # noqa: S301 (our own)
        assert_same(again(x), first, tolerance=0)
        zeros = {key: torch.zeros_like(value) for key, value in fast.state_dict().items()}
        fast.load_state_dict(zeros)
        assert all(not y.any() for y in fast(x))
        assert fast.double()(x.double())[0].dtype == torch.float64


def test_other_norms_stay(randomized: object) -> None:
    net = HRNet('w18_small_v1', norm_cfg=dict(type='GN', num_groups=2)).eval()
    fast, x = optimize(net), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same(fast(x), net(x))
    assert sum(isinstance(m, torch.nn.GroupNorm) for m in fast.modules()) > 50


def test_low_precision_runs_the_plain_operations(nets: dict[str, HRNet]) -> None:
    fast, x = optimize(nets['v2']), torch.rand(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert_same(fast(x), nets['v2'](x), tolerance=0.1)


@pytest.mark.parametrize(
    ('model', 'switches', 'message'),
    [
        (lambda: torch.nn.Conv2d(3, 3, 1), {}, "no part of mmhrnet.*'mmhrnet.HRNet'"),
        (lambda: optimize(HRNet('w18_small_v1')), {}, 'is optimized already'),
    ],
)
def test_mistakes(model: object, switches: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimize(model(), **switches)


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        ('mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192.py', 'pred_instances.keypoint_scores'),
        ('mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024.py', 'seg_logits.data'),
        ('mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py', 'pred_score'),
    ],
)
def test_whole_host_models(
    root: Path, tmp_path: Path, randomized: object, config: str, found: str
) -> None:
    cfg = Config.fromfile(root / 'configs' / config)
    prepare(cfg)
    model = randomized(build(cfg)).eval()
    plain, fast = (
        torch.as_tensor(attrgetter(found)(prediction_step(cfg, net, tmp_path)[0])).float()
        for net in (model, optimize(model))
    )
    assert_same([fast], [plain], tolerance=1e-4)


def test_whole_detector(root: Path, randomized: object) -> None:
    cfg = Config.fromfile(root / 'configs' / 'mmdet' / 'faster_rcnn_hrnetv2p_w18.py')
    prepare(cfg)
    model = randomized(build(cfg)).eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        plain, fast = (net.rpn_head(net.extract_feat(x)) for net in (model, optimize(model)))
    for a, b in zip(fast, plain):
        assert_same(a, b)


@pytest.mark.skipif(not has_bf16(), reason='this CPU has no bfloat16')
def test_bfloat16_takes_the_fused_kernels(nets: dict[str, HRNet]) -> None:
    fast = optimize(nets['v2']).bfloat16()
    x = torch.rand(2, 3, 64, 64).bfloat16()
    with torch.no_grad():
        found = fast(x)
        assert all(m._packed is not None for m in fast.modules() if isinstance(m, ConvUnit))
        expected = nets['v2'](x.float())
    for a, b in zip(found, expected):
        assert a.dtype == torch.bfloat16
        assert (a.float() - b).norm() < 0.03 * b.norm()
