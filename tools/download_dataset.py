"""Downloads the data sets of the configs, or says where they are and what to do with them."""

import argparse

from mmhrnet.datasets.download import download_dataset
from mmhrnet.datasets.sources import source_table
from mmhrnet.terminal import CONSOLE, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', nargs='?', metavar='NAME', help='data set; none: as --list')
    parser.add_argument('--data-root', default='data', help='folder of all data sets')
    parser.add_argument(
        '--only', default='*', metavar='GLOB', help="names of files to take, like 'val2017*'"
    )
    parser.add_argument('--keep-archives', action='store_true', help='keep them after unpacking')
    parser.add_argument('--list', action='store_true', help='list the data sets')
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    if args.pop('list') or not args['name']:
        CONSOLE.print(source_table())
        return
    with one_line(stopped='stopped; the same command goes on from here'):
        download_dataset(**args)


if __name__ == '__main__':
    main()
