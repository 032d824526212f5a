"""Draws what the pipeline of a config really feeds to the network, with the targets."""

import argparse

from mmhrnet.inference.browse import browse
from mmhrnet.terminal import SettingsAction, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out-dir', default='work_dirs/browse', help='default: %(default)s')
    parser.add_argument('--number', type=int, default=12, help='samples; default: %(default)s')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='default: %(default)s'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the order and the augmentation')
    parser.add_argument('--data-root', help='root of the data set, for every loader')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as --mini of tools/train.py has it')
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    return parser.parse_args()


def main() -> None:
    with one_line():
        browse(**vars(parse_args()))


if __name__ == '__main__':
    main()
