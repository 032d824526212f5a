"""Equal to the hosts' and timm's networks: outputs, gradients and statistics, heads included.

Two layouts of one network differ by 1e-2 in single fp32 gradients, so the proof is in float64; in
fp32 the outputs are bit-equal where the order of operations is the host's. Statistics and weights
are random and of realistic scale. Errors are relative by norm.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from mmengine.registry import MODELS, init_default_scope
from test_hosts import HOSTS, host_class
from torch import Tensor, nn

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p, checkpoints
from mmhrnet.models import ARCHS
from mmhrnet.models.archs import as_extra

GOLDEN = Path(__file__).parent / 'golden'
FORWARD, GRADIENT, BUFFER = 1e-10, 1e-8, 1e-10
ARCH_PARAMS = [
    'w18_small_v2',
    *(pytest.param(arch, marks=pytest.mark.slow) for arch in ('w18', 'w32', 'w48')),
]
every_arch = pytest.mark.parametrize('arch', ARCH_PARAMS)
every_host = pytest.mark.parametrize('host', HOSTS)


def pair(host: str, arch: str, randomized: object, **kwargs: object) -> tuple[nn.Module, HRNet]:
    """The host's network and ours, built from one config by type alone, with equal weights."""
    init_default_scope(host)
    extra = as_extra(arch)
    theirs = randomized(host_class(HOSTS[host])(extra=extra, **kwargs))
    ours = MODELS.build(dict(type='mmhrnet.HRNet', extra=extra, **kwargs))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


class TimmLike(nn.Module):
    """Our parts in timm's order: backbone, head, pooling, classifier."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        self.backbone = HRNet(arch)
        self.neck = nn.Sequential(HRNetC(self.backbone.out_channels, bias=True))
        self.head = nn.Module()
        self.head.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.head.fc(self.neck(self.backbone(x))[0].mean((2, 3)))]


def timm_pair(arch: str, randomized: object) -> tuple[nn.Module, nn.Module]:
    theirs, ours = randomized(timm.create_model(f'hrnet_{arch}')), TimmLike(arch)
    fitted, report = checkpoints.fit(theirs.state_dict(), ours)
    assert not report.new
    assert not report.left_out
    ours.load_state_dict(fitted, strict=True)
    return theirs, ours


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def assert_equal_in_double(theirs: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    """Outputs, gradients of all parameters and all buffers of one training step."""
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    outputs = []
    for model in (theirs.double(), ours.double()):
        model.train()
        ys = model(x)
        ys = [ys] if isinstance(ys, Tensor) else ys
        outputs.append(ys)
        sum(
            (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() for y in ys
        ).backward()
    for a, b in zip(*reversed(outputs)):
        assert relative(a, b) <= FORWARD
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        assert relative(p.grad, grads[names.get(name, name)]) <= GRADIENT, name
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        assert relative(buffer.double(), buffers[names.get(name, name)].double()) <= BUFFER, name


@every_arch
@every_host
def test_eval_is_bit_equal(host: str, arch: str, randomized: object) -> None:
    theirs, ours = pair(host, arch, randomized)
    theirs.eval()  # two of the hosts return None from it
    x = torch.rand(2, 3, 64, 96)
    expected, outputs = theirs(x), ours.eval()(x)
    assert len(outputs) == len(expected)
    for a, b in zip(outputs, expected):
        assert torch.equal(a, b)


@every_arch
@every_host
def test_training_step(host: str, arch: str, randomized: object) -> None:
    theirs, ours = pair(host, arch, randomized, norm_eval=False)
    assert_equal_in_double(theirs, ours, {})


@every_arch
def test_timm_eval(arch: str, randomized: object) -> None:
    theirs, ours = timm_pair(arch, randomized)
    x = torch.rand(2, 3, 64, 96)
    assert relative(ours.eval()(x)[0], theirs.eval()(x)) <= 1e-5
    assert relative(ours.double()(x.double())[0], theirs.double()(x.double())) <= FORWARD


@every_arch
def test_timm_training_step(arch: str, randomized: object) -> None:
    theirs, ours = timm_pair(arch, randomized)
    names = {}
    for name in ours.state_dict():
        common = checkpoints.names.to_common(name, 'mmhrnet')
        names[name] = checkpoints.names.from_common(common, 'timm')
    assert_equal_in_double(theirs, ours, names)


class Chain(nn.Module):
    """Backbone and what follows it, called one after the other."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        for part in self.children():
            x = part(x)
        return x


@every_arch
def test_detector_with_its_pyramid(arch: str, randomized: object) -> None:
    theirs, ours = pair('mmdet', arch, randomized, norm_eval=False)
    channels = list(ours.out_channels)
    hrfpn = host_class('mmdet.models.necks.HRFPN')(channels, 32)
    v2p = HRNetV2p(channels, 32)
    v2p.load_state_dict(hrfpn.state_dict())
    theirs, ours = Chain(backbone=theirs, neck=hrfpn), Chain(backbone=ours, neck=v2p)
    assert_equal_in_double(theirs, ours, {})


@every_arch
def test_classifier_with_its_neck(arch: str, randomized: object) -> None:
    theirs, ours = pair('mmpretrain', arch, randomized)
    channels = ours.out_channels
    fuse = randomized(host_class('mmpretrain.models.necks.HRFuseScales')(channels))
    neck = HRNetC(channels)
    neck.load_state_dict(fuse.state_dict())
    theirs, ours = Chain(backbone=theirs, neck=fuse), Chain(backbone=ours, neck=neck)
    assert_equal_in_double(theirs, ours, {})


@every_arch
def test_segmentor_with_its_head(arch: str, randomized: object) -> None:
    theirs, ours = pair('mmseg', arch, randomized)
    channels = ours.out_channels
    width = sum(channels)
    head = host_class('mmseg.models.decode_heads.FCNHead')
    common = dict(num_classes=5, channels=width, concat_input=False, dropout_ratio=-1)
    many = dict(in_channels=channels, in_index=(0, 1, 2, 3), input_transform='resize_concat')
    many |= dict(num_convs=1, kernel_size=1, norm_cfg=dict(type='BN'))
    theirs = Chain(backbone=theirs, decode_head=randomized(head(**many, **common)))
    ours = Chain(
        backbone=ours,
        neck=HRNetV2(channels),
        decode_head=head(in_channels=width, num_convs=0, **common),
    )
    fitted, report = checkpoints.fit(theirs.state_dict(), ours)
    assert not report.new
    assert not report.left_out
    ours.load_state_dict(fitted, strict=True)
    renamed = {n: n.replace('neck.conv.', 'decode_head.convs.0.') for n in ours.state_dict()}
    assert_equal_in_double(theirs, ours, renamed)


@pytest.mark.parametrize('host', ['mmpose', 'mmseg'])
@pytest.mark.parametrize('frozen_stages', [0, 1, 2, 3, 4])
def test_frozen_stages(host: str, frozen_stages: int, randomized: object) -> None:
    theirs, ours = pair(host, 'w18_small_v2', randomized, frozen_stages=frozen_stages)
    theirs.train()
    ours.train()
    expected = {name: p.requires_grad for name, p in theirs.named_parameters()}
    assert {name: p.requires_grad for name, p in ours.named_parameters()} == expected
    norms = {n: m.training for n, m in theirs.named_modules() if isinstance(m, nn.BatchNorm2d)}
    found = {n: m.training for n, m in ours.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert found == norms


@every_host
def test_norm_eval(host: str, randomized: object) -> None:
    theirs, ours = pair(host, 'w18_small_v2', randomized, norm_eval=True)
    assert_equal_in_double(theirs, ours, {})
    assert not any(m.training for m in ours.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize('arch', ARCHS)
def test_golden_keys_and_shapes(arch: str) -> None:
    """``tests/golden`` lists every tensor of the published backbones; C is the width."""
    width = ARCHS[arch][-1].channels[0]
    file = GOLDEN / f'{arch if "small" in arch else "full_depth"}.txt'
    lines = [line.split() for line in file.read_text().splitlines()]
    golden = {name: tuple(size(number, width) for number in shape) for name, *shape in lines}
    with torch.device('meta'):
        state = HRNet(arch).state_dict()
    counters = {name for name in state if name.endswith('num_batches_tracked')}
    assert {n: tuple(t.shape) for n, t in state.items() if n not in counters} == golden
    assert counters == {
        name.replace('running_mean', 'num_batches_tracked')
        for name in golden
        if name.endswith('running_mean')
    }


def size(number: str, width: int) -> int:
    return int(number[:-1]) * width if number.endswith('C') else int(number)
