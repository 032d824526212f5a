"""A web page for this machine: drop an image, choose config and weights, see what HRNet sees."""

import argparse

from mmhrnet.inference.web import serve
from mmhrnet.terminal import one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--checkpoints', default='work_dirs', help='folder to choose from; default: %(default)s'
    )
    parser.add_argument('--port', type=int, default=7860, help='default: %(default)s')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='default: %(default)s, this machine only; any other shows the page to the network',
    )
    parser.add_argument(
        '--allow-host',
        action='append',
        default=[],
        dest='allow_hosts',
        metavar='NAME',
        help='further name to open the page by, as of a reverse proxy; can be repeated',
    )
    parser.add_argument('--max-upload', default='10mb', help='largest file; default: %(default)s')
    parser.add_argument('--data-root', help='with --mini: what was trained on, if not embedded')
    parser.add_argument('--device', help='default: the GPU where there is one')
    return parser.parse_args()


def main() -> None:
    with one_line():
        serve(**vars(parse_args()))


if __name__ == '__main__':
    main()
