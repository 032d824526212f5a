"""The commands about models, data and this machine."""

from __future__ import annotations

import argparse
import runpy
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from mmhrnet.cli.options import Call, add, share


def models(parser: ArgumentParser) -> Call:
    """List all configs with their published figures."""
    parser.add_argument('--out', help='Markdown file to write, instead of the screen')

    def call(out: str | None) -> None:
        from mmhrnet.files import write_text
        from mmhrnet.hub.published import model_screen, model_tables
        from mmhrnet.terminal import CONSOLE

        if out:
            write_text(out, model_tables())
        else:
            CONSOLE.print(model_screen())

    return call


def config(parser: ArgumentParser) -> Call:
    """Print a config with all that it inherits, as train runs it with the same flags."""
    share(parser, 'config', '--data-root', '--swap')
    add(parser, '--mini', help='fit for a CPU')
    share(parser, '--from-scratch', '--cfg-options')
    parser.add_argument('--save-path', help='file to write too: .py, .json or .yml')

    def call(**args: Any) -> None:
        from mmhrnet.config.make import print_config

        print_config(**args)

    return call


def data(parser: ArgumentParser) -> Call:
    """Download public data sets, or say where they are and what to do with them."""
    parser.add_argument('name', nargs='?', metavar='NAME', help='data set; none: as --list')
    add(parser, '--data-root', default='data', help='folder of all data sets')
    parser.add_argument(
        '--only', default='*', metavar='GLOB', help="names of files to take, like 'val2017*'"
    )
    parser.add_argument('--keep-archives', action='store_true', help='keep them after unpacking')
    parser.add_argument('--list', action='store_true', help='list the data sets')

    def call(name: str | None, list: bool, **args: Any) -> None:
        from mmhrnet.datasets.download import download_dataset
        from mmhrnet.datasets.sources import source_table
        from mmhrnet.terminal import CONSOLE

        if list or not name:
            CONSOLE.print(source_table())
            return
        try:
            download_dataset(name, **args)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt('stopped; the same command goes on from here') from stop

    return call


def mini(parser: ArgumentParser) -> Call:
    """Write the embedded mini data set."""
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument('--seed', type=int, default=0)

    def call(out: str, seed: int) -> None:
        from mmhrnet.datasets import write_mini

        print(write_mini(out, seed=seed))

    return call


def doctor(_: ArgumentParser) -> Call:
    """Say what is installed, what is wrong with it and what mends it, and what is bridged."""

    def call() -> None:
        from mmhrnet.doctor import diagnose

        sys.exit(diagnose())

    return call


def run(parser: ArgumentParser) -> Call:
    """Run a host's own script with mmhrnet imported first."""
    parser.add_argument('script', type=_script)
    parser.add_argument('args', nargs=argparse.REMAINDER)

    def call(script: str, args: list[str]) -> None:
        sys.argv = [script, *args]
        sys.path.insert(0, str(Path(script).resolve().parent))
        runpy.run_path(script, run_name='__main__')

    return call


def _script(path: str) -> str:
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f'there is no script {path}')
    return path
