"""From the tensors of a head to results of fixed shapes, as part of a graph.

Each decoder is a module: ``merge`` averages what a head returns for images and their mirror
images, and ``forward`` takes the tensors of the head. ``outputs`` names what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Maps = tuple[Tensor, ...]


class Decoder(nn.Module):
    """The base of all.

    Attributes:
        outputs: Names of what it returns.
        takes_head: Whether it takes what the head returns, and not the feature maps of the neck.

    Args:
        flips: Indices of the joints in a mirror image; empty if nothing is mirrored.
    """

    outputs: Sequence[str]
    takes_head = True

    def __init__(self, flips: Sequence[int] = ()) -> None:
        super().__init__()
        self.flips = list(flips)

    def merge(self, maps: Maps, mirrored: Maps) -> Maps:
        raise NotImplementedError(f'{type(self).__name__} decodes no mirror images')


class Probabilities(Decoder):
    """Logits (N, C) to ``probabilities`` (N, C)."""

    outputs = ('probabilities',)

    def forward(self, maps: Maps, _: Sequence[int]) -> Maps:
        return (maps[-1].softmax(1),)


class Labels(Decoder):
    """Logits (N, C, h, w) to the ``labels`` (N, H, W) of the pixels, uint8 for up to 256 classes.

    It also returns the ``logits``, from which labels of other sizes are made.

    Args:
        align_corners: Of the resizing, as in :func:`torch.nn.functional.interpolate`.
        probabilities: Return ``probabilities`` (N, C, H, W) too.
    """

    def __init__(self, align_corners: bool = False, probabilities: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.outputs = ['labels', 'logits', *(['probabilities'] if probabilities else [])]

    def forward(self, maps: Maps, size: Sequence[int]) -> Maps:
        logits = maps[-1]
        large = F.interpolate(
            logits, tuple(size), mode='bilinear', align_corners=self.align_corners
        )
        labels = large.argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)
        more = (large.softmax(1),) if 'probabilities' in self.outputs else ()
        return (labels, logits, *more)


class Joints(Decoder):
    """The base of those that return ``keypoints`` (N, K, 2), in pixels of the input, and
    ``scores`` (N, K).
    """

    outputs = ('keypoints', 'scores')


class Heatmaps(Joints):
    """Heatmaps (N, K, h, w): the highest pixel, refined as mmpose's MSRAHeatmap does.

    Args:
        size: Width and height of the input in pixels.
        shift: Whether mirrored heatmaps move right by a pixel.
        kernel: Side of DARK's Gaussian in pixels (https://arxiv.org/abs/1910.06278); without it,
            joints move a quarter of a pixel towards the higher neighbour.
        flips: As above.
    """

    line: Tensor
    lowest, highest = 1e-10, float('inf')  # of a heatmap before its logarithm

    def __init__(
        self,
        size: tuple[int, int],
        shift: bool = False,
        kernel: int | None = None,
        flips: Sequence[int] = (),
    ) -> None:
        super().__init__(flips)
        self.size, self.shift = size, shift
        self.blurs = kernel is not None
        line = cv2.getGaussianKernel(kernel or 1, 0)  # OpenCV's blur is this one, across and down
        self.register_buffer('line', torch.from_numpy(line).float())

    def merge(self, maps: Maps, mirrored: Maps) -> Maps:
        y = mirrored[-1].flip(-1)[:, self.flips]
        if self.shift:
            y = torch.cat([y[..., :1], y[..., :-1]], -1)
        return ((maps[-1] + y) * 0.5,)

    def forward(self, maps: Maps, _: Sequence[int]) -> Maps:
        heat = maps[-1]
        n, k, h, w = heat.shape
        scores, index = heat.reshape(n, k, h * w).max(-1)
        x, y = index % w, torch.div(index, w, rounding_mode='floor')
        place = torch.stack([x, y], -1) + self.refine(heat, x, y)
        place = torch.where((scores > 0)[..., None], place, -1.0)
        return (self.scale(place, w, h), scores)

    def scale(self, place: Tensor, w: int, h: int) -> Tensor:
        """From pixels of a heatmap to those of the input."""
        return place * place.new_tensor([self.size[0] / w, self.size[1] / h])

    def refine(self, heat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """How far the joints are from their highest pixels (x, y), (N, K, 2) in pixels."""
        h, w = heat.shape[2:]
        if not self.blurs:
            around = neighbours(heat, x, y)
            step = torch.stack([around(1, 0) - around(-1, 0), around(0, 1) - around(0, -1)], -1)
            inside = [(x > 1) & (x < w - 1) & (y > 0), (y > 1) & (y < h - 1) & (x > 0)]
            return step.sign() * 0.25 * torch.stack(inside, -1)
        at = neighbours(self.logarithm(heat), x, y)
        dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
        dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
        dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
        dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
        deep = (x > 1) & (x < w - 2) & (y > 1) & (y < h - 2)
        return newton(dx, dy, dxx, dyy, dxy).where(deep[..., None], 0.0)

    def logarithm(self, heat: Tensor) -> Tensor:
        """The logarithm of the blurred heatmaps, each with the maximum that it had."""
        n, k, h, w = heat.shape
        line = self.line.reshape(1, 1, 1, -1)
        half = line.shape[3] // 2
        single = heat.reshape(n * k, 1, h, w)
        blurred = F.conv2d(single, line, padding=(0, half))
        blurred = F.conv2d(blurred, line.transpose(2, 3), padding=(half, 0)).reshape(n, k, h, w)
        blurred = blurred * (heat.amax((2, 3), True) / blurred.amax((2, 3), True))
        return blurred.clamp(self.lowest, self.highest).log()


class UdpHeatmaps(Heatmaps):
    """Heatmaps refined as mmpose's UDPHeatmap does (https://arxiv.org/abs/1911.07524)."""

    lowest, highest = 1e-3, 50.0

    def scale(self, place: Tensor, w: int, h: int) -> Tensor:
        return place * place.new_tensor([self.size[0] / (w - 1), self.size[1] / (h - 1)])

    def refine(self, heat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        at = neighbours(self.logarithm(heat), x, y)
        here = at(0, 0)
        dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
        dxx, dyy = at(1, 0) - 2 * here + at(-1, 0), at(0, 1) - 2 * here + at(0, -1)
        sides = at(1, 0) + at(0, 1) + at(-1, 0) + at(0, -1)
        dxy = 0.5 * (at(1, 1) + at(-1, -1) + 2 * here - sides)
        tiny = torch.finfo(torch.float32).eps
        return newton(dx, dy, dxx + tiny, dyy + tiny, dxy)


def neighbours(maps: Tensor, x: Tensor, y: Tensor) -> Callable[[int, int], Tensor]:
    """Gives the values (N, K) of maps (N, K, h, w) around pixels; the border goes on outside."""
    h, w = maps.shape[2:]
    flat = maps.flatten(2)

    def value(right: int, down: int) -> Tensor:
        # Clamped instead of padded: the onnx package cannot bring padding below opset 18.
        index = (y + down).clamp(0, h - 1) * w + (x + right).clamp(0, w - 1)
        return flat.gather(2, index[..., None])[..., 0]

    return value


def newton(dx: Tensor, dy: Tensor, dxx: Tensor, dyy: Tensor, dxy: Tensor) -> Tensor:
    """The step to the extremum of a quadric, (N, K, 2); none where it has no single one."""
    det = dxx * dyy - dxy * dxy
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1)
    return torch.where(det[..., None] != 0, step / det[..., None], 0.0)


class SimCC(Joints):
    """Vectors (N, K, ratio * W) and (N, K, ratio * H): the highest place of each.

    Args:
        ratio: Places in a pixel of the input.
        flips: As above.
    """

    def __init__(self, ratio: float, flips: Sequence[int] = ()) -> None:
        super().__init__(flips)
        self.ratio = ratio

    def merge(self, maps: Maps, mirrored: Maps) -> Maps:
        x, y = (vectors[:, self.flips] for vectors in mirrored)
        return ((maps[0] + x.flip(-1)) * 0.5, (maps[1] + y) * 0.5)

    def forward(self, maps: Maps, _: Sequence[int]) -> Maps:
        (high_x, x), (high_y, y) = (vectors.max(-1) for vectors in maps)
        scores = torch.minimum(high_x, high_y)
        place = torch.stack([x, y], -1).where((scores > 0)[..., None], -1)
        return (place / self.ratio, scores)


class Regression(Joints):
    """Coordinates and their deviations (N, K, 4), in parts of the input.

    Args:
        size: Width and height of the input in pixels.
        shift: Whether mirrored joints move left by a pixel.
        flips: As above.
    """

    def __init__(
        self, size: tuple[int, int], shift: bool = True, flips: Sequence[int] = ()
    ) -> None:
        super().__init__(flips)
        self.size, self.shift = size, shift

    def merge(self, maps: Maps, mirrored: Maps) -> Maps:
        x, rest = mirrored[-1][:, self.flips].split([1, 3], -1)
        x = 1 - x - (1 / self.size[0] if self.shift else 0)
        return tuple(
            (own + other) * 0.5
            for own, other in zip(split(maps[-1]), split(torch.cat([x, rest], -1)))
        )

    def forward(self, maps: Maps, _: Sequence[int]) -> Maps:
        place, deviation = maps if len(maps) == 2 else split(maps[-1])
        return (place * place.new_tensor(self.size), (1 - deviation).mean(-1))


def split(joints: Tensor) -> Maps:
    return joints[..., :2], joints[..., 2:].sigmoid()


DECODERS: Mapping[str, Callable[..., Decoder]] = {
    'probabilities': Probabilities,
    'labels': Labels,
    'heatmaps': Heatmaps,
    'udp_heatmaps': UdpHeatmaps,
    'simcc': SimCC,
    'regression': Regression,
}
