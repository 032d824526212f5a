"""``python -m mmhrnet``: look at this environment, write the mini data set, run a host's script."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from mmhrnet.terminal import CONSOLE, one_line


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m mmhrnet', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('doctor', help='versions, device, and which bridges are active and why')
    mini = commands.add_parser('mini', help='write the embedded mini data set')
    mini.add_argument('--out', required=True, help='folder to write')
    mini.add_argument('--seed', type=int, default=0)
    models = commands.add_parser('models', help='table of all configs with their published figures')
    models.add_argument('--out', help='file to write, instead of the screen')
    script = commands.add_parser('run', help="run a host's own script with mmhrnet imported first")
    script.add_argument('script')
    script.add_argument('args', nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.command == 'run':  # whose errors are the script's own
        _run(args)
    else:
        with one_line(ValueError):
            {'doctor': _doctor, 'mini': _mini, 'models': _models}[args.command](args)


def _doctor(_: argparse.Namespace) -> None:
    from mmhrnet.analysis.environment import environment_tables

    for table in environment_tables():
        CONSOLE.print(table)


def _mini(args: argparse.Namespace) -> None:
    from mmhrnet.datasets import write_mini

    print(write_mini(args.out, seed=args.seed))


def _models(args: argparse.Namespace) -> None:
    from mmhrnet.analysis import model_tables
    from mmhrnet.files import write_text

    if args.out:
        write_text(args.out, model_tables())
    else:
        print(model_tables())


def _run(args: argparse.Namespace) -> None:
    if not Path(args.script).is_file():
        sys.exit(f'mmhrnet run: there is no script {args.script}')
    sys.argv = [args.script, *args.args]
    sys.path.insert(0, str(Path(args.script).resolve().parent))
    runpy.run_path(args.script, run_name='__main__')


if __name__ == '__main__':
    main()
