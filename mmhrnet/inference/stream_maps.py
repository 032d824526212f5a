"""The maps of the parallel streams of HRNet, before and after every fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from mmhrnet.errors import ConfigError
from mmhrnet.models.hrnet import HRModule, HRNet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Output = Tensor | list[Tensor]  # of a module: one map or several
CELL = 1.9  # width of a map in inches
CLIP = (2, 98)  # percentiles of a map that are drawn in the darkest and the brightest colour
COLOURS = 'inferno'  # matplotlib's colour map
WITHIN, BETWEEN = 'gray', 'tab:orange'  # lines within a stream, and between all of them


@dataclass
class Streams:
    """The maps of one image on their way through the network.

    Attributes:
        image: The input of the network, (3, H, W).
        columns: Title, and the maps of the streams (C, H_i, W_i), highest resolution first.
    """

    image: Tensor | None = None
    columns: list[tuple[str, list[Tensor]]] = field(default_factory=list)


@contextmanager
def record_streams(network: nn.Module) -> Iterator[Streams]:
    """Records the maps of the first image that runs through a network inside the block.

    Of each stage the last module is recorded: its streams before and after they are fused.

    Args:
        network: An HRNet, or any model with one in it.

    Raises:
        ConfigError: There is no ``mmhrnet.HRNet`` in it.
    """
    backbone = next((m for m in network.modules() if isinstance(m, HRNet)), None)
    if backbone is None:
        raise ConfigError(
            f'{type(network).__name__} has no mmhrnet.HRNet whose streams could be recorded'
        )
    streams = Streams()
    handles = [backbone.register_forward_pre_hook(lambda _, args: _start(streams, args[0]))]
    handles.append(backbone.layer1.register_forward_hook(_column(streams, 'stage 1', 1)))
    for index, stage in enumerate((backbone.stage2, backbone.stage3, backbone.stage4), start=2):
        module: HRModule = stage[-1]
        for branch in module.branches:
            title = f'stage {index}\nbefore fusion'
            handles.append(branch.register_forward_hook(_column(streams, title, index)))
        title = f'stage {index}\nafter fusion'
        handles.append(module.register_forward_hook(_column(streams, title, index)))
    try:
        yield streams
    finally:
        for handle in handles:
            handle.remove()


def _start(streams: Streams, images: Tensor) -> None:
    if streams.image is None:
        streams.image = images[0].detach().clone()


def _column(streams: Streams, title: str, count: int) -> Callable[[nn.Module, tuple, Output], None]:
    """A hook that adds an output to the column until that has all its maps."""

    def hook(_: nn.Module, __: tuple, output: Output) -> None:
        maps = [output] if isinstance(output, Tensor) else output
        if not streams.columns or streams.columns[-1][0] != title:
            if title in dict(streams.columns):
                return  # a second image, as in testing with flipped ones
            streams.columns.append((title, []))
        found = streams.columns[-1][1]
        if len(found) < count:
            found.extend(y[0].detach().clone() for y in maps)

    return hook


def plot_streams(streams: Streams, image: np.ndarray, path: str | Path) -> Path:
    """Draws the recorded maps: a row for each resolution, columns from the image to stage 4.

    A map is shown as the root mean square over its channels, stretched to its own range. The key
    below says what colours and lines mean.

    Args:
        streams: What :func:`record_streams` recorded.
        image: The input as RGB, (H, W, 3) uint8.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    height, width = image.shape[:2]
    rows, columns = 4, len(streams.columns) + 1
    size = (CELL * columns * 1.3 + 0.7, (CELL * height / width + 0.42) * rows + 1.1)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.16))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis('off')
    grid[0, 0].imshow(image)
    grid[0, 0].set_title(f'input\n3 x {height} x {width}', fontsize=9)
    for axes_of_rows, (title, maps) in zip(grid.T[1:], streams.columns):
        for axes, x in zip(axes_of_rows, maps):
            _show(axes, x)
        axes_of_rows[0].set_title(f'{title}\n{axes_of_rows[0].get_title()}', fontsize=9)
    for row, axes in enumerate(grid[:, -1]):
        where = dict(transform=axes.transAxes, ha='left', va='center')
        axes.text(1.08, 0.5, f'stride {4 << row}', fontsize=11, **where)
    _put_key(figure)
    _connect(figure, grid, [1, *(len(maps) for _, maps in streams.columns)])
    FigureCanvasAgg(figure).print_png(str(path))
    return Path(path)


def _show(axes: Axes, x: Tensor) -> None:
    strength = x.float().square().mean(0).sqrt().cpu().numpy()  # (H_i, W_i)
    low, high = np.percentile(strength, CLIP)
    axes.imshow(strength, cmap=COLOURS, vmin=low, vmax=max(high, low + 1e-12), aspect='auto')
    axes.set_title(' x '.join(map(str, x.shape)), fontsize=8)


def _put_key(figure: Figure) -> None:
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    weak, strong = colormaps[COLOURS]([0.0, 0.9])
    key = [
        Line2D([], [], color=WITHIN, label='convolutions of a stream, or the start of a new one'),
        Line2D([], [], color=BETWEEN, label='fusion: every stream receives from all streams'),
        Patch(color=weak, label='weak'),
        Patch(color=strong, label='strong response'),
    ]
    figure.legend(handles=key, loc='outside lower center', ncols=len(key), frameon=False)


def _connect(figure: Figure, grid: np.ndarray, counts: list[int]) -> None:
    """Lines from each map to those that are computed from it: after a fusion, all of them."""
    from matplotlib.patches import ConnectionPatch

    for column, (before, after) in enumerate(pairwise(counts)):
        fusion = column >= 2 and column % 2 == 0
        for src, dst in product(range(before), range(after)):
            new = dst == before and src == before - 1
            if fusion or src == dst or new:
                line = ConnectionPatch(
                    (1.0, 0.5),
                    (0.0, 0.5),
                    'axes fraction',
                    axesA=grid[src, column],
                    axesB=grid[dst, column + 1],
                    color=BETWEEN if fusion else WITHIN,
                    linewidth=1.1,
                )
                figure.add_artist(line)
