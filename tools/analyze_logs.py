"""Curves and figures of one or several runs: losses, metrics, learning rate, time, memory."""

import argparse

from mmhrnet.terminal import one_line
from mmhrnet.training.curves import analyze_logs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='work folder of tools/train.py, or a scalars.json'
    )
    parser.add_argument(
        '--keys', nargs='+', default=[], metavar='KEY', help='losses and metrics to keep to'
    )
    parser.add_argument('--out', default='work_dirs/analyze_logs.png', help='PNG file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line():
        analyze_logs(args.runs, args.keys, args.out)


if __name__ == '__main__':
    main()
