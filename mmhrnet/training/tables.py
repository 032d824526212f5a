"""The metrics of a run or a test as tables for the screen."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan

from rich.table import Table

from mmhrnet.hosts import class_metric, published_metrics
from mmhrnet.hub.published import published_results
from mmhrnet.terminal import CONSOLE

Columns = Mapping[str, Mapping[str, float]]

SHOWN = 20  # rows of the table of classes


def print_results(columns: Columns, config: str, other: str = '') -> None:
    """Prints the metrics beside the published figures and, if there are any, those of each class.

    Args:
        columns: Values by metric, by heading, such as ``{'last': {'coco/bbox_mAP': 0.4}}``.
        config: File name of the config, without its suffix.
        other: What :func:`mmhrnet.hub.published.other_data` returns.
    """
    CONSOLE.print(result_table(columns, config, other))
    if any(map(class_metric, _metrics(columns))):
        CONSOLE.print(class_table(columns))


def result_table(columns: Columns, config: str, other: str = '') -> Table:
    """The metrics of the whole data set, and the published figures if there are any.

    Takes what :func:`print_results` takes; beside ``other`` data, published figures are left out.
    """
    known, figures = published_metrics(), published_results(config)
    title = f'{config}, {other}' if other and figures else config
    rows = {name: name for name in _metrics(columns) if not class_metric(name)}
    published = {
        name: figures[known[name].name] / known[name].factor
        for name in rows
        if not other and name in known and known[name].name in figures
    }
    columns = {**columns, 'published': published} if published else columns
    return _table(title, 'metric', columns, rows)


def class_table(columns: Columns) -> Table:
    """The figures of each class; of many classes, those with the lowest figures in the last column.

    A class of which the data have nothing has no figure.
    """
    found = {name: metric for name in _metrics(columns) if (metric := class_metric(name))}
    (figure,) = {metric.figure for metric in found.values()}
    rows = {name: metric.class_name for name, metric in found.items()}
    title = f'{figure} by class'
    if len(rows) > SHOWN:
        values = list(columns.values())[-1]
        lowest = sorted(rows, key=lambda name: (isnan(values[name]), values[name]))[:SHOWN]
        title = f'{title}, the {SHOWN} lowest of {len(rows)}; all are in the log'
        rows = {name: rows[name] for name in lowest}
    return _table(title, 'class', columns, rows)


def _metrics(columns: Columns) -> Mapping[str, float]:
    return next(iter(columns.values()))


def _table(title: str, heading: str, columns: Columns, rows: Mapping[str, str]) -> Table:
    """A table of the metrics that ``rows`` names: shares have 3 digits, per cent have 2."""
    table = Table(heading, title=title)
    for column in columns:
        table.add_column(column, justify='right')
    figures = {name: [values.get(name, nan) for values in columns.values()] for name in rows}
    digits = 2 if any(value > 1 for values in figures.values() for value in values) else 3
    for name, values in figures.items():
        cells = (f'{value:.{digits}f}' if value >= 0 else '-' for value in values)
        table.add_row(rows[name], *cells)
    return table
