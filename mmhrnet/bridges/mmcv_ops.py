"""The kernels behind ``mmcv.ops`` on torchvision and plain torch, for CPU and GPU.

Python loads this file as ``mmcv._ext`` (see ``mmcv_ext``). Names, argument names and the tensors
filled in place are those of the wrappers in ``mmcv/ops/*.py``. Results follow the kernels in
``mmcv/ops/csrc`` except where those overflow or read outside a buffer. Half precision is computed
in float32 and rounded once, at the end.

Covered is what the hosts' HRNet configs, their usual heads and necks, and detectors of the DETR
family use: NMS, soft-NMS, RoIAlign by averages, both deformable convolutions, multi-scale
deformable attention and the sigmoid focal loss. Every other op can be imported, and raises
MissingOpError when it is called.
"""
# ruff: noqa: ARG001 - mmcv's wrappers also pass scratch buffers, which torchvision does not need

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from mmhrnet.errors import UserError

kernels = torch.ops.torchvision

NEEDS_COMPILED_MMCV = (
    'needs the compiled ops of mmcv, which are absent here: run `pip uninstall mmcv-lite`, then '
    '`mim install mmcv`, or `pip install mmcv --no-build-isolation` where there is a compiler'
)


class MissingOpError(UserError, NotImplementedError):
    """An op that only a compiled mmcv has."""


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing(*args: object, **kwargs: object) -> NoReturn:
        raise MissingOpError(f'the mmcv op {name!r} {NEEDS_COMPILED_MMCV}')

    return missing


def get_compiler_version() -> str:
    return f'none (mmhrnet, on torchvision {torchvision.__version__})'


def get_compiling_cuda_version() -> str:
    return 'not available'


def _working(*tensors: Tensor) -> list[Tensor]:
    """All in float64 where the first is, else in float32."""
    dtype = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
    return [tensor.to(dtype) for tensor in tensors]


# Non-maximum suppression


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes kept, by falling score.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: a box with more than this overlap with a better one is dropped.
        offset: 1 where x2, y2 is the last pixel inside the box, 0 where it is the edge.
    """
    boxes, scores = _working(boxes, scores)
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    # As a float64, 0.6 would also drop a float32 IoU of exactly 0.6.
    threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()
    return kernels.nms(boxes, scores, threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (arXiv 1704.04503): (K,) indices of the boxes kept, in the order of ``dets``.

    Args:
        boxes, scores, offset: as in ``nms``.
        dets: (N, 5), its first K rows are filled with boxes and lowered scores.
        iou_threshold: overlap from which on the naive and the linear method lower a score.
        sigma: width of the gaussian method.
        min_score: a box whose lowered score falls below is dropped.
        method: 0 naive, 1 linear, 2 gaussian.
    """
    boxes, scores = _working(boxes, scores)
    corners = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1).numpy()
    lowered = scores.detach().clone().numpy()
    order: np.ndarray = np.arange(len(boxes))
    kept = []
    while len(order):
        best = lowered[order].argmax()
        kept.append(order[best])
        order[best] = order[0]
        order = order[1:]
        iou = _iou(corners[kept[-1]], corners[order])
        lowered[order] *= _soft_nms_factor(iou, iou_threshold, sigma, method)
        order = _drop_by_swaps(order, lowered[order] < min_score)
    keep = torch.tensor(kept, dtype=torch.long)
    dets[: len(keep)] = torch.cat([boxes, torch.from_numpy(lowered)[:, None]], dim=1)[keep]
    return keep


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N,) overlaps of a box (4,) with boxes (N, 4); 0 where both have no area."""
    size = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    overlap = size.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)


def _soft_nms_factor(
    iou: np.ndarray, iou_threshold: float, sigma: float, method: int
) -> np.ndarray:
    if method == 2:
        return np.exp(-(iou**2) / sigma)
    return np.where(iou >= iou_threshold, 1 - iou if method == 1 else 0, 1)


def _drop_by_swaps(order: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Each dropped entry makes room for the last entry left, so that ties fall as in mmcv."""
    count = len(order) - drop.sum()
    holes = drop[:count].nonzero()[0]
    order[holes] = order[count:][~drop[count:]][::-1]
    return order[:count]


# Pooling of regions of interest, rois (K, 5) being image index, x1, y1, x2, y2


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills output (K, C, aligned_height, aligned_width) from input (N, C, H, W)."""
    if pool_mode != 1:
        raise MissingOpError(
            f"RoIAlign with pool_mode='max' {NEEDS_COMPILED_MMCV}; or use pool_mode='avg'"
        )
    size = (aligned_height, aligned_width)
    input, rois = _working(input, rois)
    output.copy_(kernels.roi_align(input, rois, spatial_scale, *size, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills grad_input (N, C, H, W)."""
    size = (aligned_height, aligned_width, *grad_input.shape)
    grad_output, rois = _working(grad_output, rois)
    grad_input.copy_(
        kernels._roi_align_backward(
            grad_output, rois, spatial_scale, *size, sampling_ratio, aligned
        )
    )


# Deformable convolution. mmcv names the geometry differently in its two versions. The rules for
# offset maps and for gradients are those of mmcv's modulated_deform_conv.cpp and *_kernel.cuh.

GROUPS = ('group', 'deformable_group')
V1_GEOMETRY = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', *GROUPS)
V2_GEOMETRY = ('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', *GROUPS)


def _deform_inputs(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> list[Tensor]:
    """torchvision's five tensors, with stand-ins for an absent mask or bias."""
    mask = input.new_zeros(len(input), 1) if mask is None else mask
    bias = input.new_zeros(len(weight)) if bias is None else bias
    return _working(input, weight, offset, mask, bias)


def _as_read(values: Tensor, output: Tensor) -> Tensor:
    """Offsets or masks (N, C, H, W) as mmcv's kernel reads them for an output (N, C_out, Ho, Wo).

    It looks at no height and width but those of the output: of each image's contiguous values, it
    takes the first C * Ho * Wo for a map (C, Ho, Wo). DyHead and GLIP give the convolution of the
    next lower level the larger map of this one, and were trained so.

    Raises:
        ValueError: There are fewer values, where mmcv reads those of something else.
    """
    channels, size = values.shape[1], output.shape[2:]
    if values.shape[2:].numel() < size.numel():
        raise ValueError(
            f'Offsets or masks of shape {tuple(values.shape)} are too few for an output of '
            f'{tuple(size)}'
        )
    return values.flatten(1)[:, : channels * size.numel()].unflatten(1, (channels, *size))


def _fill(buffer: Tensor, grad: Tensor) -> None:
    """Fills the gradient of what ``_as_read`` has read; values that were not read get 0."""
    unread = buffer.shape[1:].numel() - grad.shape[1:].numel()
    buffer.copy_(F.pad(grad.flatten(1), (0, unread)).view(buffer.shape))


def _conv_grads(
    grad_output: Tensor, inputs: list[Tensor], geometry: list[int], use_mask: bool
) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias."""
    grads = kernels._deform_conv2d_backward(*_working(grad_output), *inputs, *geometry, use_mask)
    input, weight, offset = inputs[:3]
    taps = offset.unflatten(1, (-1, *weight.shape[2:], 2))  # (N, groups, kH, kW, 2, Ho, Wo)
    outside = _outside(taps, input.shape[2:], geometry)
    grads[2].view(taps.shape).masked_fill_(outside.unsqueeze(4), 0)
    return grads


def _outside(taps: Tensor, size: Sequence[int], geometry: list[int]) -> Tensor:
    """Samples (N, groups, kH, kW, Ho, Wo) whose offsets get no gradient.

    torchvision gives those at exactly -1 the slope towards the image. Where offsets start from 0,
    they are a whole border of the first iteration.
    """
    kernel, output = taps.shape[2:4], taps.shape[5:]
    rows, columns = (
        torch.arange(k, device=taps.device)[:, None] * dilation
        + torch.arange(count, device=taps.device) * stride
        - pad
        for k, count, stride, pad, dilation in zip(
            kernel, output, geometry[0:2], geometry[2:4], geometry[4:6], strict=True
        )
    )
    y = rows[:, None, :, None] + taps[..., 0, :, :]
    x = columns[:, None, :] + taps[..., 1, :, :]
    return (y <= -1) | (y >= size[0]) | (x <= -1) | (x >= size[1])


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **options: int,
) -> None:
    """Fills output (N, C_out, H_out, W_out); offset is (N, 2 * groups * kH * kW, H_out, W_out)."""
    geometry = [options[name] for name in V1_GEOMETRY]
    output.copy_(kernels.deform_conv2d(*_deform_inputs(input, weight, offset), *geometry, False))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **options: int,
) -> None:
    """Fills grad_input and grad_offset."""
    geometry = [options[name] for name in V1_GEOMETRY]
    grads = _conv_grads(grad_output, _deform_inputs(input, weight, offset), geometry, False)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **options: int,
) -> None:
    """Adds ``scale`` times its gradient to grad_weight."""
    geometry = [options[name] for name in V1_GEOMETRY]
    # The gradient does not depend on the weight, only on its shape.
    grads = kernels._deform_conv2d_backward(
        *_working(grad_output), *_deform_inputs(input, grad_weight, offset), *geometry, False
    )
    grad_weight.add_(grads[1], alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **options: int,
) -> None:
    """Fills output (N, C_out, H_out, W_out); mask is (N, groups * kH * kW, H_out, W_out).

    Offsets and masks may be larger: see ``_as_read``.
    """
    geometry = [options[name] for name in V2_GEOMETRY]
    offset, mask = _as_read(offset, output), _as_read(mask, output)
    inputs = _deform_inputs(input, weight, offset, mask, bias if with_bias else None)
    output.copy_(kernels.deform_conv2d(*inputs, *geometry, True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **options: int,
) -> None:
    """Fills the five gradients; grad_bias only with a bias."""
    geometry = [options[name] for name in V2_GEOMETRY]
    offset, mask = _as_read(offset, grad_output), _as_read(mask, grad_output)
    inputs = _deform_inputs(input, weight, offset, mask, bias if with_bias else None)
    grads = _conv_grads(grad_output, inputs, geometry, True)
    grad_input.copy_(grads[0])
    grad_weight.copy_(grads[1])
    _fill(grad_offset, grads[2])
    _fill(grad_mask, grads[3])
    if with_bias:
        grad_bias.copy_(grads[4])


# Multi-scale deformable attention


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """(N, queries, channels), by the plain torch version that mmcv runs on the CPU."""
    # mmcv.ops is what imports this file.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(
        value, value_spatial_shapes, sampling_locations, attention_weights
    )


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fills the three gradients."""
    value, locations, weights = (
        tensor.detach().requires_grad_()
        for tensor in (value, sampling_locations, attention_weights)
    )
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            value, value_spatial_shapes, value_level_start_index, locations, weights, im2col_step
        )
    grads = torch.autograd.grad(output, (value, locations, weights), grad_output)
    for buffer, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        buffer.copy_(grad)


# Focal loss (arXiv 1708.02002). A target that is no class, such as C or -1, is background.


def _class_weight(weight: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """(N,) weight of each target's class: 1 for the background, or where weight is empty."""
    if weight.numel() == 0:
        return weight.new_ones(len(target))
    is_class = (target >= 0) & (target < num_classes)
    return torch.where(is_class, weight[target.clamp(0, num_classes - 1)], 1.0)


def _sigmoid_focal_terms(
    input: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sign (+1 at the target's class, else -1), signed logits and factors, (N, C) each."""
    input, weight = _working(input, weight)
    labels = torch.arange(input.shape[1], device=input.device)
    positive = (target[:, None] == labels).to(input.dtype)
    sign = 2 * positive - 1
    factor = alpha * positive + (1 - alpha) * (1 - positive)
    return sign, sign * input, factor * _class_weight(weight, target, input.shape[1])[:, None]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fills output (N, C) from logits (N, C), targets (N,) and class weights (C,) or (0,).

    The logarithm is taken of the logits, not of probabilities that have been rounded to 0 or 1.
    """
    _, logits, factor = _sigmoid_focal_terms(input, target, weight, alpha)
    output.copy_(-factor * torch.sigmoid(-logits) ** gamma * F.logsigmoid(logits))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fills grad_input (N, C)."""
    sign, logits, factor = _sigmoid_focal_terms(input, target, weight, alpha)
    p, q = torch.sigmoid(logits), torch.sigmoid(-logits)
    grad_input.copy_(sign * factor * q**gamma * (gamma * p * F.logsigmoid(logits) - q))
