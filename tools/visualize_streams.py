"""Draws what the four parallel streams of HRNet see of an image, before and after each fusion."""

import argparse

from mmhrnet.inference.streams import visualize_streams
from mmhrnet.terminal import SettingsAction, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help='image file')
    parser.add_argument('--config', required=True, help='config file')
    parser.add_argument('--checkpoint', help='its weights; default: those that are published')
    parser.add_argument('--out', default='work_dirs/streams.png', help='default: %(default)s')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as trained with --mini')
    parser.add_argument('--data-root', help='with --mini: what was trained on, if not embedded')
    parser.add_argument('--device', help='default: the GPU where there is one')
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    return parser.parse_args()


def main() -> None:
    with one_line():
        visualize_streams(**vars(parse_args()))


if __name__ == '__main__':
    main()
