"""Exporting pose estimators whose neck resizes maps, as that of DEKR does.

Needed by: mmpose <= 1.3.2, whose ``resize`` turns the sides of a ``torch.Size`` into numbers. A
graph that is traced through it has that one size, so no file has free sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import wrap

if TYPE_CHECKING:
    from torch import Tensor


def reason() -> str | None:
    return "mmpose's resize fixes the sizes of an export" if find_spec('mmpose') else None


def install() -> None:
    wrap('mmpose.models.necks.fmap_proc_neck', 'resize', resize_freely)


def resize_freely(
    original: Callable[..., Tensor],
    input: Tensor,
    size: Sequence[int] | None = None,
    *args: object,
    **kwargs: object,
) -> Tensor:
    return original(input, None if size is None else tuple(size), *args, **kwargs)
