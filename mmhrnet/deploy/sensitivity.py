"""Which layers of a model suffer from eight bits, as a table and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from mmhrnet.deploy.quantize import Layer, Quantization
from mmhrnet.files import beside
from mmhrnet.terminal import CONSOLE


def report(found: Quantization, out: Path) -> None:
    """Prints which layers stay in float and why, and draws the error of each.

    The picture is ``<out>.png``.
    """
    methods = ', '.join(f'{name} {math.sqrt(e):.3f}' for name, e in found.errors.items())
    CONSOLE.print(
        f'error of the outputs in int8, by method of calibration: {methods}; taken: {found.method}'
    )
    kept = sorted((one for one in found.layers if one.is_float), key=lambda one: -one.error)
    table = Table('stays in float', 'multiply-adds', 'error if it alone is int8')
    for one in kept:
        table.add_row(one.name, f'{one.share:.2%}', f'{math.sqrt(one.error):.4f}')
    CONSOLE.print(table if kept else 'No layer stays in float.')
    CONSOLE.print(f'error of the outputs: {math.sqrt(found.error):.3f}')
    picture = out.with_suffix('.png')
    _draw(found.layers, picture)
    CONSOLE.print(str(picture))


def _draw(layers: Sequence[Layer], path: Path) -> None:
    """A bar for the error of each layer, in the order of the graph."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names = [one.name for one in layers]
    colours = ['tab:orange' if one.is_float else 'tab:blue' for one in layers]
    figure = Figure(figsize=(9, 1 + 0.16 * len(layers)), layout='constrained')
    axes = figure.add_subplot()
    axes.barh(names, [math.sqrt(one.error) for one in layers], color=colours)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.tick_params(axis='y', labelsize=7)
    axes.set_xlabel('relative error of the outputs if this layer alone is int8')
    axes.legend([Patch(color='tab:blue'), Patch(color='tab:orange')], ['int8', 'stays in float'])
    with beside(path) as file:
        figure.savefig(file, dpi=120)
