"""Trains a config of any OpenMMLab library."""

import argparse
import os

import mmhrnet.apis as apis
from mmhrnet.terminal import SettingsAction, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
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
    parser.add_argument('--data-root', help='root of the data set, for every loader')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument(
        '--mini',
        action='store_true',
        help='fit for a CPU; the embedded data set, unless --data-root says another',
    )
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights')
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
        apis.train(**args)


if __name__ == '__main__':
    main()
