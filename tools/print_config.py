"""Prints a config with all that it inherits, as tools/train.py runs it with the same flags."""

import argparse
from pathlib import Path

from mmengine.config import Config

import mmhrnet.apis as apis
from mmhrnet.files import beside
from mmhrnet.terminal import SettingsAction, one_line

SUFFIXES = ('.py', '.json', '.yml')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--data-root', help='root of the data set, for every loader')
    parser.add_argument('--swap', action='store_true', help="mmhrnet for the host's HRNet")
    parser.add_argument('--mini', action='store_true', help='fit for a CPU')
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights')
    parser.add_argument(
        '--cfg-options', nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    )
    parser.add_argument('--save-path', help='file to write too: .py, .json or .yml')
    return parser.parse_args()


def save(cfg: Config, path: str) -> None:
    with beside(path) as temporary:
        cfg.dump(temporary)
        if temporary.suffix == '.py' and Config.fromfile(temporary).to_dict() != cfg.to_dict():
            raise apis.ConfigError(f'{path} would read as another config: save it as .json')


def main() -> None:
    args = vars(parse_args())
    path = args.pop('save_path')
    with one_line():
        if path and Path(path).suffix not in SUFFIXES:
            raise apis.ConfigError(f'--save-path {path} must end in {", ".join(SUFFIXES)}')
        cfg = apis.make_config(**args)
        print(cfg.pretty_text)
        if path:
            save(cfg, path)


if __name__ == '__main__':
    main()
