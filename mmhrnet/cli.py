"""The command ``mmhrnet``: every tool, without a clone."""

from __future__ import annotations

import argparse
import runpy
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from mmhrnet.doctor import diagnose, find_missing

TOOLS = {  # command: script and what it does
    'train': ('train', 'train a config of any OpenMMLab library'),
    'test': ('test', 'evaluate a checkpoint, beside the published figures'),
    'demo': ('demo', 'predict on images, folders and videos: pictures and JSON'),
    'web': ('web_demo', 'all tasks in a browser'),
    'browse': ('browse_dataset', 'draw what the network is fed'),
    'streams': ('visualize_streams', 'draw the maps of the four streams'),
    'export': ('export', 'write torch.export, AOTInductor and ONNX files'),
    'benchmark': ('benchmark', 'measure speed beside other implementations'),
    'zoo': ('benchmark_zoo', 'evaluate published weights, many configs at once'),
    'convert': ('convert_checkpoint', 'rewrite a checkpoint in the names of another library'),
    'publish': ('publish_model', 'strip a checkpoint, hash it and write its card'),
    'flops': ('get_flops', 'parameters and multiply-adds of a config'),
    'logs': ('analyze_logs', 'curves and tables of runs'),
    'config': ('print_config', 'print a config with all that it inherits'),
    'data': ('download_dataset', 'download public data sets'),
}
SCRIPTS = Path(__file__).with_name('.mim') / 'tools'


def main() -> None:
    """Runs the command that ``sys.argv`` names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    try:
        if name in TOOLS:
            _run_tool(SCRIPTS / f'{TOOLS[name][0]}.py', f'mmhrnet {name}', sys.argv[2:])
        else:
            _run_command(_parser().parse_args())
    except ModuleNotFoundError:
        missing = find_missing()
        if not missing:
            raise
        sys.exit(f'mmhrnet: {missing}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='mmhrnet', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, (_, text) in TOOLS.items():
        commands.add_parser(name, help=text)
    commands.add_parser('doctor', help='versions, what is wrong, which bridges are active and why')
    models = commands.add_parser('models', help='table of all configs with their published figures')
    models.add_argument('--out', help='write Markdown to this file instead')
    mini = commands.add_parser('mini', help='write the embedded mini data set')
    mini.add_argument('--out', required=True, help='folder to write')
    mini.add_argument('--seed', type=int, default=0)
    script = commands.add_parser('run', help="run a host's own script with mmhrnet imported first")
    script.add_argument('script')
    script.add_argument('args', nargs=argparse.REMAINDER)
    return parser


def _run_command(args: argparse.Namespace) -> None:
    if args.command == 'doctor':
        sys.exit(diagnose())
    if args.command == 'run':
        _run_script(args)  # whose errors are the script's own
        return
    from mmhrnet.terminal import one_line

    with one_line():
        {'mini': _mini, 'models': _models}[args.command](args)


def _run_tool(script: Path, name: str, args: list[str]) -> None:
    """Runs a script as Python would, but under the name that the user called it by."""
    sys.argv = [name, *args]
    module = sys.modules['__main__'] = ModuleType('__main__')
    SourceFileLoader('__main__', str(script)).exec_module(module)


def _run_script(args: argparse.Namespace) -> None:
    if not Path(args.script).is_file():
        sys.exit(f'mmhrnet run: there is no script {args.script}')
    sys.argv = [args.script, *args.args]
    sys.path.insert(0, str(Path(args.script).resolve().parent))
    runpy.run_path(args.script, run_name='__main__')


def _mini(args: argparse.Namespace) -> None:
    from mmhrnet.datasets import write_mini

    print(write_mini(args.out, seed=args.seed))


def _models(args: argparse.Namespace) -> None:
    from mmhrnet.files import write_text
    from mmhrnet.hub.published import model_screen, model_tables
    from mmhrnet.terminal import CONSOLE

    if args.out:
        write_text(args.out, model_tables())
    else:
        CONSOLE.print(model_screen())
