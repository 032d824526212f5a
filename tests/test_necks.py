"""HRNetV2p against the formula that defines it, and its options."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmhrnet import HRNetV2p

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


def test_shapes_with_stride() -> None:
    neck = HRNetV2p(CHANNELS, 6, num_outs=3, stride=2)
    shapes = [tuple(out.shape) for out in neck(maps(128, 128))]
    assert shapes == [(2, 6, 16, 16), (2, 6, 8, 8), (2, 6, 4, 4)]


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


def test_compile_and_export_take_it_whole() -> None:
    neck = HRNetV2p(CHANNELS, 6).eval()
    xs = maps(128, 160)
    compiled = torch.compile(neck, fullgraph=True, backend='eager')
    exported = torch.export.export(neck, (xs,)).module()
    for a, b, c in zip(neck(xs), compiled(xs), exported(xs)):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(in_channels=4), 'must list the channels'),
        (dict(pooling_type='avg'), "'AVG' or 'MAX'"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HRNetV2p(**{'in_channels': CHANNELS, 'out_channels': 8, **kwargs})


def test_bad_inputs() -> None:
    neck = HRNetV2p(CHANNELS, 8)
    with pytest.raises(ValueError, match=r'\(4, 8, 16\) channels'):
        neck(maps(128, 128)[:3])
    with pytest.raises(ValueError, match='an image of 64'):
        neck(maps(32, 128))
