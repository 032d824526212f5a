"""The commands that show what a network gets and what it sees."""

from __future__ import annotations

from argparse import ArgumentParser

from mmhrnet.cli.options import Call, later, share


def demo(parser: ArgumentParser) -> Call:
    """Predict on images, folders and videos: pictures and JSON.

    Detectors: boxes and masks. Pose: skeletons and heatmaps. Segmentation: classes of the pixels.
    Classification: the five likeliest classes. Beside each picture is a JSON file with the
    numbers.
    """
    parser.add_argument('source', metavar='IMAGE|FOLDER|VIDEO')
    share(parser, '--config', '--checkpoint')
    parser.add_argument('--out-dir', default='work_dirs/demo', help='default: %(default)s')
    parser.add_argument('--det-config', help='for pose: the detector that finds the persons')
    parser.add_argument('--det-checkpoint', help='its weights, with or without --det-config')
    share(parser, '--swap', '--device')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='lowest score drawn; default: %(default)s'
    )
    share(parser, '--cfg-options')
    return later('mmhrnet.inference.demo:demo')


def web(parser: ArgumentParser) -> Call:
    """Serve all tasks as a web page of this machine.

    Drop an image, choose config and weights, and see what HRNet sees.
    """
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
        help='further name of this page, as of a reverse proxy; can be repeated',
    )
    parser.add_argument('--max-upload', default='10mb', help='largest file; default: %(default)s')
    share(parser, '--device')
    return later('mmhrnet.inference.web:serve')


def streams(parser: ArgumentParser) -> Call:
    """Draw the four parallel streams of an image, before and after each fusion."""
    parser.add_argument('image', help='image file')
    share(parser, '--config', '--checkpoint')
    parser.add_argument('--out', default='work_dirs/streams.png', help='default: %(default)s')
    share(parser, '--swap', '--device', '--cfg-options')
    return later('mmhrnet.inference.streams:visualize_streams')


def browse(parser: ArgumentParser) -> Call:
    """Draw what a config feeds to the network, with its targets."""
    share(parser, 'config')
    parser.add_argument('--out-dir', default='work_dirs/browse', help='default: %(default)s')
    parser.add_argument('--number', type=int, default=12, help='samples; default: %(default)s')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='default: %(default)s'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the order and the augmentation')
    share(parser, '--data-root', '--swap', '--cfg-options')
    return later('mmhrnet.inference.browse:browse')
