"""Upsampled maps added to a larger one, without the memory traffic of whole upsampled maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BAND_BYTES = 4 << 20  # of the larger map at a time


def add_upsampled(
    y: Tensor, maps: Sequence[Tensor], align_corners: bool, banded: bool, relu: bool
) -> Tensor:
    """``y`` plus all maps upsampled bilinearly to its size, then ReLU if asked for.

    Args:
        y: ``(N, C, H, W)``, overwritten.
        maps: ``(N, C, h, w)`` each.
        align_corners: As in :func:`torch.nn.functional.interpolate`.
        banded: Go by bands of rows where that is exact: whole-number factors, no
            ``align_corners``, no gradient.
        relu: Apply ReLU to the sum.
    """
    plain = align_corners or torch.compiler.is_compiling() or torch.is_grad_enabled()
    factors = [0] if plain or not banded else [_factor(y, x) for x in maps]
    if not all(factors):
        for x in maps:
            y = y.add_(_bilinear(x, y.shape[2:], align_corners))
        return y.relu_() if relu else y
    for top, bottom in _bands(y, max(factors)):
        band = y[:, :, top:bottom]
        for x, factor in zip(maps, factors):
            band.add_(_upsampled_rows(x, factor, top, bottom))
        if relu:
            band.relu_()
    return y


def _bilinear(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    return F.interpolate(x, tuple(size), mode='bilinear', align_corners=align_corners)


def _factor(y: Tensor, x: Tensor) -> int:
    """The whole number by which both sides of x grow to those of y, or 0."""
    factor = y.shape[2] // x.shape[2]
    return factor if y.shape[2:] == torch.Size(factor * side for side in x.shape[2:]) else 0


def _bands(y: Tensor, factor: int) -> list[tuple[int, int]]:
    row = y[:, :, :1].numel() * y.element_size()
    rows = factor * max(1, BAND_BYTES // (row * factor))
    height = y.shape[2]
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def _upsampled_rows(x: Tensor, factor: int, top: int, bottom: int) -> Tensor:
    """Rows top to bottom of the upsampled map, from its rows there and one more on each side."""
    first, last = max(top // factor - 1, 0), min(bottom // factor + 1, x.shape[2])
    rows = x[:, :, first:last]
    size = (rows.shape[2] * factor, rows.shape[3] * factor)
    return _bilinear(rows, size, False)[:, :, top - first * factor : bottom - first * factor]


def nested_sum(
    terms: Sequence[Callable[[Tensor | None], Tensor]], sizes: Sequence[Sequence[int]]
) -> Tensor:
    """Nearest upsampling octave by octave: ``t_0 + up(t_1 + up(t_2 + ...))``.

    Args:
        terms: For each octave, highest resolution first, what makes its map plus what it is given.
        sizes: (H, W) of each octave.
    """
    y = terms[-1](None)
    for term, size in zip(terms[-2::-1], sizes[-2::-1]):
        y = term(F.interpolate(y, size, mode='nearest'))
    return y
