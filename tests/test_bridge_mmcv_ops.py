"""The kernels of the mmcv bridge against plain formulas, called through mmcv's own wrappers."""

from __future__ import annotations

import importlib
import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmhrnet.bridges import mmcv_ext, mmcv_ops

mmcv_ext.install()
from mmcv import ops  # noqa: E402 - cannot be imported before

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the bridge under mmcv's wrappers even where a compiled mmcv is installed."""
    torch.manual_seed(0)
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            monkeypatch.setattr(module, 'ext_module', mmcv_ops)


def random_boxes(count: int) -> tuple[Tensor, Tensor]:
    """(count, 4) boxes, some of which leave an image of (100, 100), and (count,) scores."""
    corner = torch.rand(count, 2, dtype=torch.float64) * 100 - 10
    boxes = torch.cat([corner, corner + torch.rand_like(corner) * 50], dim=1)
    return boxes, torch.rand(count, dtype=torch.float64)


def assert_same_with_grads(
    op: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: list[Tensor]
) -> None:
    """Same value, and same gradients under a gradient that is not contiguous."""
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    actual, expected = op(*inputs), plain(*inputs)
    torch.testing.assert_close(actual, expected)
    grad = torch.randn(*expected.shape, 2, dtype=expected.dtype)[..., 0]
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs, grad), torch.autograd.grad(expected, inputs, grad)
    )


# The import


@pytest.mark.skipif(mmcv_ext.reason() is None, reason='mmcv is compiled: its ops import anyway')
def test_mmcv_ops_imports_only_with_the_bridge(monkeypatch: pytest.MonkeyPatch):
    spec = sys.modules['mmcv._ext'].__spec__
    assert (spec.name, spec.origin) == ('mmcv._ext', mmcv_ops.__file__)
    for name in [name for name in sys.modules if name.startswith(('mmcv.ops', 'mmcv._ext'))]:
        monkeypatch.delitem(sys.modules, name)
    others = [finder for finder in sys.meta_path if not isinstance(finder, mmcv_ext._Finder)]
    monkeypatch.setattr(sys, 'meta_path', others)
    with pytest.raises(ModuleNotFoundError, match=r'mmcv\._ext'):
        importlib.import_module('mmcv.ops')


@pytest.mark.parametrize('compiled', [False, True])
def test_a_compiled_extension_wins(tmp_path: Path, compiled: bool):
    package = tmp_path / 'mmcv'
    package.mkdir()
    (package / '__init__.py').touch()
    if compiled:
        (package / '_ext.py').touch()
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from importlib.util import find_spec
from mmhrnet.bridges import mmcv_ext
mmcv_ext.install()
mmcv_ext.install()
print(mmcv_ext.reason() is None, sum(type(f) is mmcv_ext._Finder for f in sys.meta_path))
assert not {{'torch', 'torchvision', 'mmcv'}} & set(sys.modules)
print(find_spec('mmcv._ext').origin)
"""
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    origin = str(package / '_ext.py') if compiled else mmcv_ops.__file__
    assert done.stdout.splitlines() == [f'{compiled} 1', origin]


def test_nothing_to_bridge_without_mmcv(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mmcv_ext, 'find_spec', {'mmcv': None}.get)
    assert mmcv_ext.reason() is None


def test_an_op_that_is_not_covered_raises_when_called():
    features, masks = torch.rand(1, 2, 4, 4), torch.rand(1, 9, 8, 8)
    with pytest.raises(NotImplementedError, match=r"'carafe_forward'.*mim install mmcv"):
        ops.carafe(features, masks, 3, 1, 2)
    assert not hasattr(mmcv_ops, '__path__')


def test_the_environment_report_names_the_bridge():
    assert 'mmhrnet' in ops.get_compiler_version()
    assert ops.get_compiling_cuda_version() == 'not available'


@pytest.mark.skipif(mmcv_ext.reason() is not None, reason='mmcv is not compiled: no second opinion')
@pytest.mark.parametrize('offset', [0, 1])
def test_agrees_with_a_compiled_mmcv(offset: int):
    compiled = importlib.import_module('mmcv._ext')
    boxes, scores = (tensor.float() for tensor in random_boxes(200))
    expected = compiled.nms(boxes, scores, iou_threshold=0.5, offset=offset)
    assert torch.equal(mmcv_ops.nms(boxes, scores, 0.5, offset), expected)
    for method in range(3):
        dets = [torch.zeros(200, 5), torch.zeros(200, 5)]
        options = {'iou_threshold': 0.3, 'sigma': 0.5, 'min_score': 0.05}
        options |= {'method': method, 'offset': offset}
        actual = mmcv_ops.softnms(boxes, scores, dets[0], **options)
        expected = compiled.softnms(boxes, scores, dets[1], **options)
        assert torch.equal(actual, expected)
        torch.testing.assert_close(dets[0][: len(actual)], dets[1][: len(actual)])


# Non-maximum suppression


def plain_iou(a: list[float], b: list[float], offset: int = 0) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    overlap = max(width, 0) * max(height, 0)
    areas = [(x2 - x1 + offset) * (y2 - y1 + offset) for x1, y1, x2, y2 in (a, b)]
    return overlap / (sum(areas) - overlap) if overlap else 0.0


def plain_nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int = 0) -> list[int]:
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        box = boxes[i].tolist()
        if all(plain_iou(box, boxes[k].tolist(), offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def plain_soft_nms(
    boxes: Tensor, scores: Tensor, factor: Callable[[float], float], offset: int, least: float
) -> list[tuple[int, float]]:
    left = [[i, score] for i, score in enumerate(scores.tolist())]
    done = []
    while left:
        best = max(range(len(left)), key=lambda i: left[i][1])
        left[0], left[best] = left[best], left[0]
        done.append(tuple(left.pop(0)))
        position = 0
        while position < len(left):
            iou = plain_iou(boxes[done[-1][0]].tolist(), boxes[left[position][0]].tolist(), offset)
            left[position][1] *= factor(iou)
            if left[position][1] >= least:
                position += 1
            else:
                left[position] = left[-1]
                left.pop()
    return done


def grid_boxes() -> tuple[Tensor, Tensor]:
    """Boxes many of which share sides, with few different scores."""
    corners = torch.randint(0, 6, (60, 4)).sort(dim=1).values[:, [0, 1, 3, 2]]
    return corners.double(), torch.randint(1, 5, (60,)) / 5


BOX = torch.tensor([[0.0, 0.0, 5.0, 5.0]])
BOX_SETS = {
    'none': lambda: (BOX[:0], torch.zeros(0)),
    'one': lambda: (BOX, torch.tensor([0.5])),
    'equal': lambda: (BOX.repeat(5, 1), torch.full((5,), 0.5)),
    'points': lambda: (torch.full((4, 4), 3.0), torch.tensor([0.1, 0.4, 0.4, 0.2])),
    'grid': grid_boxes,
    'random': lambda: random_boxes(100),
}


@pytest.mark.parametrize('kind', BOX_SETS)
@pytest.mark.parametrize('offset', [0, 1])
def test_nms(kind: str, offset: int):
    boxes, scores = BOX_SETS[kind]()
    dets, kept = ops.nms(boxes, scores, 0.45, offset=offset)
    assert kept.tolist() == plain_nms(boxes, scores, 0.45, offset)
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_nms_keeps_a_box_at_the_threshold(dtype: torch.dtype):
    boxes = torch.tensor([[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 6.0, 1.0]], dtype=dtype)
    assert len(ops.nms(boxes, torch.tensor([0.9, 0.8], dtype=dtype), 0.6)[1]) == 2
    assert len(ops.nms(boxes, torch.tensor([0.9, 0.8], dtype=dtype), 0.59)[1]) == 1


SOFTLY = {  # how the overlap lowers a score
    'naive': lambda iou: 0.0 if iou >= 0.3 else 1.0,
    'linear': lambda iou: 1 - iou if iou >= 0.3 else 1.0,
    'gaussian': lambda iou: math.exp(-(iou**2) / 0.5),
}


@pytest.mark.parametrize('kind', BOX_SETS)
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', SOFTLY)
def test_soft_nms(kind: str, method: str, offset: int):
    boxes, scores = (tensor.double() for tensor in BOX_SETS[kind]())
    expected = plain_soft_nms(boxes, scores, SOFTLY[method], offset, least=0.05)
    scores.requires_grad_()
    dets, kept = ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert kept.tolist() == [index for index, _ in expected]
    lowered = torch.tensor([score for _, score in expected], dtype=torch.float64)
    torch.testing.assert_close(dets.detach(), torch.cat([boxes[kept], lowered[:, None]], dim=1))


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_boxes_of_different_classes_are_apart(kind: str):
    (boxes, scores), labels = random_boxes(80), torch.randint(0, 3, (80,))
    dets, kept = ops.batched_nms(boxes, scores, labels, dict(type=kind, iou_threshold=0.3))
    apart = boxes + labels[:, None] * 1000
    if kind == 'nms':
        assert kept.tolist() == plain_nms(apart, scores, 0.3)
    else:
        expected = plain_soft_nms(apart, scores, SOFTLY['linear'], 0, least=0.001)
        assert kept.tolist() == [index for index, _ in expected]
        assert dets[:, 4].tolist() == pytest.approx([score for _, score in expected])
    assert torch.equal(dets[:, :4], boxes[kept])


# Pooling of regions of interest

ROIS = torch.tensor(
    [
        [0, 1.3, 2.1, 9.7, 8.2],
        [1, 0.0, 0.0, 13.0, 11.0],
        [0, -6.0, -5.0, 4.4, 3.3],  # leaves the image
        [1, 8.0, 6.0, 30.0, 40.0],
        [0, 50.0, 60.0, 70.0, 90.0],  # lies outside
        [1, 4.2, 4.2, 4.2, 4.2],  # has no area
    ],
    dtype=torch.float64,
)


def bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """(C,) value of the image (C, H, W), continued by its border for one pixel, then by 0."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image[:, 0, 0] * 0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    dy, dx = y - top, x - left
    upper = image[:, top, left] * (1 - dx) + image[:, top, left + 1] * dx
    lower = image[:, top + 1, left] * (1 - dx) + image[:, top + 1, left + 1] * dx
    return upper * (1 - dy) + lower * dy


def plain_roi_align(
    input: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Tensor:
    bins = []
    for index, *box in rois.tolist():
        x1, y1, x2, y2 = (side * scale - 0.5 * aligned for side in box)
        least = 0 if aligned else 1
        height, width = max(y2 - y1, least) / size[0], max(x2 - x1, least) / size[1]
        rows, columns = ratio or math.ceil(height), ratio or math.ceil(width)
        for i, j in itertools.product(range(size[0]), range(size[1])):
            values = [
                bilinear(
                    input[int(index)],
                    y1 + (i + (row + 0.5) / rows) * height,
                    x1 + (j + (column + 0.5) / columns) * width,
                )
                for row, column in itertools.product(range(rows), range(columns))
            ]
            bins.append(torch.stack(values).mean(0) if values else input[0, :, 0, 0] * 0)
    return torch.stack(bins).view(len(rois), *size, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align(ratio: int, aligned: bool):
    input = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    assert_same_with_grads(
        lambda x: ops.roi_align(x, ROIS, (2, 3), 0.5, ratio, 'avg', aligned),
        lambda x: plain_roi_align(x, ROIS, (2, 3), 0.5, ratio, aligned),
        [input.to(memory_format=torch.channels_last)],
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_half_precision(dtype: torch.dtype):
    pool = ops.RoIAlign((2, 3), 0.5)
    input = torch.randn(2, 3, 6, 7, dtype=dtype, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        actual = pool(input, ROIS.float())
    actual.sum().backward()
    exact = input.detach().double().requires_grad_()
    expected = pool(exact, ROIS)
    expected.sum().backward()
    assert actual.dtype == input.grad.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(input.grad.double(), exact.grad, rtol=1e-2, atol=1e-2)


def test_roi_align_of_no_region():
    input = torch.randn(2, 3, 6, 7, requires_grad=True)
    output = ops.RoIAlign((2, 3), 0.5)(input, torch.zeros(0, 5))
    output.sum().backward()
    assert output.shape == (0, 3, 2, 3)
    assert not input.grad.any()


def test_roi_align_has_no_maximum():
    with pytest.raises(NotImplementedError, match="pool_mode='avg'"):
        ops.RoIAlign(2, pool_mode='max')(torch.randn(2, 3, 6, 7), ROIS.float())


# Convolutions


class Geometry(NamedTuple):
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    deform_groups: int = 1


def mmcv_sample(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(C,) value of the image (C, H, W): nothing, with no gradient, from -1 and H or W on."""
    height, width = image.shape[1:]
    value = image[:, 0, 0] * 0
    if y <= -1 or y >= height or x <= -1 or x >= width:
        return value
    top, left = math.floor(y.item()), math.floor(x.item())
    for i, wy in ((top, top + 1 - y), (top + 1, y - top)):
        for j, wx in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= i < height and 0 <= j < width:
                value = value + image[:, i, j] * wy * wx
    return value


def mmcv_deform_conv(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """A deformable convolution by the index arithmetic of mmcv's kernel, on flat memory."""
    stride, padding, dilation, groups, deform_groups = geometry
    kernel = weight.shape[2:]
    sides = zip(input.shape[2:], kernel, stride, padding, dilation)
    rows, columns = ((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides)
    taps = [*enumerate(itertools.product(*map(range, kernel)))]
    outputs = []
    for image, offsets, masks in zip(input, offset.flatten(1), mask.flatten(1)):
        values = []
        for group, channels in enumerate(image.chunk(deform_groups)):
            for (tap, (i, j)), h, w in itertools.product(taps, range(rows), range(columns)):
                base = group * len(taps) + tap
                y = h * stride[0] - padding[0] + i * dilation[0]
                y = y + offsets[(2 * base * rows + h) * columns + w]
                x = w * stride[1] - padding[1] + j * dilation[1]
                x = x + offsets[((2 * base + 1) * rows + h) * columns + w]
                values.append(mmcv_sample(channels, y, x) * masks[(base * rows + h) * columns + w])
        samples = torch.stack(values).view(deform_groups, len(taps), rows, columns, -1)
        sampled = samples.permute(0, 4, 1, 2, 3).flatten(0, 1)  # (C_in, taps, rows, columns)
        both = sampled.unflatten(0, (groups, -1)), weight.flatten(2).unflatten(0, (groups, -1))
        outputs.append(torch.einsum('gcthw,goct->gohw', *both).flatten(0, 1))
    return torch.stack(outputs) + (0 if bias is None else bias[:, None, None])


def deform_inputs(geometry: Geometry, spread: float) -> list[Tensor]:
    """Input, offset, mask, weight and bias for an output of (2, 6, 4, 5)."""
    taps = geometry.deform_groups * 6
    shapes = [(2, 4, 5, 5), (2, 2 * taps, 4, 5), (2, taps, 4, 5), (6, 4 // geometry.groups, 3, 2)]
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in (*shapes, (6,))]
    inputs[1] *= spread
    return inputs


GEOMETRY = Geometry(stride=(2, 1), padding=(2, 1), dilation=(1, 2))
GROUPS = pytest.mark.parametrize(
    'geometry',
    [
        GEOMETRY._replace(groups=groups, deform_groups=deform_groups)
        for groups, deform_groups in ((1, 1), (2, 1), (1, 2), (2, 4))
    ],
)


@GROUPS
def test_deform_conv(geometry: Geometry):
    input, offset, mask, weight, _ = deform_inputs(geometry, spread=2)
    assert_same_with_grads(
        lambda x, o, w: ops.deform_conv2d(x, o, w, *geometry),
        lambda x, o, w: mmcv_deform_conv(x, o, torch.ones_like(mask), w, None, geometry),
        [input, offset, weight],
    )


@GROUPS
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_deform_conv(geometry: Geometry, with_bias: bool):
    inputs = deform_inputs(geometry, spread=2)
    assert_same_with_grads(
        lambda x, o, m, w, b=None: ops.modulated_deform_conv2d(x, o, m, w, b, *geometry),
        lambda x, o, m, w, b=None: mmcv_deform_conv(x, o, m, w, b, geometry),
        inputs if with_bias else inputs[:4],
    )


def test_deform_conv_without_offset_is_a_convolution():
    input, offset, mask, weight, bias = deform_inputs(GEOMETRY, spread=0)
    expected = F.conv2d(input, weight, bias, *GEOMETRY[:3])
    masked = (input, offset, torch.ones_like(mask), weight, bias)
    torch.testing.assert_close(ops.modulated_deform_conv2d(*masked, *GEOMETRY), expected)
    torch.testing.assert_close(mmcv_deform_conv(*masked, GEOMETRY), expected)
    actual = ops.deform_conv2d(input, offset, weight, *GEOMETRY) + bias[:, None, None]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('spread', [0, 3])
@pytest.mark.parametrize('deform_groups', [1, 2])
def test_offsets_get_no_gradient_at_the_border_and_beyond(spread: int, deform_groups: int):
    geometry = Geometry(deform_groups=deform_groups)
    input, weight = torch.randn(2, 4, 5, 4).double(), torch.randn(3, 4, 3, 3).double()
    # Whole numbers: of a zero-initialised layer, the samples of the padding are at -1 and H or W.
    offset = torch.randint(-spread, spread + 1, (2, 18 * deform_groups, 5, 4)).double()
    mask = torch.rand(2, 9 * deform_groups, 5, 4).double()
    assert_same_with_grads(
        lambda x, o, m, w: ops.modulated_deform_conv2d(x, o, m, w, None, *geometry),
        lambda x, o, m, w: mmcv_deform_conv(x, o, m, w, None, geometry),
        [input, offset, mask, weight],
    )
    assert_same_with_grads(
        lambda x, o, w: ops.deform_conv2d(x, o, w, *geometry),
        lambda x, o, w: mmcv_deform_conv(x, o, torch.ones_like(mask), w, None, geometry),
        [input, offset, weight],
    )


@pytest.mark.parametrize('deform_groups', [1, 2])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_larger_offset_maps(deform_groups: int, memory_format: torch.memory_format):
    both = torch.randn(2, 27 * deform_groups, 6, 7).double().to(memory_format=memory_format)
    sizes = (18 * deform_groups, 9 * deform_groups)
    geometry = Geometry(stride=(2, 2), deform_groups=deform_groups)
    assert_same_with_grads(
        lambda x, b, w: ops.modulated_deform_conv2d(x, *b.split(sizes, 1), w, None, *geometry),
        lambda x, b, w: mmcv_deform_conv(x, *b.split(sizes, 1), w, None, geometry),
        [torch.randn(2, 4, 5, 6).double(), both, torch.randn(3, 4, 3, 3).double()],
    )


@pytest.mark.parametrize(('offsets', 'masks'), [((4, 5), (5, 5)), ((5, 5), (2, 2))])
def test_smaller_offset_maps_are_refused(offsets: tuple[int, int], masks: tuple[int, int]):
    conv = ops.ModulatedDeformConv2d(4, 3, 3, padding=1)
    with pytest.raises(ValueError, match=r'too few for an output of \(5, 5\)'):
        conv(torch.randn(2, 4, 5, 5), torch.zeros(2, 18, *offsets), torch.zeros(2, 9, *masks))


def dyhead() -> torch.nn.Module:
    necks = pytest.importorskip('mmdet.models.necks')
    return necks.DyHead(4, 16, num_blocks=1, zero_init_offset=False)


def glip() -> torch.nn.Module:
    head = pytest.importorskip('mmdet.models.dense_heads.atss_vlfusion_head')
    conv = partial(head.Conv3x3Norm, use_dcn=True, norm_type=['gn', 2])
    layer = head.DyConv(conv, 4, 4, use_dcn=True)
    layer.forward = lambda xs: head.DyConv.forward(layer, dict(visual=xs, lang=None))['visual']
    return layer


def forward(conv: ops.ModulatedDeformConv2d, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    geometry = Geometry(stride=conv.stride)
    return mmcv_deform_conv(x, offset, mask, conv.weight, conv.bias, geometry)


@pytest.mark.parametrize('make', [dyhead, glip])
def test_offsets_of_another_level(make: Callable, monkeypatch: pytest.MonkeyPatch):
    net = make().double()
    for parameter in net.parameters():  # with norms as they start, a ReLU sits on its kink
        torch.nn.init.normal_(parameter, std=0.3)
    maps = [torch.randn(2, 4, *size).double().requires_grad_() for size in ((6, 5), (3, 3), (2, 2))]
    inputs = [*maps, *(p for p in net.parameters() if p.requires_grad)]
    outputs, grads = [], []
    for _ in range(2):
        outputs.append(net(maps))
        loss = sum((y.square() * torch.arange(y.numel()).view_as(y)).sum() for y in outputs[-1])
        grads.append(torch.autograd.grad(loss, inputs, allow_unused=True))
        monkeypatch.setattr(ops.ModulatedDeformConv2d, 'forward', forward)
    torch.testing.assert_close(list(outputs[0]), list(outputs[1]))
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('layer', [ops.DeformConv2dPack, ops.ModulatedDeformConv2dPack])
def test_deform_conv_in_half_precision(layer: type[torch.nn.Module], dtype: torch.dtype):
    conv = layer(4, 6, 3, padding=1)
    torch.nn.init.normal_(conv.conv_offset.weight, std=0.1)
    input = torch.randn(2, 4, 5, 5)
    expected = conv(input)
    with torch.autocast('cpu', dtype):
        actual = conv(input)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.float(), expected, rtol=0.1, atol=0.1)
    actual.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in conv.parameters())


def test_multi_scale_deformable_attention():
    module = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    shapes = torch.tensor([[4, 5], [2, 3]])
    value = torch.randn(2, 26, 2, 4, dtype=torch.float64)
    locations = torch.rand(2, 3, 2, 2, 4, 2, dtype=torch.float64)
    weights = torch.rand(2, 3, 2, 2, 4, dtype=torch.float64)
    starts = torch.tensor([0, 20])
    assert_same_with_grads(
        lambda v, x, w: module.MultiScaleDeformableAttnFunction.apply(
            v, shapes, starts, x, w, 64
        ).sum(1),
        lambda v, x, w: module.multi_scale_deformable_attn_pytorch(v, shapes, x, w).sum(1),
        [value, locations, weights],
    )


# Focal loss

TARGETS = torch.tensor([0, 3, 4, 1, 2, 4, 0])  # 4 is the background


def plain_sigmoid_focal_loss(
    logits: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    truth = F.one_hot(TARGETS, 5)[:, :4].double()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    p = logits.sigmoid()
    loss = cross_entropy * torch.where(truth > 0, alpha * (1 - p) ** gamma, (1 - alpha) * p**gamma)
    return loss if weight is None else loss * torch.cat([weight, torch.ones(1)])[TARGETS][:, None]


@pytest.mark.parametrize('weight', [None, torch.tensor([0.5, 2.0, 3.0, 0.1]).double()])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_sigmoid_focal_loss(weight: Tensor | None, gamma: float, reduction: str):
    reduce = {'none': lambda x: x, 'mean': lambda x: x.sum() / 7, 'sum': Tensor.sum}[reduction]
    assert_same_with_grads(
        lambda x: ops.sigmoid_focal_loss(x, TARGETS, gamma, 0.3, weight, reduction),
        lambda x: reduce(plain_sigmoid_focal_loss(x, weight, gamma, 0.3)),
        [torch.randn(7, 4, dtype=torch.float64) * 3],
    )


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_focal_loss_of_extreme_logits_is_finite(gamma: float, dtype: torch.dtype):
    logits = torch.tensor([[200.0, -200.0, 0.0, 20.0]], dtype=dtype).repeat(7, 1).requires_grad_()
    value = ops.sigmoid_focal_loss(logits, TARGETS, gamma, 0.25, None, 'sum')
    value.backward()
    assert value.dtype == logits.grad.dtype == dtype
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_focal_loss_of_no_sample():
    logits = torch.zeros(0, 4, requires_grad=True)
    targets = torch.zeros(0, dtype=torch.long)
    ops.sigmoid_focal_loss(logits, targets, 2.0, 0.25, None, 'sum').backward()
    assert logits.grad.shape == (0, 4)
