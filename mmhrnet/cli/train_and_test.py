"""The commands that train, evaluate and compare runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from mmhrnet.cli.options import CONFIG_OR_CHECKPOINT, Call, add, later, launched, share
from mmhrnet.errors import ConfigError, UserError

EXPORTED = ('.onnx', '.pt2')
RESULTS = 'docs/zoo/results'


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


def zoo_evaluate(parser: ArgumentParser) -> Call:
    """Evaluate many configs, beside the published figures.

    Writes Markdown and JSON after each of them. With --all or --results, each figure becomes a
    result file for `mmhrnet zoo report`, and what has one is skipped.
    """
    add(parser, 'config', nargs='?', help=CONFIG_OR_CHECKPOINT)
    add(parser, 'checkpoint', nargs='?', help='checkpoint; default: the published one')
    parser.add_argument(
        '--list',
        metavar='FILE.yml',
        help='instead: a list of {config, checkpoint, data_root, cfg_options, swap}',
    )
    parser.add_argument('--all', action='store_true', help='instead: all published weights')
    root = 'root of the data set, for every loader; with --all, the folder of all data sets'
    add(parser, '--data-root', help=root)
    share(parser, '--swap', '--split')
    parser.add_argument(
        '--tolerance', type=float, default=0.2, help='percentage points that count as equal'
    )
    parser.add_argument('--out', default='work_dirs/benchmark_zoo', help='folder for the tables')
    results = f'folder for the result files of published weights; with --all: {RESULTS}'
    parser.add_argument('--results', metavar='DIR', help=results)
    parser.add_argument('--by', help='who measures, for the result files; default: as git knows')
    share(parser, '--cfg-options')
    return _evaluate_zoo


def _evaluate_zoo(**args: Any) -> None:
    from mmhrnet.zoo.evaluate import Entry, all_entries, benchmark_zoo, read_entries

    path, everything = args.pop('list'), args.pop('all')
    shared = {key: args.pop(key) for key in Entry._fields}
    if [shared['config'] is None, path is None, not everything].count(False) != 1:
        raise ConfigError('give either CONFIG [CHECKPOINT] or --list FILE.yml or --all')
    if args['by'] and not (everything or args['results']):
        raise ConfigError('--by is for result files: add --results or --all, or leave it out')
    if everything:
        args['results'] = args['results'] or RESULTS
        own = {key: shared[key] for key in ('cfg_options', 'swap')}
        entries = [entry._replace(**own) for entry in all_entries(shared['data_root'] or 'data')]
    else:
        entries = [Entry(**shared | entry) for entry in (read_entries(path) if path else [{}])]
    rows = benchmark_zoo(entries, **args)
    failed = [f'{row.config}: {row.error}' for row in rows if row.error]
    if failed:
        raise UserError('\n'.join(failed))


def zoo_report(parser: ArgumentParser) -> Call:
    """Write docs/zoo, which has what is known of each published weight.

    Its sources are the metafiles, weights.yml and result files.
    """
    parser.add_argument('--results', metavar='DIR', help='result files; default: results in --out')
    parser.add_argument('--out', default='docs/zoo', help='folder for README.md and zoo.csv')
    return later('mmhrnet.zoo.dossier:write_report')


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
