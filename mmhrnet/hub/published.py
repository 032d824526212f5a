"""The configs and their published figures, from the metafiles that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmhrnet.datasets.mini import NUM_VAL
from mmhrnet.hosts import known_hosts, published_metrics
from mmhrnet.hosts.host import Metric

ROOT = Path(__file__).resolve().parents[1] / '.mim'

# Images of the published figures, by the metafiles' name of the data set. Not here, and not
# checked, are those that are counted in persons or faces or on whose number sources disagree.
VALIDATION_IMAGES = {
    'COCO': 5000,
    'Cityscapes': 500,
    'ADE20K': 2000,
    'COCO-Stuff 10k': 1000,
    'ImageNet-1k': 50000,
    'WFLW': 2500,
    '300W': 689,
    'COFW': 507,
}
SCREEN = 144  # letters of the widest row
TABLES_HEAD = """# Models

Every config, with parameters, multiply-adds and the published figure. Where there are weights, the
figure is theirs; we have not trained these at full length ourselves. Multiply-adds of detectors and
of DEKR are those of backbone and neck. Written by `python -m mmhrnet models --out docs/models.md`
from the metafiles.
"""


@cache
def metafile_models() -> list[dict[str, Any]]:
    """The ``Models`` of all metafiles, with OpenMMLab's fields."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))['Import']
    files = [yaml.safe_load((ROOT / path).read_text(encoding='utf-8')) for path in index]
    return [model for file in files for model in file['Models']]


def published_results(config: str) -> dict[str, float]:
    """Metrics, by metafile name, that are published for the config of that file name."""
    models = [model for model in metafile_models() if model['Name'] == config]
    return {name: value for model in models for name, value in _metrics(model).items()}


def _metrics(model: Mapping[str, Any]) -> dict[str, float]:
    results = [result['Metrics'] for result in model.get('Results', ())]
    return {name: value for metrics in results for name, value in metrics.items()}


def model_tables() -> str:
    """All models as Markdown: a table for each host library."""
    parts = [TABLES_HEAD]
    for host in known_hosts().values():
        models = [m for m in metafile_models() if m['Config'].split('/')[1] == host.name]
        if not models:
            continue
        rows = '\n'.join(_row(model) for model in models)
        header = '| config | data | params | GMACs | published | source | weights |'
        parts.append(f'## {host.title}\n\n{header}\n|---|---|---|---|---|---|---|\n{rows}\n')
    return '\n'.join(parts)


def _row(model: Mapping[str, Any]) -> str:
    results = model.get('Results', [])
    cells = (
        f'[{model["Name"]}](../{model["Config"]})',
        *_facts(model),
        results[0]['Source'] if results else '-',
        f'[pth]({model["Weights"]})' if 'Weights' in model else '-',
    )
    return '| ' + ' | '.join(cells) + ' |'


def _facts(model: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Data, parameters, multiply-adds and published figures."""
    meta = model['Metadata']
    figures = ', '.join(f'{name} {value}' for name, value in _metrics(model).items())
    params, macs = f'{meta["Parameters"] / 1e6:.1f} M', f'{meta["FLOPs"] / 1e9:.2f}'
    return meta['Training Data'], params, macs, figures or '-'


def model_screen() -> Table:
    """All models as one table for the screen; its rows stay whole in a narrow one or a pipe."""
    table = Table('name (mmhrnet::NAME)', 'data', box=SIMPLE_HEAD, width=SCREEN)
    table.add_column('params', justify='right')
    table.add_column('GMACs', justify='right')
    table.add_column('published')
    for model in metafile_models():
        name = model['Config'].removeprefix('configs/').removesuffix('.py')
        table.add_row(name, *_facts(model))
    return table


def result_table(columns: Mapping[str, Mapping[str, float]], config: str, other: str = '') -> Table:
    """Metrics as rows; the given columns and the published figure side by side.

    Args:
        columns: Values by metric, by heading, such as ``{'last': {'coco/bbox_mAP': 0.4}}``.
        config: File name of the config, without its suffix.
        other: What :func:`other_data` says; the published figures are then left out.
    """
    published, known = {} if other else published_results(config), published_metrics()
    title = f'{config}, {other}' if other and published_results(config) else config
    table = Table('metric', *columns, *([] if other else ['published']), title=title)
    for metric in next(iter(columns.values())):
        name = known.get(metric, Metric('')).name
        figure = f'{published[name] / known[metric].factor:.3f}' if name in published else '-'
        cells = [f'{values[metric]:.3f}' for values in columns.values()]
        table.add_row(metric, *cells, *([] if other else [figure]))
    return table


class Evaluation(NamedTuple):
    """What a host's evaluator measured, and on how many images."""

    metrics: Mapping[str, float]
    images: int
    library: str


class ZooRow(NamedTuple):
    """One metric of one config, in per cent points, or why there is none."""

    config: str
    task: str = '-'
    metric: str = '-'
    measured: float | None = None
    published: float | None = None
    difference: float | None = None
    verdict: str = ''
    error: str = ''
    checkpoint: str | None = None


def compare_to_published(
    config: str, evaluation: Evaluation, *, same_data: bool, tolerance: float
) -> list[ZooRow]:
    """The metrics that papers report, or all where it is none of them, beside the published ones.

    Args:
        config: File name of the config, without its suffix.
        evaluation: What was measured.
        same_data: False if the data are known to be others than those of the published figure.
        tolerance: Per cent points within which a figure counts as the published one.
    """
    result = _result(config)
    host = known_hosts().get(evaluation.library)
    task = result.get('Task') or (host.task_name if host else '-')
    published = published_results(config)
    other = other_data(config, evaluation.images, same_data)
    metrics, known, rows = evaluation.metrics, published_metrics(), []
    for name in [name for name in metrics if name in known] or metrics:
        metric = known.get(name, Metric(name))
        value = round(float(metrics[name]) * metric.factor * metric.percent, 2)
        figure = published.get(metric.name)
        figure = figure and round(figure * metric.percent, 2)
        row = ZooRow(config, task, metric.name, value)
        rows.append(_judge(row, figure, other, metric.less_is_better, tolerance))
    return rows


def _judge(
    row: ZooRow, published: float | None, other: str, less_is_better: bool, tolerance: float
) -> ZooRow:
    if published is None or row.measured is None:
        return row._replace(verdict='no published figure')
    difference = round(row.measured - published, 2)
    verdict = other or _verdict(difference, less_is_better, tolerance)
    return row._replace(published=published, difference=difference, verdict=verdict)


def other_data(config: str, images: int, same_data: bool) -> str:
    """Says that data are not those of the published figure of a config, or nothing.

    Args:
        config: File name of the config, without its suffix.
        images: Number of images that were evaluated.
        same_data: False if the data are known to be others.
    """
    expected = VALIDATION_IMAGES.get(_result(config).get('Dataset', ''))
    if expected not in (None, images):
        return f'other data ({images} images, not {expected})'
    return '' if same_data and images != NUM_VAL else f'other data ({images} images)'


def _result(config: str) -> dict[str, Any]:
    """The first of the published results of a config."""
    results = [r for m in metafile_models() if m['Name'] == config for r in m.get('Results', ())]
    return results[0] if results else {}


def _verdict(difference: float, less_is_better: bool, tolerance: float) -> str:
    if abs(difference) <= tolerance:
        return f'within {tolerance:g}'
    better = (difference < 0) == less_is_better
    return f'{"above" if difference > 0 else "below"} ({"better" if better else "worse"})'


def zoo_table(rows: Sequence[ZooRow]) -> Table:
    """All rows in one table; why something failed is in Markdown and JSON."""
    table = Table(title='measured beside published, in per cent')
    for heading in ZooRow._fields[:7]:
        if heading in ('measured', 'published', 'difference'):
            table.add_column(heading, justify='right', no_wrap=True)
        else:
            table.add_column(heading, overflow='fold')
    for row in rows:
        table.add_row(*_zoo_cells(row._replace(verdict='failed', error='') if row.error else row))
    return table


def zoo_markdown(rows: Sequence[ZooRow], title: str) -> str:
    """All rows as Markdown, under a heading."""
    headings = ZooRow._fields[:7]
    lines = [headings, ['---'] * len(headings), *map(_zoo_cells, rows)]
    table = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
    return f'# Measured beside published\n\n{title}\n\n{table}\n'


def _zoo_cells(row: ZooRow) -> tuple[str, ...]:
    measured, published = (
        '-' if value is None else f'{value:.2f}' for value in (row.measured, row.published)
    )
    difference = '-' if row.difference is None else f'{row.difference:+.2f}'
    verdict = f'failed: {row.error}'.replace('|', '\\|') if row.error else row.verdict
    return (row.config, row.task, row.metric, measured, published, difference, verdict)
