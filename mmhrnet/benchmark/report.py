"""Rows of a benchmark as a table, Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from mmhrnet.benchmark.measure import Machine, Timing
from mmhrnet.files import beside, write_text
from mmhrnet.terminal import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADERS = (
    'who and how',
    'ms (middle 80 %)',
    'images/s',
    'times faster',
    'of GEMM rate',
    'peak MiB',
    'compile s',
    'difference',
)


class Row(NamedTuple):
    """One contestant at one workload, with ``ratio`` and ``difference`` to the first contestant."""

    name: str
    what: str
    timing: Timing
    ratio: float
    memory: int | None
    seconds_to_compile: float | None
    difference: float
    shape: tuple[int, int] = (0, 0)
    batch: int = 1
    macs: int = 0
    params: int = 0


def cells(row: Row, machine: Machine) -> tuple[str, ...]:
    timing = row.timing
    share = row.macs / timing.median / machine.macs_per_second
    return (
        row.name,
        f'{ms(timing.median)} ({ms(timing.low)} to {ms(timing.high)})',
        f'{row.batch / timing.median:.1f}',
        f'{row.ratio:.2f}',
        f'{share:.0%}',
        '-' if row.memory is None else f'{row.memory / 2**20:.0f}',
        '-' if row.seconds_to_compile is None else f'{row.seconds_to_compile:.0f}',
        f'{row.difference:.0e}',
    )


def ms(seconds: float) -> str:
    """Milliseconds, with more digits where there are few."""
    return f'{seconds * 1e3:.{1 if seconds > 0.01 else 3}f}'


def results_table(rows: Sequence[Row], machine: Machine, title: str) -> Table:
    table = Table(*HEADERS, title=title)
    for row in rows:
        table.add_row(*cells(row, machine))
    return table


def describe(machine: Machine) -> str:
    gemm, copy = machine.macs_per_second / 1e9, machine.bytes_per_second / 1e9
    return (
        f'{machine.device}, {machine.threads} threads, {machine.capability}; torch '
        f'{machine.torch}, Python {machine.python}; measured ceiling: {gemm:.0f} GMAC/s '
        f'({machine.dtype} GEMM), {copy:.1f} GB/s (copy, read and write)'
    )


def markdown(rows: Sequence[Row], machine: Machine, title: str) -> str:
    """A heading, the machine, and a table for each workload."""
    parts = [f'# {title}', describe(machine)]
    for batch, shape in dict.fromkeys((row.batch, row.shape) for row in rows):
        some = [row for row in rows if (row.batch, row.shape) == (batch, shape)]
        counts = f'{some[0].params / 1e6:.2f} M parameters, {some[0].macs / 1e9:.2f} GMAC'
        table = markdown_table(HEADERS, [cells(row, machine) for row in some])
        parts.append(f'## {_workload(some[0])}: {counts}\n\n{table}')
    return '\n\n'.join(parts) + '\n'


def write_report(
    rows: Sequence[Row], machine: Machine, title: str, folder: Path, name: str
) -> list[Path]:
    """Writes ``<name>.md``, ``.json`` and ``.png`` and returns their paths."""
    paths = [folder / f'{name}.{suffix}' for suffix in ('md', 'json', 'png')]
    write_text(paths[0], markdown(rows, machine, title))
    records = [row._asdict() | dict(timing=row.timing._asdict()) for row in rows]
    content = dict(title=title, machine=machine._asdict(), rows=records)
    write_text(paths[1], json.dumps(content, indent=1))
    with beside(paths[2]) as temporary:
        _plot(rows, title, temporary)
    return paths


def _plot(rows: Sequence[Row], title: str, path: Path) -> None:
    """Bars of speed for one or two workloads; for more, lines of time over pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.name for row in rows))
    workloads = list(dict.fromkeys(_workload(row) for row in rows))
    panels = len(workloads) if len(workloads) < 3 else 1
    size = (9 * panels, 1.2 + 0.34 * max(len(names), 8))
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(title)
    all_axes = figure.subplots(1, panels, squeeze=False)[0]
    for axes, workload in zip(all_axes, workloads):
        if len(workloads) < 3:
            axes.set_title(workload)
            _bars(axes, [row for row in rows if _workload(row) == workload])
        else:
            _lines(axes, rows, names)
        axes.grid(alpha=0.3)
    FigureCanvasAgg(figure).print_png(str(path))


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    rows = rows[::-1]
    colors = ['C0' if row.name.startswith('mmhrnet') else '0.6' for row in rows]
    bars = axes.barh([row.name for row in rows], [row.ratio for row in rows], color=colors)
    labels = [f'{row.ratio:.2f} ({row.timing.median * 1e3:.1f} ms)' for row in rows]
    axes.bar_label(bars, labels, padding=3)
    axes.axvline(1, color='0.3', linewidth=1)
    axes.set_xlabel(f'times faster than {rows[-1].name}')
    axes.set_xlim(0, 1.25 * max(row.ratio for row in rows))


def _lines(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    for name in names:
        some = sorted((row for row in rows if row.name == name), key=_pixels)
        axes.plot(
            [_pixels(row) for row in some],
            [row.timing.median * 1e3 for row in some],
            '-' if name.startswith('mmhrnet') else '--',
            marker='o',
            label=name,
        )
    axes.set(ylabel='ms', xscale='log', yscale='log')
    ticks = {_pixels(row): _workload(row) for row in rows}
    axes.set_xticks(list(ticks), ticks.values())
    axes.minorticks_off()
    axes.legend(fontsize=8)


def _pixels(row: Row) -> int:
    return row.batch * row.shape[0] * row.shape[1]


def _workload(row: Row) -> str:
    return f'{row.batch} x {row.shape[0]}x{row.shape[1]}'
