"""Drawing keypoints with numpy 2.4 and newer.

Needed by: mmpose <= 1.3.2, whose visualizers give a circle's radius to ``int()`` as an array of
one number. numpy 2.4 refuses this, so that the first picture of a prediction ends a training.
"""

from __future__ import annotations

from functools import wraps
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import

MODULE = 'mmpose.visualization.opencv_backend_visualizer'


def reason() -> str | None:
    if find_spec('mmpose') is None or find_spec('numpy') is None:
        return None
    numpy = metadata.version('numpy')
    refuses = tuple(map(int, numpy.split('.')[:2])) >= (2, 4)
    return f'mmpose gives an array to int(), which numpy {numpy} refuses' if refuses else None


def install() -> None:
    after_import(MODULE, _draw_with_numbers)


def _draw_with_numbers(module: ModuleType) -> None:
    original = module.OpencvBackendVisualizer.draw_circles
    if hasattr(original, 'takes_numbers'):
        return

    @wraps(original)
    def draw_circles(self: Any, center: Any, radius: Any, *args: Any, **kwargs: Any) -> Any:
        if self.backend == 'opencv' and hasattr(radius, 'item'):  # matplotlib takes arrays alone
            radius = radius.item()
        return original(self, center, radius, *args, **kwargs)

    draw_circles.__dict__['takes_numbers'] = True
    module.OpencvBackendVisualizer.draw_circles = draw_circles
