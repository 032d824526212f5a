"""Times HRNet beside every other one: mmpose, mmdet, mmseg, mmpretrain, timm, in every form.

Same weights, outputs compared, all in turn in one run. Writes Markdown, JSON and a picture.
"""

import argparse

from mmhrnet.benchmark import CASES, INFERENCE, TRAINING, benchmark
from mmhrnet.models import list_archs
from mmhrnet.terminal import one_line


def size(text: str) -> tuple[int, int]:
    height, _, width = text.partition('x')
    return int(height), int(width or height)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('case', nargs='?', choices=list(CASES), default='pose')
    parser.add_argument('--arch', choices=list_archs(), default='w32')
    parser.add_argument('--batch', type=int, nargs='+', default=[1], help='sizes, one or several')
    parser.add_argument(
        '--shape', type=size, nargs='+', default=[], metavar='HxW', help='sizes, one or several'
    )
    parser.add_argument(
        '--forms',
        nargs='+',
        choices=sorted({*INFERENCE, *TRAINING}),
        default=[],
        help='ways to run; default: all that run here',
    )
    parser.add_argument('--train', action='store_true', help='training steps, not inference')
    parser.add_argument(
        '--rewrites', action='store_true', help='the deploy form, one rewrite at a time'
    )
    parser.add_argument('--precision', choices=['fp32', 'fp16', 'bf16'], default='fp32')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='default: the GPU, if any')
    parser.add_argument('--rounds', type=int, help='samples of each')
    parser.add_argument('--quick', action='store_true', help='three minutes on two cores')
    parser.add_argument('--out', default='work_dirs/benchmark', help='folder for the results')
    args = parser.parse_args()
    args.shapes, args.batches = args.__dict__.pop('shape'), args.__dict__.pop('batch')
    return args


def main() -> None:
    args = vars(parse_args())
    with one_line():
        benchmark(args.pop('case'), **args)


if __name__ == '__main__':
    main()
