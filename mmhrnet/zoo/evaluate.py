"""Evaluates checkpoints of many configs and compares the metrics with the published ones."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from datetime import date
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

import mmhrnet
from mmhrnet.checkpoints.places import name_of
from mmhrnet.config.check import config_errors
from mmhrnet.config.load import load_config
from mmhrnet.config.stored import make_config_for
from mmhrnet.config.weights import find_weights
from mmhrnet.errors import ConfigError, UserError
from mmhrnet.files import check_folder, write_text
from mmhrnet.hub.published import (
    Evaluation,
    ZooRow,
    compare_to_published,
    config_file,
    published_weights,
    zoo_markdown,
    zoo_table,
)
from mmhrnet.terminal import CONSOLE
from mmhrnet.training.evaluate import TEST, Split, build_test_runner
from mmhrnet.training.report import count_images
from mmhrnet.walk import datasets
from mmhrnet.zoo.provenance import device, inputs_of, versions_of, who
from mmhrnet.zoo.results import Evaluation as Record
from mmhrnet.zoo.results import find_result, read_results, write_result

EXPECTED_ERRORS = (UserError, OSError)


class Entry(NamedTuple):
    """A config with a checkpoint; without one, with the published weights.

    The config may be a checkpoint that contains its own.
    """

    config: str
    checkpoint: str | None = None
    data_root: str | None = None
    cfg_options: Mapping[str, object] | None = None
    swap: bool = False


def read_entries(path: str | Path) -> list[dict[str, object]]:
    """Reads a YAML list of ``{config, checkpoint, data_root, cfg_options, swap}``.

    Returns:
        The fields that each entry names; all but ``config`` may be left out.

    Raises:
        ConfigError: The file does not exist or has other content.
    """
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise ConfigError(f'The list {path} cannot be read: {reason}') from error
    if not isinstance(entries, list) or not entries:
        raise ConfigError(
            f'{path} is not a list of entries like: - {{config: FILE, checkpoint: FILE}}'
        )
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get('config'), str):
            raise ConfigError(f'{path}, entry {number}, names no config: write config: FILE')
        unknown = ', '.join(map(str, entry.keys() - set(Entry._fields)))
        if unknown:
            fields = ', '.join(Entry._fields)
            raise ConfigError(
                f'{path}, entry {number}: {unknown} is unknown; the fields are {fields}'
            )
    return entries


def all_entries(data_root: str | Path) -> list[Entry]:
    """All published weights with their configs.

    Args:
        data_root: Folder of all data sets, in place of ``data`` in the configs.
    """
    found = []
    for weights in published_weights().values():
        file = config_file(weights.config)
        found.append(Entry(str(file), weights.url, str(_data_root(file, Path(data_root)))))
    return found


def _data_root(config: Path, folder: Path) -> Path:
    try:
        dataset = next(datasets(load_config(config), ('test_dataloader',)))
    except ConfigError:  # its library is missing: told when its turn comes
        return folder
    return folder / Path(dataset.data_root).relative_to('data')


class Recorder:
    """Keeps figures of published weights as result files, and finds those that are there.

    Args:
        folder: Folder of result files.
        by: Who measures; None asks git.

    Raises:
        ConfigError: Nobody is known, or a file in the folder is no valid result.
        WriteError: The folder cannot be written to.
    """

    def __init__(self, folder: str | Path, by: str | None = None) -> None:
        self.folder, self.by = Path(folder), who(by)
        check_folder(self.folder)
        read_results(self.folder)

    def evaluate(self, entry: Entry, work_dir: Path) -> Evaluation:
        """The result of an entry that there is, or else that of a test.

        Raises:
            ConfigError: As :func:`evaluate`, or the weights are not published ones of this config.
        """
        edits = entry._asdict()
        cfg, checkpoint = make_config_for(
            edits.pop('config'), edits.pop('checkpoint'), with_data=True, **edits
        )
        name, library = Path(cfg.filename).stem, cfg.default_scope
        inputs = inputs_of(cfg, find_weights(entry.config, checkpoint))
        weights = published_weights().get(inputs.weights)
        if weights is None or weights.config != name:
            raise ConfigError(f'{inputs.weights} are not published for {name}: leave out --results')
        found = find_result(read_results(self.folder), inputs)
        if found:
            CONSOLE.print(f'skipped: {found[0]} is of the same weights, data and config')
            return Evaluation(found[1].metrics, inputs.data.images, library, name)
        evaluation = evaluate(entry, 'test', work_dir)
        # A class that does not occur has no IoU.
        metrics = {m: float(v) for m, v in evaluation.metrics.items() if isfinite(v)}
        if not metrics:
            raise ConfigError(f'{inputs.weights} has no finite metric on these data')
        record = Record(
            kind='evaluation',
            config=name,
            inputs=inputs,
            metrics=metrics,
            versions=versions_of(library),
            device=device(),
            date=date.today(),
            by=self.by,
        )
        CONSOLE.print(f'result: {write_result(self.folder, record)}')
        return evaluation


def benchmark_zoo(
    entries: Sequence[Entry],
    *,
    split: Split = 'test',
    tolerance: float = 0.2,
    out: str | Path = 'work_dirs/benchmark_zoo',
    results: str | Path | None = None,
    by: str | None = None,
) -> list[ZooRow]:
    """Evaluates each entry; one that fails becomes a row with its error, and the others still run.

    Rewrites ``results.md`` and ``results.json`` after each entry.

    Args:
        entries: What to evaluate.
        split: 'test', or 'train' for the training data through the test's pipeline.
        tolerance: Per cent points within which a figure counts as the published one.
        out: Folder for the tables and the logs.
        results: Folder for a result file of each entry, which have to be published weights. What
            has one of the same weights, data and config is not evaluated again.
        by: Who measures, for the result files; None asks git.

    Raises:
        ConfigError: ``results`` has a wrong file, or goes with the training data.
    """
    out = Path(out)
    check_folder(out)
    if results and split != 'test':
        raise ConfigError('--all and --results are for the test data: leave out --split train')
    recorder = Recorder(results, by) if results else None
    settings = dict(
        split=split, tolerance=tolerance, mmhrnet=mmhrnet.__version__, torch=torch.__version__
    )
    rows: list[ZooRow] = []
    for number, entry in enumerate(entries, 1):
        CONSOLE.print(f'{number} of {len(entries)}: {entry.config}')
        rows += _rows(entry, split, tolerance, out, recorder)
        content = dict(settings, rows=[row._asdict() for row in rows])
        write_text(out / 'results.json', json.dumps(content, indent=1))
        title = ', '.join(f'{name} {value}' for name, value in settings.items())
        write_text(out / 'results.md', zoo_markdown(rows, f'In per cent; {title}.'))
    CONSOLE.print(zoo_table(rows))
    CONSOLE.print(f'results: {out / "results.md"}')
    return rows


def _rows(
    entry: Entry, split: Split, tolerance: float, out: Path, recorder: Recorder | None
) -> list[ZooRow]:
    name = Path(entry.config).stem
    published = published_weights().get(name_of(entry.checkpoint or ''))
    # Weights of one config have their own logs.
    work_dir = out / (Path(name_of(published.url)).stem if published else name)
    try:
        if recorder:
            evaluation = recorder.evaluate(entry, work_dir)
        else:
            evaluation = evaluate(entry, split, work_dir)
    except Exception as error:  # whatever it is, the other entries still run
        expected = isinstance(error, EXPECTED_ERRORS)
        if not expected:
            traceback.print_exc()
        reason = ' '.join(' '.join(str(error).splitlines()[:2]).split())
        message = reason if expected else f'{type(error).__name__}: {reason}'
        return [ZooRow(name, error=message, checkpoint=entry.checkpoint)]
    name = evaluation.config or name  # of a checkpoint alone: the config of its training
    rows = compare_to_published(
        name,
        evaluation,
        same_data=split == 'test',
        tolerance=tolerance,
        published=published.metrics if published else None,
    )
    return [row._replace(checkpoint=entry.checkpoint) for row in rows]


def evaluate(entry: Entry, split: Split, work_dir: Path) -> Evaluation:
    """Tests an entry.

    Raises:
        ConfigError: Arguments, data or weights that cannot work, or an evaluator without metrics.
    """
    runner = build_test_runner(split=split, work_dir=str(work_dir), **entry._asdict())
    with config_errors():
        metrics = runner.test()
    if not metrics:
        raise ConfigError('The evaluator returned no metric: set its format_only to False')
    images = count_images(runner.test_dataloader.dataset)
    name = Path(runner.cfg.filename).stem.removesuffix(TEST)
    return Evaluation(metrics, images, runner.cfg.default_scope, name)
