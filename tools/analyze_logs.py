"""Curves and figures of one or several runs: losses, metrics, learning rate, time, memory."""

import argparse
import sys
from pathlib import Path

from mmhrnet.analysis import LogError, analyze_logs


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
    try:
        analyze_logs(args.runs, args.keys, args.out)
    except (LogError, OSError) as error:
        sys.exit(f'{Path(__file__).name}: {error}')


if __name__ == '__main__':
    main()
