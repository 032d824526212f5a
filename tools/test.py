"""Evaluates a checkpoint of a config of any OpenMMLab library."""

import argparse
import os

import mmhrnet.apis as apis
from mmhrnet.terminal import SettingsAction, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs')
    parser.add_argument('--show-dir', help='folder for pictures of predictions')
    parser.add_argument('--data-root', help='root of the data set, for every loader')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as trained with --mini')
    parser.add_argument(
        '--split', choices=['test', 'train'], default='test', help='data to evaluate on'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    os.environ.setdefault('LOCAL_RANK', str(args.pop('local_rank')))
    with one_line():
        apis.test(**args)


if __name__ == '__main__':
    main()
