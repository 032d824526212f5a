"""Draws what a config's model sees in an image, a folder of images or a video.

Detectors: boxes and masks. Pose: skeletons and heatmaps. Segmentation: classes of the pixels.
Classification: the five likeliest classes. Beside each picture is a JSON file with the numbers.
"""

import argparse

from mmhrnet.inference.demo import demo
from mmhrnet.terminal import SettingsAction, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IMAGE|FOLDER|VIDEO')
    parser.add_argument('--config', required=True, help='config file')
    parser.add_argument('--checkpoint', help='its weights; default: those that are published')
    parser.add_argument('--out-dir', default='work_dirs/demo', help='default: %(default)s')
    parser.add_argument('--det-config', help='for pose: the detector that finds the persons')
    parser.add_argument('--det-checkpoint', help='its weights; default: those that are published')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as trained with --mini')
    parser.add_argument('--data-root', help='with --mini: what was trained on, if not embedded')
    parser.add_argument('--device', help='default: the GPU where there is one')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='lowest score drawn; default: %(default)s'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    return parser.parse_args()


def main() -> None:
    with one_line():
        demo(**vars(parse_args()))


if __name__ == '__main__':
    main()
