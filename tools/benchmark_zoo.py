"""Evaluates configs with their checkpoints and puts the results beside the published figures.

Writes Markdown and JSON after each of them. Without a checkpoint, the published weights are taken.
"""

import argparse

from mmhrnet.errors import UserError
from mmhrnet.terminal import SettingsAction, one_line
from mmhrnet.zoo.evaluate import Entry, benchmark_zoo, read_entries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint; default: the published one')
    parser.add_argument(
        '--list',
        metavar='FILE.yml',
        help='instead: a list of {config, checkpoint, data_root, mini, cfg_options, swap}',
    )
    parser.add_argument('--data-root', help='root of the data set')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as trained with --mini')
    parser.add_argument(
        '--split', choices=['test', 'train'], default='test', help='data to evaluate on'
    )
    parser.add_argument(
        '--tolerance', type=float, default=0.2, help='per cent points that count as equal'
    )
    parser.add_argument('--out', default='work_dirs/benchmark_zoo', help='folder for the results')
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    args = parser.parse_args()
    if (args.config is None) == (args.list is None):
        parser.error('say either CONFIG [CHECKPOINT] or --list FILE.yml')
    return args


def main() -> None:
    args = vars(parse_args())
    path, shared = args.pop('list'), {key: args.pop(key) for key in Entry._fields}
    with one_line():
        entries = [Entry(**shared | entry) for entry in (read_entries(path) if path else [{}])]
        rows = benchmark_zoo(entries, **args)
        failed = [f'{row.config}: {row.error}' for row in rows if row.error]
        if failed:
            raise UserError('\n'.join(failed))


if __name__ == '__main__':
    main()
