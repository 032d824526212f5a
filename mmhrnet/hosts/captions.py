"""Words in and around pictures, written by MMEngine's own visualizer.

Pictures are RGB, (H, W, 3) uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from matplotlib.patches import Patch
from mmengine.visualization import Visualizer

BOX = dict(facecolor='black', alpha=0.6, edgecolor='none', pad=3)
POINT = 100 / 72  # pixels, at the resolution of MMEngine's figures
LINE = 1.8  # distance of lines, in heights of the letters
LETTER, SWATCH = 0.6, 3.8  # widths of a letter, and of a coloured patch with the space around it
INVISIBLE = '\u200b'


def note(picture: np.ndarray, text: str) -> np.ndarray:
    """Writes lines of text into the upper left corner of a picture."""
    canvas = Visualizer(image=picture)
    canvas.draw_texts(text, np.array([8, 8]), colors='white', bboxes=BOX)
    return canvas.get_image()


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Puts a line of text above a picture."""
    strip = _blank(picture, lines=1)
    center = np.array([strip.width / 2, strip.height / 2])
    strip.draw_texts(
        text,
        center,
        font_sizes=_points(picture),
        colors='black',
        vertical_alignments='center',
        horizontal_alignments='center',
    )
    return np.vstack([strip.get_image(), picture])


def legend(
    picture: np.ndarray,
    entries: Sequence[tuple[str, Sequence[int]]],
    longest: int,
    most: int,
) -> np.ndarray:
    """Puts a legend below a picture, whose height does not depend on the entries.

    Args:
        picture: What the legend explains.
        entries: Names and their colours, RGB.
        longest: Number of letters of the longest name that may come.
        most: Number of entries that may come.
    """
    points = _points(picture)
    width = (SWATCH + LETTER * longest) * points * POINT
    columns = max(1, int(picture.shape[1] / width))
    strip = _blank(picture, lines=ceil(most / columns))
    strip.ax_save.legend(
        handles=[
            Patch(facecolor=_share(colour), label=legend_label(name), edgecolor='gray')
            for name, colour in entries
        ],
        loc='center',
        ncols=columns,
        fontsize=points,
        frameon=False,
        handlelength=1.5,
        columnspacing=1.5,
        borderpad=0,
        borderaxespad=0,
    )
    return np.vstack([picture, strip.get_image()])


def legend_label(text: str) -> str:
    """Matplotlib skips labels that begin with an underscore, and fails on lone surrogates."""
    text = text.encode('utf-8', 'backslashreplace').decode()
    return f'{INVISIBLE}{text}' if text.startswith('_') else text


def _share(colour: Sequence[int]) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _points(picture: np.ndarray) -> int:
    """The size of letters that MMEngine takes for a picture, in points."""
    return int(max(sqrt(picture.shape[0] * picture.shape[1]) // 90, 10))


def _blank(picture: np.ndarray, lines: int) -> Visualizer:
    """A white strip as wide as a picture, with room for lines of text."""
    height = round((lines * LINE + 0.6) * _points(picture) * POINT)
    return Visualizer(image=np.full((height, picture.shape[1], 3), 255, np.uint8))
