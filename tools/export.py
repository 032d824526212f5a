"""Exports a config with its checkpoint: pose, segmentation and classification whole, of
detectors backbone and neck. The file is checked against eager PyTorch before it appears.
"""

import argparse

from mmhrnet.deploy import FORMATS
from mmhrnet.deploy.from_config import export_config
from mmhrnet.terminal import SettingsAction, one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; without it, random weights')
    parser.add_argument(
        '--format',
        choices=list(FORMATS),
        default='pt2',
        help='torch.export, compiled by AOTInductor, or ONNX',
    )
    parser.add_argument('--opset', type=int, help='of ONNX; TensorRT 8 takes 17')
    parser.add_argument('--out', help='file to write')
    parser.add_argument('--shape', type=int, nargs='+', metavar=('H', 'W'), help='example size')
    parser.add_argument('--batch', type=int, default=2, help='images of the example')
    parser.add_argument('--static', action='store_true', help='fix batch size and image size')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as trained with --mini')
    parser.add_argument('--data-root', help='with --mini: what was trained on, if not embedded')
    parser.add_argument('--device', default='cpu', help='device to export for')
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    with one_line():
        export_config(args.pop('config'), args.pop('checkpoint'), **args)


if __name__ == '__main__':
    main()
