"""Drawing keypoints with numpy 2.4 and newer.

Needed by: mmpose <= 1.3.2, whose visualizers give a circle's radius to ``int()`` as an array of
one number. numpy 2.4 refuses this, so that the first picture of a prediction ends a training.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import wrap

if TYPE_CHECKING:
    import numpy as np
    from mmpose.visualization.opencv_backend_visualizer import OpencvBackendVisualizer


def reason() -> str | None:
    if find_spec('mmpose') is None or find_spec('numpy') is None:
        return None
    numpy = metadata.version('numpy')
    refuses = tuple(map(int, numpy.split('.')[:2])) >= (2, 4)
    return f'mmpose gives an array to int(), which numpy {numpy} refuses' if refuses else None


def install() -> None:
    visualizer = 'mmpose.visualization.opencv_backend_visualizer'
    wrap(visualizer, 'OpencvBackendVisualizer.draw_circles', draw_with_numbers)


def draw_with_numbers(
    original: Callable[..., object],
    self: OpencvBackendVisualizer,
    center: np.ndarray,
    radius: np.ndarray | float,
    *args: object,
    **kwargs: object,
) -> object:
    if self.backend == 'opencv' and hasattr(radius, 'item'):  # matplotlib takes only arrays
        radius = radius.item()
    return original(self, center, radius, *args, **kwargs)
