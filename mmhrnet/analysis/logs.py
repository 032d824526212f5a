"""The scalars that MMEngine logs, as curves and as best and last values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Scalars = Sequence[dict[str, Any]]
NO_METRICS = ('step', 'time', 'data_time', 'epoch', 'iter', 'memory')
LESS_IS_BETTER = ('NME',)


def read_scalars(work_dir: str | Path) -> list[dict[str, Any]]:
    """All scalars of a work folder, resumed runs in order; what a resume repeats counts once."""
    records: dict[tuple[bool, int], dict[str, Any]] = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            record = json.loads(line)
            records[_is_train(record), record['step']] = record
    return list(records.values())


def _is_train(record: dict[str, Any]) -> bool:
    return 'loss' in record


def _metrics(scalars: Scalars) -> dict[str, list[tuple[int, float]]]:
    """Name of each metric with its (step, value) pairs; -1 is COCO's word for no such object."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in scalars:
        for name, value in record.items():
            if not _is_train(record) and name not in NO_METRICS and value >= 0:
                curves.setdefault(name, []).append((record['step'], value))
    return curves


def best_values(scalars: Scalars) -> dict[str, dict[str, float]]:
    """The last and the best value of each metric: ``{'last': {...}, 'best': {...}}``, or empty."""
    curves = _metrics(scalars)
    if not curves:
        return {}
    return {
        'last': {name: curve[-1][1] for name, curve in curves.items()},
        'best': {name: _best(name, [value for _, value in c]) for name, c in curves.items()},
    }


def _best(name: str, values: Sequence[float]) -> float:
    return min(values) if name in LESS_IS_BETTER else max(values)


def plot_curves(scalars: Scalars, path: str | Path) -> Path:
    """Losses and validation metrics over the steps of training, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = [record for record in scalars if _is_train(record)]
    curves = _metrics(scalars)
    figure = Figure(figsize=(11 if curves else 5.5, 4.2), layout='constrained')
    losses, *validation = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    for name in sorted({key for record in train for key in record if key.startswith('loss')}):
        points = [(record['step'], record[name]) for record in train if name in record]
        losses.plot(*zip(*points), label=name, linewidth=2.2 if name == 'loss' else 1)
    losses.set(title='training loss', xlabel='iteration')
    losses.set_ylim(bottom=0)
    unit = 'epoch' if any('epoch' in record for record in train) else 'iteration'
    for axes in validation:
        _plot_metrics(axes, curves, unit)
    for axes in (losses, *validation):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))
    return Path(path)


def _plot_metrics(axes: Any, curves: dict[str, list[tuple[int, float]]], unit: str) -> None:
    for name, curve in curves.items():
        axes.plot(*zip(*curve), label=name.rpartition('/')[2], marker='o', markersize=4)
    percent = any(value > 1 for curve in curves.values() for _, value in curve)
    axes.set(title='validation', xlabel=unit, ylim=(0, 100 if percent else 1))
