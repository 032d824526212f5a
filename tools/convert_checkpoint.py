"""Converts a checkpoint of any published HRNet to the names of another library."""

import argparse

from mmhrnet.checkpoints import FORMS
from mmhrnet.checkpoints.convert_file import convert_checkpoint
from mmhrnet.terminal import one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='checkpoint: a .pth or .safetensors file, or a URL')
    parser.add_argument('dst', help='file to write, .pth or .safetensors')
    parser.add_argument('--to', choices=list(FORMS), default='mmhrnet', help='names to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line():
        print(convert_checkpoint(args.src, args.dst, args.to))


if __name__ == '__main__':
    main()
