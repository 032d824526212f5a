"""Parameters and multiply-adds of a config or an architecture, without computing anything.

Detectors and bottom-up pose estimators: the MACs of backbone and neck, with all parameters.
"""

import argparse

from mmhrnet.terminal import CONSOLE, one_line
from mmhrnet.zoo.complexity import complexity_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or an architecture like w32')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar=('H', 'W'),
        help="height and width, or one side; default: the config's own, 224 for an architecture",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    shape = args.shape and (args.shape[0], args.shape[-1])
    with one_line():
        CONSOLE.print(complexity_table(args.config, shape))


if __name__ == '__main__':
    main()
