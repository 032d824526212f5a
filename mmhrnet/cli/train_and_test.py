"""The commands that train, evaluate and compare runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from mmhrnet.cli.options import CONFIG_OR_CHECKPOINT, Call, add, later, launched, share
from mmhrnet.errors import ConfigError, UserError

EXPORTED = ('.onnx', '.pt2')


def train(parser: ArgumentParser) -> Call:
    """Train a config of any OpenMMLab library."""
    share(parser, 'config', '--work-dir')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='checkpoint to resume from; without a value, the latest of the work folder',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate to the batch size'
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate')
    share(parser, '--data-root', '--swap', '--mini', '--from-scratch')
    share(parser, '--cfg-options', '--launcher', '--local_rank')
    return launched('mmhrnet.apis:train')


def test(parser: ArgumentParser) -> Call:
    """Evaluate a checkpoint or an exported whole model, beside the published figures."""
    add(parser, 'config', help=CONFIG_OR_CHECKPOINT)
    add(parser, 'checkpoint', nargs='?', help='checkpoint, or what `mmhrnet export` wrote of it')
    add(parser, '--work-dir', help='folder for logs')
    parser.add_argument('--show-dir', help='folder for pictures of predictions')
    share(parser, '--data-root', '--swap', '--split', '--cfg-options')
    share(parser, '--launcher', '--local_rank')
    checkpoints = launched('mmhrnet.apis:test')
    files = launched('mmhrnet.deploy.evaluate:evaluate_file')

    def call(config: str, checkpoint: str | None, **args: Any) -> None:
        if Path(config).suffix in EXPORTED:
            raise ConfigError(f'Give the config before {config}: its data and metric are used')
        chosen = files if Path(checkpoint or '').suffix in EXPORTED else checkpoints
        chosen(config=config, checkpoint=checkpoint, **args)

    return call


def zoo(parser: ArgumentParser) -> Call:
    """Evaluate many configs, beside the published figures.

    Writes Markdown and JSON after each of them.
    """
    add(parser, 'config', nargs='?', help=CONFIG_OR_CHECKPOINT)
    add(parser, 'checkpoint', nargs='?', help='checkpoint; default: the published one')
    parser.add_argument(
        '--list',
        metavar='FILE.yml',
        help='instead: a list of {config, checkpoint, data_root, cfg_options, swap}',
    )
    share(parser, '--data-root', '--swap', '--split')
    parser.add_argument(
        '--tolerance', type=float, default=0.2, help='percentage points that count as equal'
    )
    parser.add_argument('--out', default='work_dirs/benchmark_zoo', help='folder for the results')
    share(parser, '--cfg-options')
    return _evaluate_zoo


def _evaluate_zoo(**args: Any) -> None:
    from mmhrnet.zoo.evaluate import Entry, benchmark_zoo, read_entries

    path = args.pop('list')
    shared = {key: args.pop(key) for key in Entry._fields}
    if (shared['config'] is None) == (path is None):
        raise ConfigError('give either CONFIG [CHECKPOINT] or --list FILE.yml')
    entries = [Entry(**shared | entry) for entry in (read_entries(path) if path else [{}])]
    rows = benchmark_zoo(entries, **args)
    failed = [f'{row.config}: {row.error}' for row in rows if row.error]
    if failed:
        raise UserError('\n'.join(failed))


def logs(parser: ArgumentParser) -> Call:
    """Draw curves and tables of runs: losses, metrics, learning rate, time, memory."""
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='work folder of a training, or a scalars.json'
    )
    parser.add_argument(
        '--keys', nargs='+', default=[], metavar='KEY', help='losses and metrics to show'
    )
    parser.add_argument('--out', default='work_dirs/analyze_logs.png', help='PNG file to write')
    return later('mmhrnet.training.curves:analyze_logs')
