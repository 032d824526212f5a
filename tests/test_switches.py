"""The switches for speed in a config change no number: memory_format and compile."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch._dynamo.utils import counters

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p
from mmhrnet.deploy.export import compiler_problem

CHANNELS = (16, 32, 64, 128)
EAGER = dict(backend='eager', fullgraph=True)
needs_compiler = pytest.mark.skipif(compiler_problem() is not None, reason=str(compiler_problem()))


def network(neck: nn.Module | None = None, **switches: object) -> nn.Module:
    torch.manual_seed(0)
    net = HRNet('w18_small_v1', **switches)
    return net if neck is None else nn.Sequential(net, neck)


def training_step(net: nn.Module, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    net.zero_grad()
    ys = net.train()(x)
    sum(y.square().mean() for y in ys).backward()
    return list(ys), {name: p.grad for name, p in net.named_parameters()}


def assert_same_training(fast: nn.Module, plain: nn.Module) -> None:
    x = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    plain.load_state_dict(fast.state_dict())
    (outs, grads), (expected, expected_grads) = (
        training_step(net.double(), x) for net in (fast, plain)
    )
    for a, b in zip(outs, expected):
        assert (a - b).norm() <= 1e-10 * b.norm()
    assert grads.keys() == expected_grads.keys()
    for name, grad in grads.items():
        assert (grad - expected_grads[name]).norm() <= 1e-8 * expected_grads[name].norm(), name
    for a, b in zip(fast.buffers(), plain.buffers()):
        assert (a - b).abs().max() <= 1e-10


NECKS = {
    'backbone': lambda: None,
    'v2': lambda: HRNetV2(CHANNELS),
    'v2p': lambda: HRNetV2p(CHANNELS, 16),
    'classifier': lambda: HRNetC(CHANNELS, 32),
}


@pytest.mark.parametrize('neck', NECKS)
def test_channels_last_holds_through_backbone_and_neck(neck: str) -> None:
    fast = network(NECKS[neck](), memory_format='channels_last')
    plain = network(NECKS[neck]())
    assert_same_training(fast, plain)
    with torch.no_grad():
        for y in fast(torch.rand(2, 3, 128, 96, dtype=torch.float64)):
            assert y.is_contiguous(memory_format=torch.channels_last)


def test_channels_last_survives_initialization_and_loading() -> None:
    net = network(memory_format='channels_last')
    net.init_weights()
    net.load_state_dict(network().state_dict())
    for p in net.parameters():
        assert p.ndim < 4 or p.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('upsample', ['nearest', 'bilinear'])
def test_compiled_modules_are_the_network(upsample: str) -> None:
    fast = network(upsample=upsample, compile=EAGER)
    plain = network(upsample=upsample)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert_same_training(fast, plain)
    for same in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):  # noqa: S301 (our own)
        assert_same_training(same, plain)


@needs_compiler
@pytest.mark.slow
def test_inductor_trains_the_same() -> None:
    assert_same_training(network(compile=True, memory_format='channels_last'), network())


@pytest.mark.skipif(
    torch.__version__ < '2.5', reason='torch < 2.5 compiles each module, whatever its kind'
)
def test_depth_compiles_nothing_more() -> None:
    """Blocks of stage 1 with and without projection, modules of 2, 3 and 4 streams."""

    def graphs(arch: str) -> int:
        torch._dynamo.reset()
        counters.clear()
        net = HRNet(arch, compile=EAGER).eval()
        with torch.no_grad():
            net(torch.rand(1, 3, 64, 64))
        assert not counters['graph_break']
        return counters['stats']['unique_graphs']

    assert len(list(HRNet('w18').layer1)) + sum((1, 4, 3)) == 12
    assert graphs('w18_small_v2') == graphs('w18') == 5


def test_switches_reach_the_network_through_a_config() -> None:
    cfg = dict(type='mmhrnet.HRNet', arch='w18_small_v1', memory_format='channels_last')
    net = MODELS.build(cfg | dict(compile=dict(backend='eager')))
    assert net.channels_last
    assert net.stage4[0]._compiled_call_impl is not None
    assert MODELS.build(cfg).stage4[0]._compiled_call_impl is None
