"""The necks against the formulas that define them, and their options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhrnet import HRNetC, HRNetV2, HRNetV2p

CHANNELS = (4, 8, 16, 32)


def maps(height: int, width: int) -> list[torch.Tensor]:
    strides = (4, 8, 16, 32)
    return [torch.rand(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, strides)]


@pytest.mark.parametrize('pooling', ['AVG', 'MAX'])
@pytest.mark.parametrize('size', [(128, 160), (97, 130)])
def test_formula(pooling: str, size: tuple[int, int]) -> None:
    neck = HRNetV2p(list(CHANNELS), 12, pooling_type=pooling).eval()
    neck.init_weights()
    xs = maps(*size)
    up = [F.interpolate(x, xs[0].shape[2:], mode='bilinear') for x in xs]
    reduce = neck.reduction_conv.conv
    x = torch.einsum('nchw,oc->nohw', torch.cat(up, 1), reduce.weight[:, :, 0, 0])
    x = x + reduce.bias[:, None, None]
    pool = {'AVG': F.avg_pool2d, 'MAX': F.max_pool2d}[pooling]
    for i, (out, conv) in enumerate(zip(neck(xs), neck.fpn_convs)):
        level = x if i == 0 else pool(x, 2**i)
        expected = F.conv2d(level, conv.conv.weight, conv.conv.bias, padding=1)
        torch.testing.assert_close(out, expected)


def test_norm_cfg_takes_effect() -> None:
    neck = HRNetV2p(CHANNELS, 8, norm_cfg=dict(type='BN'))
    norms = [m for m in neck.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 6
    assert neck.reduction_conv.conv.bias is None


def test_checkpointing_gives_equal_gradients() -> None:
    plain, saving = HRNetV2p(CHANNELS, 8), HRNetV2p(CHANNELS, 8, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    xs = [x.requires_grad_() for x in maps(64, 64)]
    grads = []
    for neck in (plain, saving):
        sum(out.square().sum() for out in neck(xs)).backward()
        grads.append([p.grad for p in neck.parameters()] + [x.grad.clone() for x in xs])
        for x in xs:
            x.grad = None
    for a, b in zip(*grads):
        assert torch.equal(a, b)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(128, 160), (97, 130)])
def test_concatenated_formula(align_corners: bool, size: tuple[int, int]) -> None:
    neck = HRNetV2(CHANNELS, align_corners=align_corners).eval()
    xs = maps(*size)
    up = [
        F.interpolate(x, xs[0].shape[2:], mode='bilinear', align_corners=align_corners) for x in xs
    ]
    norm = neck.conv.bn
    torch.nn.init.normal_(norm.running_mean)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.einsum('nchw,oc->nohw', torch.cat(up, 1), neck.conv.conv.weight[:, :, 0, 0])
    expected = F.batch_norm(x, norm.running_mean, norm.running_var).relu()
    (out,) = neck(xs)
    assert out.shape == (2, 60, *xs[0].shape[2:])
    torch.testing.assert_close(out, expected)


def test_concatenated_options() -> None:
    neck = HRNetV2(list(CHANNELS), 24, norm_cfg=dict(type='GN', num_groups=4))
    assert neck(maps(64, 64))[0].shape == (2, 24, 16, 16)
    assert sorted(neck.state_dict()) == ['conv.conv.weight', 'conv.gn.bias', 'conv.gn.weight']


@pytest.mark.parametrize('size', [(128, 160), (97, 130)])
def test_classification_formula(size: tuple[int, int]) -> None:
    neck = HRNetC(CHANNELS, 40, bias=True).eval()
    neck.init_weights()
    xs = maps(*size)
    y = neck.increase_layers[0](xs[0])
    for i in range(3):
        conv = neck.downsample_layers[i].conv
        down = F.conv2d(y, conv.weight, conv.bias, stride=2, padding=1)
        down = neck.downsample_layers[i].bn(down).relu()
        y = neck.increase_layers[i + 1](xs[i + 1]) + down
    last = neck.final_layer
    expected = last.bn(F.conv2d(y, last.conv.weight, last.conv.bias)).relu()
    (out,) = neck(xs)
    assert out.shape == (2, 40, *xs[3].shape[2:])
    torch.testing.assert_close(out, expected)
    neck.pool = True
    torch.testing.assert_close(neck(xs)[0], expected.flatten(2).mean(2))


def test_classification_norms_and_biases() -> None:
    norms = [
        m
        for m in HRNetC(CHANNELS, norm_cfg=dict(type='GN', num_groups=2)).modules()
        if isinstance(m, torch.nn.GroupNorm | torch.nn.BatchNorm2d)
    ]
    assert len(norms) == 4 * 4 + 3 + 1
    assert all(isinstance(m, torch.nn.GroupNorm) for m in norms)
    plain, biased = HRNetC(CHANNELS), HRNetC(CHANNELS, bias=True)
    more = sorted(set(biased.state_dict()) - set(plain.state_dict()))
    assert more == [
        *(f'downsample_layers.{i}.conv.bias' for i in range(3)),
        'final_layer.conv.bias',
    ]


every_neck = pytest.mark.parametrize('neck', [HRNetV2, HRNetC, partial(HRNetV2p, out_channels=6)])


@every_neck
def test_inputs_are_left_alone(neck: Callable[..., nn.Module]) -> None:
    model = neck(CHANNELS).eval()
    xs = maps(64, 64)
    copies = [x.clone() for x in xs]
    model(xs)
    assert all(torch.equal(a, b) for a, b in zip(xs, copies))


@every_neck
def test_compile_and_export_take_it_whole(neck: Callable[..., nn.Module]) -> None:
    model, xs = neck(CHANNELS).eval(), maps(128, 160)
    compiled = torch.compile(model, fullgraph=True, backend='eager')
    exported = torch.export.export(model, (xs,)).module()
    for a, b, c in zip(model(xs), compiled(xs), exported(xs), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c)
