"""The network: counts, shapes, options, exactness of its switches, errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.feature_extraction import create_feature_extractor

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p, list_archs

# Parameters of V1 and V2 backbones, counted analytically from the papers' tables.
PARAMETERS = {
    'w18_small_v1': (1_284_672, 1_477_920),
    'w18_small_v2': (3_616_352, 3_860_720),
    'w18': (9_317_892, 9_562_260),
    'w30': (25_135_356, 25_812_276),
    'w32': (28_535_552, 29_305_536),
    'w40': (44_319_056, 45_521_216),
    'w44': (53_520_440, 54_974_640),
    'w48': (63_594_912, 65_325_120),
    'w64': (112_623_680, 115_697_600),
}
SMALL = 'w18_small_v1'


def stages(**changes: object) -> dict:
    """A stage description as the host libraries' configs have it, with one stage changed."""
    extra = {
        'stage1': dict(num_modules=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(8,)),
        'stage2': dict(num_modules=1, block='BASIC', num_blocks=(1, 1), num_channels=(4, 8)),
        'stage3': dict(num_modules=1, block='BASIC', num_blocks=(1,) * 3, num_channels=(4, 8, 16)),
        'stage4': dict(
            num_modules=2, block='BASIC', num_blocks=(1,) * 4, num_channels=(4, 8, 16, 32)
        ),
    }
    return {**extra, **changes}


@pytest.mark.parametrize('arch', list_archs())
def test_parameters(arch: str) -> None:
    with torch.device('meta'):
        models = HRNet(arch, multiscale_output=False), HRNet(arch)
    assert tuple(sum(p.numel() for p in m.parameters()) for m in models) == PARAMETERS[arch]


def test_single_output_is_the_first_of_four() -> None:
    v1, v2 = HRNet(SMALL, multiscale_output=False).eval(), HRNet(SMALL).eval()
    missing, unexpected = v1.load_state_dict(v2.state_dict(), strict=False)
    assert not missing
    assert all('stage4.0.fuse_layers' in name for name in unexpected)
    x = torch.rand(2, 3, 64, 64)
    (out,) = v1(x)
    assert v1.out_channels == (16,)
    assert torch.equal(out, v2(x)[0])


def test_input_and_gradients() -> None:
    model = HRNet(SMALL)
    model.init_weights()
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    before = x.detach().clone()
    sum(out.mean() for out in model(x)).backward()
    assert torch.equal(x, before)
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in grads.values())


def test_new_stream_comes_from_the_lowest_and_old_ones_from_their_own() -> None:
    widening = dict(num_modules=1, block='BASIC', num_blocks=(1,) * 3, num_channels=(6, 12, 24))
    model = HRNet(stages(stage3=widening)).eval()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes['transition2.0.0.weight'] == (6, 4, 3, 3)
    assert shapes['transition2.1.0.weight'] == (12, 8, 3, 3)
    assert shapes['transition2.2.0.0.weight'] == (24, 8, 3, 3)
    assert model(torch.rand(1, 3, 64, 64))[3].shape == (1, 32, 2, 2)


@pytest.mark.parametrize('block', ['BASIC', 'BOTTLENECK'])
def test_blocks_of_every_stage(block: str) -> None:
    last = dict(num_modules=1, block=block, num_blocks=(1,) * 4, num_channels=(4, 8, 16, 32))
    model = HRNet(extra=stages(stage4=last)).eval()
    outputs = model(torch.rand(1, 3, 64, 64))
    assert [out.shape[1] for out in outputs] == list(model.out_channels)
    assert model.out_channels[0] == {'BASIC': 4, 'BOTTLENECK': 16}[block]


def test_norm_cfg_reaches_every_norm() -> None:
    model = HRNet(stages(), norm_cfg=dict(type='GN', num_groups=2))
    assert not [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert {'gn1.weight', 'layer1.0.gn3.bias'} <= set(model.state_dict())
    assert model.eval()(torch.rand(1, 3, 64, 64))[0].shape == (1, 4, 16, 16)


def test_norm_eval_keeps_trained_statistics(randomized: object) -> None:
    model = randomized(HRNet(SMALL, norm_eval=True))
    before = {name: b.clone() for name, b in model.named_buffers()}
    assert model.train() is model
    model(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())
    assert all(p.requires_grad for p in model.parameters())


def test_norm_eval_refuses_fresh_statistics() -> None:
    with pytest.raises(ValueError, match='--from-scratch'):
        HRNet(SMALL, norm_eval=True).train()


@pytest.mark.parametrize('frozen', range(-1, 5))
def test_frozen_stages(frozen: int) -> None:
    model = HRNet(SMALL, frozen_stages=frozen).train()
    groups = ['conv1 bn1 conv2 bn2', 'layer1 transition1', 'stage2 transition2']
    groups += ['stage3 transition3', 'stage4']
    expected = {name for group in groups[: frozen + 1] for name in group.split()}
    frozen_names = {n.split('.')[0] for n, p in model.named_parameters() if not p.requires_grad}
    trained = {n.split('.')[0] for n, p in model.named_parameters() if p.requires_grad}
    assert frozen_names == expected
    assert not trained & expected
    assert all(not getattr(model, name).training for name in expected)


@pytest.mark.parametrize('multiscale_output', [True, False])
def test_checkpointing_is_exact(multiscale_output: bool) -> None:
    plain = HRNet(SMALL, multiscale_output=multiscale_output)
    plain.init_weights()
    saving = HRNet(SMALL, multiscale_output=multiscale_output, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 64, 64)
    for model in (plain, saving):
        sum(out.square().mean() for out in model.train()(x)).backward()
    for a, b in zip(plain.parameters(), saving.parameters()):
        assert torch.equal(a.grad, b.grad)
    for (name, a), b in zip(plain.named_buffers(), saving.buffers()):
        assert torch.equal(a, b), name


def test_zero_init_residual_starts_blocks_as_identity() -> None:
    model = HRNet(SMALL, zero_init_residual=True)
    model.init_weights()
    block = model.stage2[0].branches[0][0].eval()
    x = torch.rand(1, 16, 8, 8)
    assert torch.equal(block(x), x)
    assert not model.layer1[0].bn3.weight.any()


def test_mmpose_switches_inside_extra() -> None:
    extra = stages(upsample=dict(mode='bilinear', align_corners=True))
    extra['stage4'] = {**extra['stage4'], 'multiscale_output': False}
    model = HRNet(extra=extra)
    assert model.out_channels == (4,)
    assert model.stage2[0].resize.keywords == dict(mode='bilinear', align_corners=True)


def test_pretrained_is_short_for_init_cfg() -> None:
    model = HRNet(SMALL, pretrained='a.pth')
    assert model.init_cfg == dict(type='Pretrained', checkpoint='a.pth')


@pytest.mark.parametrize('upsample', ['nearest', 'bilinear'])
def test_compile_takes_it_whole(upsample: str) -> None:
    model = HRNet(stages(), upsample=upsample).eval()
    x = torch.rand(1, 3, 65, 96)
    compiled = torch.compile(model, fullgraph=True, backend='eager')
    for a, b in zip(compiled(x), model(x)):
        assert torch.equal(a, b)


TRACED = [
    arch if arch == SMALL else pytest.param(arch, marks=pytest.mark.slow) for arch in list_archs()
]


@pytest.mark.parametrize('multiscale_output', [True, False])
@pytest.mark.parametrize('arch', TRACED)
def test_fx_traces_it_exactly(arch: str, multiscale_output: bool) -> None:
    model, x = HRNet(arch, multiscale_output=multiscale_output), torch.rand(2, 3, 65, 64)
    for training in (True, False):
        traced = torch.fx.symbolic_trace(model.train(training))
        with torch.no_grad():
            assert all(torch.equal(a, b) for a, b in zip(traced(x), model(x), strict=True))


@pytest.mark.parametrize('neck', [HRNetV2, HRNetC, partial(HRNetV2p, out_channels=4)])
def test_fx_traces_necks_behind_it(neck: Callable) -> None:
    backbone = HRNet(stages())
    model, x = torch.nn.Sequential(backbone, neck(backbone.out_channels)), torch.rand(2, 3, 64, 64)
    assert all(map(torch.equal, torch.fx.symbolic_trace(model)(x), model(x)))


def test_torchvision_extracts_features_of_any_layer() -> None:
    model, x = HRNet(stages()).eval(), torch.rand(1, 3, 64, 96)
    names, expected = ['layer1', 'stage3.0.branches.1'], []
    outputs = create_feature_extractor(model, names)(x)

    def keep(module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
        expected.append(output.clone())

    for name in names:
        model.get_submodule(name).register_forward_hook(keep)
    model(x)
    assert list(outputs) == names
    assert all(map(torch.equal, outputs.values(), expected))


def test_fx_quantizes_it(randomized: object) -> None:
    model, x = randomized(HRNet(stages())).eval(), torch.rand(2, 3, 64, 64)
    engine = torch.backends.quantized.engine
    observed = quantize_fx.prepare_fx(model, get_default_qconfig_mapping(engine), (x,))
    observed(x)
    quantized = quantize_fx.convert_fx(observed)
    assert any('quantized' in type(m).__module__ for m in quantized.modules())
    for a, b in zip(quantized(x), model(x)):
        assert (a - b).norm() < 0.2 * b.norm()


@pytest.mark.parametrize('norm', ['BN', 'SyncBN', 'GN'])
def test_norms_have_the_hosts_names(norm: str) -> None:
    cfg = dict(type=norm, num_groups=2) if norm == 'GN' else dict(type=norm)
    own = {'BN': 'bn', 'SyncBN': 'bn', 'GN': 'gn'}[norm]
    model = HRNet(stages(), norm_cfg=cfg)
    basic, bottleneck = model.stage2[0].branches[0][0], model.layer1[0]
    for module, count in ((model, 2), (basic, 2), (bottleneck, 3)):
        assert not hasattr(module, f'norm{count + 1}')
        for i in range(1, count + 1):
            assert getattr(module, f'norm{i}') is getattr(module, f'{own}{i}')
    assert not [name for name in model.state_dict() if 'norm' in name]


@pytest.mark.skipif(torch.__version__ < '2.6', reason='torch < 2.6: no free sizes behind nearest')
def test_export_with_dynamic_batch_and_size() -> None:
    model = HRNet(stages()).eval()
    dim = torch.export.Dim
    shapes = {0: dim('n'), 2: dim('h', min=33, max=4096), 3: dim('w', min=33, max=4096)}
    program = torch.export.export(model, (torch.rand(2, 3, 64, 96),), dynamic_shapes=(shapes,))
    x = torch.rand(3, 3, 97, 71)
    for a, b in zip(program.module()(x), model(x)):
        torch.testing.assert_close(a, b)


def test_list_archs() -> None:
    assert list_archs('w4*') == ['w40', 'w44', 'w48']
    assert set(list_archs()) == set(PARAMETERS)


def resize_matrix(before: int, after: int, mode: str, align_corners: bool | None) -> torch.Tensor:
    """Weights of every old position (columns) in every new one (rows), from the definitions."""
    matrix = torch.zeros(after, before, dtype=torch.float64)
    for new in range(after):
        if mode == 'nearest':
            matrix[new, new * before // after] = 1
            continue
        if align_corners:
            old = new * (before - 1) / max(after - 1, 1)
        else:
            old = max((new + 0.5) * before / after - 0.5, 0)
        low = min(int(old), before - 1)
        high = min(low + 1, before - 1)
        matrix[new, low] += 1 - (old - low)
        matrix[new, high] += old - low
    return matrix


@pytest.mark.parametrize(
    ('mode', 'align_corners'), [('nearest', None), ('bilinear', False), ('bilinear', True)]
)
@pytest.mark.parametrize('size', [(16, 24), (17, 25), (9, 30)])
def test_fusion_is_the_formula(
    mode: str, align_corners: bool | None, size: tuple[int, int], randomized: object
) -> None:
    net = HRNet('w18_small_v1', upsample=mode, align_corners=align_corners)
    module = randomized(net).double().eval().stage4[0]
    sizes = [size]
    for _ in range(3):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    xs = [torch.rand(2, 16 << i, *s, dtype=torch.float64) for i, s in enumerate(sizes)]
    for dst, out in enumerate(module.fuse(*xs)):
        expected = xs[dst].clone()
        for src, x in enumerate(xs):
            path = module.fuse_layers[dst][src]
            if src > dst:
                y = path(x)
                rows, columns = (
                    resize_matrix(a, b, mode, align_corners) for a, b in zip(sizes[src], sizes[dst])
                )
                expected += torch.einsum('ah,nchw,bw->ncab', rows, y, columns)
            elif src < dst:
                y = x
                for step, (conv, norm, *_) in enumerate(path):
                    y = norm(torch.nn.functional.conv2d(y, conv.weight, stride=2, padding=1))
                    y = y.relu() if step < dst - src - 1 else y
                expected += y
        torch.testing.assert_close(out, expected.relu(), rtol=1e-10, atol=1e-10)
