"""Everything that is known of each published weight: ``docs/zoo``, as a page and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmhrnet.checkpoints.places import known_weights
from mmhrnet.config.load import load_config
from mmhrnet.config.settings import Settings, settings_of, settings_of_weights
from mmhrnet.errors import ConfigError, plural
from mmhrnet.files import write_text
from mmhrnet.hosts import known_hosts, published_metrics
from mmhrnet.hosts.host import Host, Metric
from mmhrnet.hub.published import (
    MetafileModel,
    Weights,
    config_file,
    metafile_models,
    model_facts,
    other_data,
    published_results,
    published_weights,
)
from mmhrnet.terminal import CONSOLE, markdown_table
from mmhrnet.zoo.results import Evaluation, Latency, Record, of_config, of_weights, read_results

PAGE, TABLE, RESULTS = 'README.md', 'zoo.csv', 'results'
HEAD = """# The zoo

Every config with its published weights. We have not trained these at full length ourselves, so the
published figures are those of the publisher that is named with them, and a figure that was measured
again stands beside them only if there is a [result file](results/README.md) that says with which
file, data, versions and device, when and by whom. An empty cell under "measured again" or "latency"
means that nobody has measured it.

{counts}

Multiply-adds of detectors and of DEKR are those of backbone and neck. The published networks were
trained on RGB with ImageNet's mean and deviation, with BatchNorm in backbone and neck and, where
they upsample bilinearly, without `align_corners`; the published figures are those of single images
at one scale. The column "otherwise" says what is different. [zoo.csv](zoo.csv) has the same rows
with all settings and the whole SHA-256. Both are written by `python -m mmhrnet zoo report` from the
metafiles, `configs/<library>/weights.yml` and the result files.
"""
HEADINGS = (
    *('config', 'data', 'params', 'GMACs', 'published', 'by', 'measured again', 'latency'),
    *('otherwise', 'weights', 'SHA-256'),
)
COLUMNS = (
    *('config', 'task', 'data', 'weights', 'url', 'source', 'sha256', 'parameters', 'macs'),
    *('published', *Settings._fields, 'measured', 'measured_with', 'latency'),
)
CIRCUMSTANCES = ('versions', 'device', 'date', 'by')
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


class Row(NamedTuple):
    """A config with one of its published weights, or none."""

    host: Host
    model: MetafileModel
    name: str
    weights: Weights | None
    settings: Settings
    published: Mapping[str, float]
    evaluations: Sequence[Evaluation]
    latencies: Sequence[Latency]

    @property
    def source(self) -> str:
        """Who published the figures."""
        results = self.model.get('Results', [])
        return self.weights.source if self.weights else results[0]['Source'] if results else ''

    @property
    def sha256(self) -> str:
        return known_weights().get(self.name, {}).get('sha256') or ''


def write_report(out: str | Path = 'docs/zoo', results: str | Path | None = None) -> None:
    """Writes ``README.md`` and ``zoo.csv``.

    Args:
        out: Folder for both.
        results: Folder of the result files; None is ``results`` in ``out``.

    Raises:
        ConfigError: A result file is wrong, or the library of a config is not installed.
    """
    for name, text in make_report(Path(results or Path(out, RESULTS))).items():
        write_text(Path(out, name), text)
        CONSOLE.print(str(Path(out, name)))


def make_report(results: Path) -> dict[str, str]:
    """The texts of the two files, by their names."""
    if not results.is_dir():
        raise ConfigError(f'There is no folder {results} of result files')
    rows = make_rows(list(read_results(results).values()))
    parts = [HEAD.format(counts=_counts(rows))]
    for host in dict.fromkeys(row.host.name for row in rows):
        own = [row for row in rows if row.host.name == host]
        table = markdown_table(HEADINGS, map(_cells, own))
        parts.append(f'## {own[0].host.title}\n\n{table}\n')
    parts += _measured(rows)
    return {PAGE: '\n'.join(parts), TABLE: _csv(rows)}


def make_rows(records: Sequence[Record]) -> list[Row]:
    """A row for each published weight, and for each config that has none."""
    rows = []
    for model in metafile_models():
        config, host = model['Name'], known_hosts()[model['Config'].split('/')[1]]
        own = {n: weights for n, weights in published_weights().items() if weights.config == config}
        times = of_config(records, config)
        for name, weights in own.items():
            known, measured = settings_of_weights(name), of_weights(records, name)
            rows.append(Row(host, model, name, weights, known, weights.metrics, measured, times))
        if not own:
            settings = settings_of(load_config(config_file(config)))
            figures = published_results(config)
            rows.append(Row(host, model, '', None, settings, figures, [], times))
    return rows


def _counts(rows: Sequence[Row]) -> str:
    weights = [row for row in rows if row.weights]
    measured = sum(bool(row.evaluations) for row in weights)
    hashed = sum(bool(row.sha256) for row in weights)
    return (
        f'Of {plural(len(weights), "published file")}, {measured} were measured again, and the '
        f'whole SHA-256 of {hashed} is known.'
    )


def _cells(row: Row) -> tuple[str, ...]:
    data, params, macs, _ = model_facts(row.model)
    return (
        f'[{row.model["Name"]}](../../{row.model["Config"]})',
        *(data, params, macs),
        _figures(row.published),
        row.source,
        '<br>'.join(_again(record) for record in row.evaluations),
        '<br>'.join(_time(record) for record in row.latencies),
        ', '.join(_otherwise(row.settings)),
        f'[{Path(row.name).suffix[1:]}]({row.weights.url})' if row.weights else '',
        row.sha256[:16],
    )


def _figures(metrics: Mapping[str, float]) -> str:
    return ', '.join(f'{name} {value:g}' for name, value in metrics.items())


def _otherwise(settings: Settings) -> Iterable[str]:
    if settings.channels != 'RGB':
        yield settings.channels
    usual = tuple(values[:: 1 if settings.channels == 'RGB' else -1] for values in IMAGENET)
    if (settings.mean, settings.std) != usual:
        yield f'mean {settings.mean}, deviation {settings.std}'
    for name, given in {
        'align_corners': settings.align_corners,
        'InPlaceABN': settings.inplace_abn,
        'flip test': settings.flip_test,
        'several scales': settings.multi_scale,
    }.items():
        if given:
            yield name


def _again(record: Evaluation) -> str:
    """The metrics of a record that are published for its kind, in the published units."""
    known = published_metrics()
    figures = {}
    for name in [n for n in record.metrics if n in known] or record.metrics:
        metric = known.get(name, Metric(name))
        figures[metric.name] = round(record.metrics[name] * metric.factor, 4)
    other = other_data(record.config, record.inputs.data.images, same_data=True)
    stand_in = '' if record.inputs.file == record.inputs.weights else record.inputs.file
    notes = '; '.join(filter(None, [other, stand_in]))
    return f'{_figures(figures)}{f" ({notes})" if notes else ""}'


def _measured(rows: Sequence[Row]) -> list[str]:
    """Where each figure that was measured is from."""
    again = [
        (row.name, _again(record), _annotations(record), *_circumstances(record))
        for row in rows
        for record in row.evaluations
    ]
    times = {
        (
            record.config,
            f'{record.runtime}, {record.precision}',
            f'{record.batch} x {record.shape[0]}x{record.shape[1]}',
            str(record.threads or ''),
            f'{record.milliseconds:.3g}',
            *_circumstances(record),
        ): None
        for row in rows
        for record in row.latencies
    }
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        ('Measured again', ('weights', 'figure', 'data'), again),
        ('Latency', ('config', 'runtime', 'input', 'threads', 'ms'), list(times)),
    ]
    return [
        f'## {title}\n\n{markdown_table((*headings, *CIRCUMSTANCES), found)}\n'
        for title, headings, found in tables
        if found
    ]


def _annotations(record: Evaluation) -> str:
    data = record.inputs.data
    files = [f'{name} {digest[:8]}' for name, digest in data.annotations.items()]
    return ', '.join([*files, plural(data.images, 'image')])


def _circumstances(record: Record) -> tuple[str, str, str, str]:
    versions = ', '.join(record.versions.model_dump().values())
    return f'Python {versions}', record.device, record.date.isoformat(), record.by


def _csv(rows: Sequence[Row]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    for row in rows:
        meta = row.model['Metadata']
        writer.writerow(
            (
                *(row.model['Name'], row.host.task, meta['Training Data'], row.name),
                *(row.weights.url if row.weights else '', row.source, row.sha256),
                *(meta['Parameters'], meta['FLOPs'], _figures(row.published)),
                *map(_plain, row.settings),
                '; '.join(_again(record) for record in row.evaluations),
                '; '.join(
                    ', '.join([_annotations(record), *_circumstances(record)])
                    for record in row.evaluations
                ),
                '; '.join(
                    ', '.join([_time(record), _threads(record), *_circumstances(record)])
                    for record in row.latencies
                ),
            )
        )
    return file.getvalue()


def _plain(value: object) -> object:
    """Lists as numbers with spaces, truth values as in YAML, and nothing as an empty cell."""
    if isinstance(value, tuple):
        return ' '.join(map(str, value))
    return '' if value is None else str(value).lower() if isinstance(value, bool) else value


def _time(record: Latency) -> str:
    height, width = record.shape
    time = f'{record.runtime} {record.precision}: {record.milliseconds:.3g} ms'
    return f'{time} ({record.batch} x {height}x{width})'


def _threads(record: Latency) -> str:
    return plural(record.threads, 'thread') if record.threads else 'GPU'
