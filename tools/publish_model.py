"""Makes a checkpoint ready to be given away: weights, config and classes in one file with its hash
in the name, and a card beside it that says what it is, how it was trained and how to use it.
"""

import argparse

from mmhrnet.terminal import SettingsAction, one_line
from mmhrnet.zoo.publish import FORMATS, LICENSE, publish


def metric(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition('=')
    return name, float(value)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out_dir', help='folder for the file and its card')
    parser.add_argument('--config', required=True, help='config file that it was trained with')
    parser.add_argument('--format', choices=FORMATS, default=FORMATS[0], help='kind of file')
    parser.add_argument(
        '--metric',
        type=metric,
        nargs='+',
        metavar='NAME=VALUE',
        help='results for the card; else those that the work folder of the checkpoint logged',
    )
    parser.add_argument('--license', default=LICENSE, help='licence of code and weights')
    parser.add_argument(
        '--raw',
        action='store_true',
        help='of a run with EMAHook, take the raw weights, not the averaged ones',
    )
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='as trained with --mini')
    parser.add_argument('--data-root', help='root of the data set, as in training')
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    metrics = args.pop('metric')
    with one_line():
        path = publish(
            args.pop('checkpoint'),
            args.pop('out_dir'),
            metrics=metrics and dict(metrics),
            **args,
        )
    print(f'{path}\n{path.with_suffix(".md")}')


if __name__ == '__main__':
    main()
