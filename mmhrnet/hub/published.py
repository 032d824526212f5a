"""The configs and their published figures, from the metafiles that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypedDict

import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmhrnet.checkpoints.places import known_weights, name_of
from mmhrnet.datasets.mini import NUM_VAL
from mmhrnet.hosts import known_hosts, published_metrics
from mmhrnet.hosts.host import Metric
from mmhrnet.terminal import markdown_table

ROOT = Path(__file__).resolve().parents[1] / '.mim'

# Number of images behind the published figures, by the metafiles' name of the data set. Data sets
# that are counted in persons or faces, or on whose number sources disagree, are not checked.
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
SCREEN = 144  # characters of the widest row
Metadata = TypedDict('Metadata', {'Training Data': str, 'Parameters': float, 'FLOPs': float})


class Result(TypedDict):
    """A published result of a config, with OpenMMLab's fields."""

    Task: str
    Dataset: str
    Metrics: dict[str, float]
    Source: str


class Weights(NamedTuple):
    """Published weights of a config.

    Attributes:
        url: Where the publisher has the file.
        config: Name of the config, without its suffix.
        source: Who published the figures.
        metrics: The figures, by their names in the metafiles.
    """

    url: str
    config: str
    source: str
    metrics: Mapping[str, float]


class MetafileModel(TypedDict, total=False):
    """A config in a metafile; only ``Results`` and ``Weights`` may be missing."""

    Name: str
    Config: str
    Metadata: Metadata
    Results: list[Result]
    Weights: str


@cache
def metafile_models() -> list[MetafileModel]:
    """The ``Models`` of all metafiles, with OpenMMLab's fields."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))['Import']
    files = [yaml.safe_load((ROOT / path).read_text(encoding='utf-8')) for path in index]
    return [model for file in files for model in file['Models']]


@cache
def published_weights() -> Mapping[str, Weights]:
    """The weights of all configs by the name of the file, from metafiles and ``weights.yml``."""
    found = {}
    for model in metafile_models():
        if 'Weights' in model:
            results = model.get('Results', [])
            source = results[0]['Source'] if results else ''
            url, config = model['Weights'], model['Name']
            found[name_of(url)] = Weights(url, config, source, published_results(config))
    for name, entry in known_weights().items():
        if 'config' in entry:
            metrics = entry.get('published', {})
            found[name] = Weights(entry['url'], entry['config'], entry.get('source', ''), metrics)
    return found


def config_file(name: str) -> Path:
    """The file of a config of the metafiles, by its name."""
    return next(ROOT / model['Config'] for model in metafile_models() if model['Name'] == name)


def published_results(config: str) -> dict[str, float]:
    """Metrics, by metafile name, that are published for the config of that file name."""
    results = _results(config)
    return {name: value for result in results for name, value in result['Metrics'].items()}


def _results(config: str) -> list[Result]:
    return [
        result
        for model in metafile_models()
        if model['Name'] == config
        for result in model.get('Results', ())
    ]


def model_facts(model: MetafileModel) -> tuple[str, str, str, str]:
    """Data, parameters, multiply-adds and published figures."""
    meta, published = model['Metadata'], published_results(model['Name'])
    figures = ', '.join(f'{name} {value}' for name, value in published.items())
    params, macs = f'{meta["Parameters"] / 1e6:.1f} M', f'{meta["FLOPs"] / 1e9:.2f}'
    return meta['Training Data'], params, macs, figures or '-'


def model_screen() -> Table:
    """All models as one table, whose rows are not wrapped on a narrow screen or in a pipe."""
    table = Table('name (mmhrnet::NAME)', 'data', box=SIMPLE_HEAD, width=SCREEN)
    table.add_column('params', justify='right')
    table.add_column('GMACs', justify='right')
    table.add_column('published')
    for model in metafile_models():
        name = model['Config'].removeprefix('configs/').removesuffix('.py')
        table.add_row(name, *model_facts(model))
    return table


class Evaluation(NamedTuple):
    """What a host's evaluator measured, on how many images, and the name of the config."""

    metrics: Mapping[str, float]
    images: int
    library: str
    config: str = ''


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
    config: str,
    evaluation: Evaluation,
    *,
    same_data: bool,
    tolerance: float,
    published: Mapping[str, float] | None = None,
) -> list[ZooRow]:
    """The metrics that papers report, or all if there are none of these, beside published ones.

    Args:
        config: File name of the config, without its suffix.
        evaluation: What was measured.
        same_data: False if the data are known to differ from those of the published figure.
        tolerance: Per cent points within which a figure counts as the published one.
        published: The published figures; None are those of the config.
    """
    results = _results(config)
    host = known_hosts().get(evaluation.library)
    task = results[0]['Task'] if results else host.task_name if host else '-'
    published = published_results(config) if published is None else published
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
    """What is to be said if data are not those of the published figure of a config, else nothing.

    Args:
        config: File name of the config, without its suffix.
        images: Number of images that were evaluated.
        same_data: False if the data are known to differ.
    """
    results = _results(config)
    expected = VALIDATION_IMAGES.get(results[0]['Dataset']) if results else None
    if expected not in (None, images):
        return f'other data ({images} images, not {expected})'
    return '' if same_data and images != NUM_VAL else f'other data ({images} images)'


def _verdict(difference: float, less_is_better: bool, tolerance: float) -> str:
    if abs(difference) <= tolerance:
        return f'within {tolerance:g}'
    better = (difference < 0) == less_is_better
    return f'{"above" if difference > 0 else "below"} ({"better" if better else "worse"})'


def zoo_table(rows: Sequence[ZooRow]) -> Table:
    """All rows in one table; the Markdown and JSON files also say why something failed."""
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
    table = markdown_table(ZooRow._fields[:7], map(_zoo_cells, rows))
    return f'# Measured beside published\n\n{title}\n\n{table}\n'


def _zoo_cells(row: ZooRow) -> tuple[str, ...]:
    measured, published = (
        '-' if value is None else f'{value:.2f}' for value in (row.measured, row.published)
    )
    difference = '-' if row.difference is None else f'{row.difference:+.2f}'
    verdict = f'failed: {row.error}'.replace('|', '\\|') if row.error else row.verdict
    return (row.config, row.task, row.metric, measured, published, difference, verdict)
