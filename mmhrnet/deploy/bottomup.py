"""From maps of a whole picture to the joints of its persons, as part of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmhrnet.deploy.decode import Decoder, Maps
from mmhrnet.deploy.detect import pick

if TYPE_CHECKING:
    from mmcv.ops import DeformConv2d
    from mmpose.models.heads.hybrid_heads.dekr_head import AdaptiveActivationBlock


class DEKR(Decoder):
    """Heatmaps (N, K + 1, h, w), of the joints and of the middle of persons, and for each pixel
    the way from a middle to its joints (N, 2 K, h, w), as mmpose's DEKRHead decodes them
    (https://arxiv.org/abs/2104.02300).

    It returns ``keypoints`` (N, M, K, 2) in pixels of the input, ``scores`` (N, M, K) and
    ``instance_scores`` (N, M), the mean of a person's joints in the heatmaps, which ranks those
    that suppression compares. Where there are fewer than M persons, zeros fill up.

    Args:
        scale: Pixels of the input for a pixel of the maps, across and down.
        kernel: Side of the square in which a middle is the highest, in pixels of the maps.
        count: The largest number of persons, M.
        threshold: A middle is higher than this.
        shift: Whether mirrored heatmaps move right by a pixel.
        rescore: Rates persons by their skeleton, mmpose's RescoreNet; none if it is None.
        skeleton: Pairs of joints, for it.
        flips: Indices of the joints in a mirror image; empty if nothing is mirrored.
    """

    outputs = ('keypoints', 'scores', 'instance_scores')

    def __init__(
        self,
        scale: tuple[float, float],
        kernel: int,
        count: int,
        threshold: float,
        shift: bool = False,
        rescore: nn.Module | None = None,
        skeleton: Sequence[tuple[int, int]] = (),
        flips: Sequence[int] = (),
    ) -> None:
        super().__init__(flips)
        self.scale, self.kernel, self.count = scale, kernel, count
        self.threshold, self.shift = threshold, shift
        self.rescore, self.skeleton = rescore, skeleton

    def merge(self, maps: Maps, mirrored: Maps) -> Maps:
        heat, ways = (y.flip(-1) for y in mirrored)
        heat = heat[:, [*self.flips, len(self.flips)]]
        if self.shift:
            heat = torch.cat([heat[..., :1], heat[..., :-1]], -1)
        x, y = ways.unflatten(1, (-1, 2))[:, self.flips].unbind(2)
        ways = torch.stack([-x, y], 2).flatten(1, 2)
        return ((maps[0] + heat) * 0.5, (maps[1] + ways) * 0.5)

    def forward(self, maps: Maps, size: Sequence[int]) -> Maps:
        heat, ways = (y.contiguous() for y in maps)
        middles, index = self.find_middles(heat[:, -1:])
        w = heat.shape[3]
        row = torch.div(index, w, rounding_mode='floor')
        start = torch.stack([index - row * w, row], -1)  # ONNX has no % of a free size
        way = pick(ways.flatten(2).transpose(1, 2), index).unflatten(2, (-1, 2))  # (N, M, K, 2)
        if self.flips:  # a mirrored map begins where the stride of the maps ends
            way = way + way.new_tensor([0.5, 0.0]) * (size[1] - w) / size[1]
        joints = start[:, :, None] + way
        values = sample(heat[:, :-1], joints)
        joints = joints * joints.new_tensor(self.scale)
        there = middles > self.threshold
        if self.rescore is not None:
            rates = self.rescore(joints.flatten(0, 1), values.flatten(0, 1), self.skeleton)
            middles = middles * torch.where(rates.isnan(), 0.0, rates).unflatten(0, there.shape)
        return (
            torch.where(there[..., None, None], joints, 0.0),
            torch.where(there[..., None], middles[..., None] * values, 0.0),
            torch.where(there, values.mean(-1), 0.0),
        )

    def find_middles(self, heat: Tensor) -> tuple[Tensor, Tensor]:
        """The highest peaks of heatmaps (N, 1, h, w) and their pixels, both (N, M)."""
        highest = F.max_pool2d(heat, self.kernel, 1, self.kernel // 2)
        peaks = (heat * (heat == highest)).flatten(1)
        # A small map has fewer than M pixels. ONNX cannot bring padding below opset 18.
        lowest = torch.full_like(peaks[:, :1], torch.finfo(peaks.dtype).min)
        best, index = torch.cat([peaks, lowest.expand(-1, self.count)], 1).topk(self.count)
        return best, index.clamp(max=peaks.shape[1] - 1)


def sample(heat: Tensor, joints: Tensor) -> Tensor:
    """The values (N, M, K) of heatmaps (N, K, h, w) at joints (N, M, K, 2).

    As in mmpose, the corners of a map are the outer ones of its pixels, but joints are scaled as
    if they were the middles.
    """
    (n, k, h, w), m = heat.shape, joints.shape[1]
    x, y = joints.unbind(-1)
    grid = torch.stack([x / (w - 1) * 2 - 1, y / (h - 1) * 2 - 1], -1)
    grid = grid.transpose(1, 2).reshape(n * k, 1, m, 2)
    values = F.grid_sample(
        heat.reshape(n * k, 1, h, w), grid, padding_mode='border', align_corners=False
    )
    return values.reshape(n, k, m).transpose(1, 2)


class Sampled(nn.Module):
    """A deformable convolution as bilinear sampling and plain convolutions, tap by tap.

    ONNX has an operator for it from opset 19 on, which ONNX Runtime does not run on a CPU.

    Args:
        conv: mmcv's.
    """

    taps: Tensor
    weights: Tensor

    def __init__(self, conv: DeformConv2d) -> None:
        super().__init__()
        self.groups, self.deform_groups, self.stride = conv.groups, conv.deform_groups, conv.stride
        lines = [torch.arange(count) for count in conv.kernel_size]
        taps = torch.cartesian_prod(*lines) * torch.tensor(conv.dilation)
        self.register_buffer('taps', taps - torch.tensor(conv.padding))  # (T, 2)
        weights = conv.weight.detach().flatten(2).permute(2, 0, 1)
        self.register_buffer('weights', weights[..., None, None])  # (T, out, in, 1, 1)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Maps (N, C, h, w) and offsets (N, 2 D T, H, W), down before across."""
        n, c, *sides = x.shape
        count, size = n * self.deform_groups, offset.shape[2:]
        x = x.contiguous().reshape(count, c // self.deform_groups, *sides)
        moves = offset.contiguous().reshape(count, len(self.taps), 2, *size)
        places = [self.places(moves[:, :, axis], axis, side) for axis, side in enumerate(sides)]
        grid = torch.stack(places[::-1], -1)
        parts = [F.grid_sample(x, one, align_corners=False) for one in grid.unbind(1)]
        sums = [
            F.conv2d(part.reshape(n, c, *size), weight, groups=self.groups)
            for part, weight in zip(parts, self.weights)
        ]
        return torch.stack(sums).sum(0)

    def places(self, moves: Tensor, axis: int, side: int) -> Tensor:
        """Where the taps lie along an axis, from -1 to 1, as :func:`grid_sample` takes them."""
        middles = torch.arange(moves.shape[2 + axis], device=moves.device) * self.stride[axis]
        middles = middles[:, None] if axis == 0 else middles
        return (2 * (moves + middles + self.taps[:, axis, None, None]) + 1) / side - 1


class Adapted(nn.Module):
    """mmpose's AdaptiveActivationBlock, DEKR's own, for maps of any size.

    Its product of matrices at each pixel, which torch.export takes for fixed sizes only, is a
    convolution.

    Args:
        block: The host's, whose parts this one shares.
    """

    weight: Tensor

    def __init__(self, block: AdaptiveActivationBlock) -> None:
        super().__init__()
        self.groups, self.find_matrix = block.groups, block.transform_matrix_conv
        self.conv, self.norm, self.act = Sampled(block.adapt_conv), block.norm, block.act
        grid = block.regular_matrix  # (3, 9): down and across of the taps, and ones
        weight = torch.einsum('jt,ab->tabj', grid, torch.eye(2).to(grid)).reshape(18, 6, 1, 1)
        self.register_buffer('weight', weight.repeat(self.groups, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        offset = F.conv2d(self.find_matrix(x), self.weight, groups=self.groups)
        return self.act(self.norm(self.conv(x, offset)) + x)


def sample_deformed(module: nn.Module) -> nn.Module:
    """Replaces the deformable convolutions of a model, in place."""
    for name, child in module.named_children():
        kind = REPLACED.get(type(child).__name__)
        setattr(module, name, kind(child) if kind else sample_deformed(child))
    return module


# By their names, because mmpose may be absent.
REPLACED: Mapping[str, Callable[..., nn.Module]] = {
    'DeformConv2d': Sampled,
    'AdaptiveActivationBlock': Adapted,
}
DECODERS = {'dekr': DEKR}
