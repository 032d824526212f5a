"""Evaluates checkpoints of many configs and compares the metrics with the published ones."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

import mmhrnet
from mmhrnet.config.check import config_errors
from mmhrnet.errors import ConfigError, UserError
from mmhrnet.files import check_folder, write_text
from mmhrnet.hub.published import Evaluation, ZooRow, compare_to_published, zoo_markdown, zoo_table
from mmhrnet.terminal import CONSOLE
from mmhrnet.training.evaluate import TEST, Split, build_test_runner
from mmhrnet.training.report import count_images

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


def benchmark_zoo(
    entries: Sequence[Entry],
    *,
    split: Split = 'test',
    tolerance: float = 0.2,
    out: str | Path = 'work_dirs/benchmark_zoo',
) -> list[ZooRow]:
    """Evaluates each entry; one that fails becomes a row with its error, and the others still run.

    Rewrites ``results.md`` and ``results.json`` after each entry.

    Args:
        entries: What to evaluate.
        split: 'test', or 'train' for the training data through the test's pipeline.
        tolerance: Per cent points within which a figure counts as the published one.
        out: Folder for the results and the logs.
    """
    out = Path(out)
    check_folder(out)
    settings = dict(
        split=split, tolerance=tolerance, mmhrnet=mmhrnet.__version__, torch=torch.__version__
    )
    rows: list[ZooRow] = []
    for number, entry in enumerate(entries, 1):
        CONSOLE.print(f'{number} of {len(entries)}: {entry.config}')
        rows += _rows(entry, split, tolerance, out)
        content = dict(settings, rows=[row._asdict() for row in rows])
        write_text(out / 'results.json', json.dumps(content, indent=1))
        title = ', '.join(f'{name} {value}' for name, value in settings.items())
        write_text(out / 'results.md', zoo_markdown(rows, f'In per cent; {title}.'))
    CONSOLE.print(zoo_table(rows))
    CONSOLE.print(f'results: {out / "results.md"}')
    return rows


def _rows(entry: Entry, split: Split, tolerance: float, out: Path) -> list[ZooRow]:
    name = Path(entry.config).stem
    try:
        evaluation = evaluate(entry, split, out / name)
    except Exception as error:  # whatever it is, the other entries still run
        expected = isinstance(error, EXPECTED_ERRORS)
        if not expected:
            traceback.print_exc()
        reason = ' '.join(' '.join(str(error).splitlines()[:2]).split())
        message = reason if expected else f'{type(error).__name__}: {reason}'
        return [ZooRow(name, error=message, checkpoint=entry.checkpoint)]
    same_data = split == 'test'
    name = evaluation.config or name  # of a checkpoint alone: the config of its training
    rows = compare_to_published(name, evaluation, same_data=same_data, tolerance=tolerance)
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
