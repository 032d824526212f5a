"""The commands about models, data and this machine."""

from __future__ import annotations

import argparse
import runpy
import sys
from argparse import ArgumentParser
from pathlib import Path

from mmhrnet.cli.options import Call, add, later, share


def models(_: ArgumentParser) -> Call:
    """List all configs with their published figures."""

    def call() -> None:
        from mmhrnet.hub.published import model_screen
        from mmhrnet.terminal import CONSOLE

        CONSOLE.print(model_screen())

    return call


def config(parser: ArgumentParser) -> Call:
    """Print a config with everything that it inherits, as train runs it with the same flags."""
    share(parser, 'config', '--data-root', '--swap', '--mini', '--from-scratch', '--cfg-options')
    parser.add_argument('--save-path', help='file to write as well: .py, .json or .yml')
    return later('mmhrnet.config.make:print_config')


def data(parser: ArgumentParser) -> Call:
    """Download public data sets, or list where they are and how to prepare them."""
    parser.add_argument('name', nargs='?', metavar='NAME', help='data set; default: list all')
    add(parser, '--data-root', default='data', help='folder of all data sets')
    parser.add_argument(
        '--only',
        default='*',
        metavar='GLOB',
        help="names of the files to download, like 'val2017*'",
    )
    parser.add_argument('--keep-archives', action='store_true', help='keep them after unpacking')
    parser.add_argument('--list', action='store_true', help='list the data sets')

    def call(name: str | None, list: bool, data_root: str, only: str, keep_archives: bool) -> None:
        from mmhrnet.datasets.download import download_dataset
        from mmhrnet.datasets.sources import source_table
        from mmhrnet.terminal import CONSOLE

        if list or not name:
            CONSOLE.print(source_table())
            return
        try:
            download_dataset(name, data_root=data_root, only=only, keep_archives=keep_archives)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt('stopped; run the same command to continue from here') from stop

    return call


def weights(parser: ArgumentParser) -> Call:
    """List, fetch, verify or bundle the weights that configs need.

    list    what is needed, and what of it is here
    fetch   download what is missing into torch's cache
    verify  read what is here again, and compare its SHA-256
    bundle  fetch, and write a folder for MMHRNET_WEIGHTS: mmhrnet weights bundle DIR CONFIG ...
    """
    parser.add_argument('action', choices=['list', 'fetch', 'verify', 'bundle'])
    parser.add_argument(
        'what',
        nargs='*',
        metavar='CONFIG',
        help="config, URL, or pattern of names like '*w32*'; list and verify take all by default",
    )
    parser.add_argument('--all', action='store_true', help='fetch or bundle all weights')
    parser.add_argument(
        '--write',
        action='store_true',
        help='with verify: fill in weights.yml what is not known yet, in a checkout',
    )

    def call(action: str, what: list[str], all: bool, write: bool) -> None:
        from mmhrnet.zoo import weights

        _check_weights(parser, action, what, all, write)
        if action == 'list':
            weights.list_weights(what)
        elif action == 'verify':
            weights.verify_weights(what, write=write)
        elif action == 'fetch':
            weights.fetch_weights(what)
        else:
            weights.fetch_weights(what[1:], bundle=what[0])

    return call


def _check_weights(
    parser: ArgumentParser, action: str, what: list[str], all: bool, write: bool
) -> None:
    """Ends with one line where arguments do not fit the action."""
    fetches = action in ('fetch', 'bundle')
    if action == 'bundle' and not what:
        parser.error('bundle: name the folder to write')
    named = what[action == 'bundle' :]
    if fetches and bool(named) == all:
        parser.error(f'{action}: name configs or patterns, or give --all')
    if (all and not fetches) or (write and action != 'verify'):
        parser.error(f'{action} takes no {"--write" if write else "--all"}')


def mini(parser: ArgumentParser) -> Call:
    """Write the embedded mini data set."""
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument('--seed', type=int, default=0)

    return lambda **args: print(later('mmhrnet.datasets:write_mini')(**args))


def doctor(_: ArgumentParser) -> Call:
    """Report what is installed, what is wrong, how to fix it, and what is bridged."""

    def call() -> None:
        from mmhrnet.doctor import diagnose

        sys.exit(diagnose())

    return call


def run(parser: ArgumentParser) -> Call:
    """Run a script of a host library with mmhrnet imported first."""
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
