"""The scalars that MMEngine logs: curves, last and best values, and runs side by side."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mmhrnet.errors import UserError, suggest
from mmhrnet.files import beside
from mmhrnet.hosts import class_metric, published_metrics
from mmhrnet.hosts.captions import legend_label
from mmhrnet.inference.pictures import PLAIN_TEXT
from mmhrnet.terminal import CONSOLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, float]
Scalars = Sequence[Record]
Curves = dict[str, list[tuple[float, float]]]

LOGGER = logging.getLogger(__name__)
NO_CURVES = ('step', 'time', 'data_time', 'epoch', 'iter', 'memory')
WINDOW = 5  # logged records whose mean is the last loss
LEARNING_RATE = 'learning rate'
VALIDATION = 'validation'
PANEL = 5.5  # width in inches
LETTERS = 66  # in 8 points, across a panel
SAMPLE = 8  # letters that the line in front of a name, and the space after it, take
STYLES = ('-', '--', ':', '-.')


class LogError(UserError, ValueError):
    """Logs that do not exist or cannot be read, with what to do about it."""


def read_scalars(run: str | Path) -> list[Record]:
    """All scalars of a run and its resumed parts, in order; repeated iterations count once.

    Args:
        run: Work folder, one of its dated folders, or a ``scalars.json``.

    Raises:
        LogError: A line is not a record. A last line that was cut off when the run was killed is
            skipped with a warning.
    """
    run = Path(run)
    found = (*run.glob('*/vis_data/scalars.json'), *run.glob('vis_data/scalars.json'))
    records: dict[tuple[bool, float], Record] = {}
    for path in [run] if run.is_file() else sorted(found):
        for record in _records(path):
            records[_is_train(record), record['step']] = record
    return list(records.values())


def _records(path: Path) -> Iterable[Record]:
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            yield {'step': int(record['step']), **record}
        except (ValueError, TypeError, KeyError) as error:
            if number < len(lines):
                raise LogError(f'{path}, line {number}, is not a record of scalars') from error
            LOGGER.warning('%s, line %d, is cut off and left out', path, number)


def _is_train(record: Record) -> bool:
    return 'loss' in record


def _all_metrics(scalars: Scalars) -> Curves:
    """The (iteration, value) pairs of each metric.

    Where there are no objects, COCO gives -1, which is left out, and nan for a class.
    """
    curves: Curves = {}
    length = _epoch_length(scalars)
    for record in itertools.filterfalse(_is_train, scalars):
        for name, value in record.items():
            if name not in NO_CURVES and (value >= 0 or class_metric(name)):
                curves.setdefault(name, []).append((length * record['step'], value))
    return curves


def _metrics(scalars: Scalars, keys: Sequence[str] = ()) -> Curves:
    """Those of these metrics, or of all that are not of a single class."""
    curves = _all_metrics(scalars)
    shown = keys or [name for name in curves if not class_metric(name)]
    return {name: curves[name] for name in shown if name in curves}


def _epoch_length(scalars: Scalars) -> float:
    """The iterations between two steps of the validations: of an epoch if they count those, or 1.

    MMEngine does not log the length of an epoch, but the first records of two epochs are that far
    apart.
    """
    starts: dict[float, float] = {}
    for record in scalars:
        if _is_train(record) and 'epoch' in record:
            starts.setdefault(record['epoch'], record['step'])
    validations = [record['step'] for record in scalars if not _is_train(record)]
    if not starts or not validations or max(validations) > max(starts):
        return 1
    if len(starts) == 1:
        return max(record['step'] for record in scalars if _is_train(record))
    first, last = min(starts), max(starts)
    return (starts[last] - starts[first]) / (last - first)


def _training(scalars: Scalars) -> Curves:
    """The (iteration, value) pairs of each logged value of the training; the loss is first."""
    curves: Curves = {}
    for record in filter(_is_train, scalars):
        for name in record.keys() - NO_CURVES:
            curves.setdefault(name, []).append((record['step'], record[name]))
    return dict(sorted(curves.items(), key=lambda item: (item[0] != 'loss', item[0])))


def best_values(scalars: Scalars, *, with_classes: bool = False) -> dict[str, dict[str, float]]:
    """The last and the best value of each metric: ``{'last': {...}, 'best': {...}}``, or empty."""
    curves = _all_metrics(scalars) if with_classes else _metrics(scalars)
    if not curves:
        return {}
    return {
        'last': {name: curve[-1][1] for name, curve in curves.items()},
        'best': {name: _best(name, [value for _, value in c]) for name, c in curves.items()},
    }


def _best(name: str, values: Sequence[float]) -> float:
    metric = published_metrics().get(name)
    return min(values) if metric and metric.less_is_better else max(values)


def analyze_logs(runs: Sequence[str | Path], keys: Sequence[str], out: str | Path) -> None:
    """Draws the curves of one or several runs and prints their figures side by side.

    Args:
        runs: What :func:`read_scalars` takes.
        keys: Losses, metrics or other logged values to show; without any, the main ones.
        out: PNG file to write.

    Raises:
        LogError: A run has no scalars, no run has a key, or ``out`` is not a PNG.
    """
    if Path(out).suffix != '.png':
        raise LogError(f'--out {out} is not a PNG: give a name that ends in .png')
    scalars = _load(runs)
    _check_keys(scalars, keys)
    CONSOLE.print(runs_table(scalars, keys))
    CONSOLE.print(f'curves: {plot_runs(scalars, out, keys)}')


def _load(runs: Sequence[str | Path]) -> dict[str, Scalars]:
    """The scalars by the name of each run's folder, or by its path where names are equal."""
    paths = list(dict.fromkeys(map(Path, runs)))
    folders = [p.parents[1] if p.parent.name == 'vis_data' else p for p in paths]
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    loaded: dict[str, Scalars] = dict(zip(names, map(read_scalars, paths)))
    for path, scalars in zip(paths, loaded.values()):
        if not path.exists():
            raise LogError(f'There is no folder {path}: give a work folder of tools/train.py')
        if not scalars:
            raise LogError(f'{path} has no scalars: a run logs them in */vis_data/scalars.json')
    return loaded


def _check_keys(runs: Mapping[str, Scalars], keys: Sequence[str]) -> None:
    logged = [(*_training(scalars), *_all_metrics(scalars)) for scalars in runs.values()]
    known = list(dict.fromkeys(key for keys_of_run in logged for key in keys_of_run))
    for key in keys:
        if key not in known:
            raise LogError(f'No run has {key}: {suggest(key, known)}There are: {", ".join(known)}')


def runs_table(runs: Mapping[str, Scalars], keys: Sequence[str] = ()) -> Table:
    """Figures as rows, runs as columns; for two runs, also the difference and the ratio.

    Args:
        runs: Scalars by name of the run.
        keys: What to show; without any, the losses and all metrics.
    """
    columns = [_figures(scalars, keys) for scalars in runs.values()]
    two = len(runs) == 2
    caption = f'last of a training value: mean of its last {WINDOW} records'
    table = Table('', title=' and '.join(runs) if two else None, caption=caption)
    for heading in (*runs, *(('difference', 'ratio') if two else ())):
        table.add_column(heading, justify='right')
    for name in dict.fromkeys(name for figures in columns for name in figures):
        values = [figures.get(name) for figures in columns]
        table.add_row(name, *map(_cell, values), *(_compare(*values) if two else ()))
    return table


def _figures(scalars: Scalars, keys: Sequence[str]) -> dict[str, float]:
    """The figures that sum up a run, by name."""
    train = [record for record in scalars if _is_train(record)]
    figures: dict[str, float] = {}
    if train:
        figures['iterations'] = max(record['step'] for record in train)
    timed = [(r['time'], r.get('data_time', 0)) for r in train if r.get('time')]
    if timed:
        figures['time per iteration, ms'] = 1000 * median(time for time, _ in timed)
        figures['of it for data, %'] = 100 * median(data / time for time, data in timed)
    memory = [record['memory'] for record in train if 'memory' in record]
    if memory:
        figures['memory, MiB'] = max(memory)
    for name, curve in _losses(scalars, keys).items():
        figures[f'{name}, last'] = fmean(value for _, value in curve[-WINDOW:])
    values = best_values(scalars, with_classes=True)
    for name in _metrics(scalars, keys):
        figures |= {f'{name}, {which}': values[which][name] for which in values}
    return figures


def _losses(scalars: Scalars, keys: Sequence[str]) -> Curves:
    """The curves of the training that have these keys; without keys, those of the losses."""
    curves = _training(scalars)
    names = keys or [name for name in curves if 'loss' in name]
    return {name: curves[name] for name in names if name in curves}


def _cell(value: float | None, sign: str = '') -> str:
    if value is None:
        return '-'
    is_long = isinstance(value, int) or abs(value) >= 1000
    return f'{value:{sign},.0f}' if is_long else f'{value:{sign}#.4g}'


def _compare(first: float | None, second: float | None) -> tuple[str, str]:
    if first is None or second is None:
        return '-', '-'
    return _cell(second - first, sign='+'), f'{second / first:.3f}' if first else '-'


def plot_curves(scalars: Scalars, path: str | Path) -> Path:
    """Losses, learning rate and validation metrics over the steps of training, as a PNG."""
    return plot_runs({'': scalars}, path)


def plot_runs(runs: Mapping[str, Scalars], path: str | Path, keys: Sequence[str] = ()) -> Path:
    """Draws the curves of one run in a colour each, or of several runs in a colour per run.

    Args:
        runs: Scalars by name of the run.
        path: PNG file to write; it appears when it is complete.
        keys: What to show; without any, the losses and metrics, of several runs the main ones.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    panels = _panels(runs, keys or (_main_keys(runs) if len(runs) > 1 else ()))
    with rc_context(PLAIN_TEXT), beside(path) as temporary:
        FigureCanvasAgg(_draw(runs, panels)).print_png(str(temporary))
    return Path(path)


def _draw(runs: Mapping[str, Scalars], panels: Mapping[str, Mapping[str, Curves]]) -> Figure:
    from matplotlib.figure import Figure

    rates = {run: _losses(scalars, ['lr']) for run, scalars in runs.items()}
    titles = list(panels)
    rows: Any = [titles, [LEARNING_RATE, *titles[1:]]] if any(rates.values()) else [titles]
    figure = Figure(figsize=(PANEL * len(titles), 3.4 + len(rows)), layout='constrained')
    all_axes = figure.subplot_mosaic(rows, height_ratios=[4, 1][: len(rows)], sharex=True)
    for title, curves in {**panels, LEARNING_RATE: rates}.items():
        if title in all_axes:
            _plot(all_axes[title], curves, title)
    if VALIDATION in all_axes:
        _limit(all_axes[VALIDATION])
    return figure


def _main_keys(runs: Mapping[str, Scalars]) -> list[str]:
    """The loss and the metrics that are published, or all metrics if none is."""
    metrics = dict.fromkeys(name for scalars in runs.values() for name in _metrics(scalars))
    known = published_metrics()
    return ['loss', *([name for name in metrics if name in known] or metrics)]


def _panels(runs: Mapping[str, Scalars], keys: Sequence[str]) -> dict[str, dict[str, Curves]]:
    """The curves of each run by the title of the panel that shows them."""
    losses = {run: _losses(scalars, keys) for run, scalars in runs.items()}
    only = all('loss' in name for curves in losses.values() for name in curves)
    title = 'training loss' if only else 'training'
    metrics = {run: _metrics(scalars, keys) for run, scalars in runs.items()}
    panels = {title: losses, VALIDATION: metrics}
    filled = {title: panel for title, panel in panels.items() if any(panel.values())}
    return filled or {title: panels[title]}


def _plot(axes: Axes, panel: Mapping[str, Curves], title: str) -> None:
    """One run: a colour for each curve. Several: a colour for each run, a style for each curve."""
    several, marks = len(panel) > 1, dict(marker='o', markersize=4, linewidth=1.5)
    names = list(dict.fromkeys(name for curves in panel.values() for name in curves))
    for index, (run, curves) in enumerate(panel.items()):
        for name, curve in curves.items():
            number, short = names.index(name), name.rpartition('/')[2]
            axes.plot(
                *zip(*curve),
                STYLES[number % len(STYLES)] if several else '-',
                color=f'C{index if several else number}',
                label=legend_label(f'{run}: {short}' if several else short),
                **(marks if title == VALIDATION else dict(linewidth=2.2 if name == 'loss' else 1)),
            )
    axes.grid(alpha=0.3)
    place = axes.get_subplotspec()
    if place and place.is_last_row():
        axes.set_xlabel('iteration')
    if title == LEARNING_RATE:
        axes.set_title(title, fontsize='medium', loc='left')
    else:
        _put_legend(axes, title)
    if axes.dataLim.ymin >= 0:  # RLE's loss is the one that is not
        axes.set_ylim(bottom=0)


def _put_legend(axes: Axes, title: str) -> None:
    """Above the axes, where it covers no curve, with the title of the panel as its heading."""
    handles, names = axes.get_legend_handles_labels()
    longest = max(map(len, names), default=0)
    axes.legend(
        handles,
        [fill(name, LETTERS) for name in names],
        ncols=max(1, LETTERS // (longest + SAMPLE)),
        title=title,
        title_fontsize='large',
        fontsize=8,
        loc='lower left',
        bbox_to_anchor=(0, 1),
        alignment='left',
        frameon=False,
        borderaxespad=0.2,
        borderpad=0,
    )


def _limit(axes: Axes) -> None:
    """From nothing to a little above the best value, but not above all: 1, or 100 per cent."""
    best = max(axes.dataLim.ymax, 0)  # without any value it is less
    all_of_it = 100 if best > 1 else 1
    axes.set_ylim(0, min(1.1 * best, 1.02 * all_of_it) or all_of_it)
