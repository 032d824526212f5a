"""The command ``mmhrnet``, and the scripts of ``tools/`` under OpenMMLab's names."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import getdoc

from mmhrnet.cli.commands import COMMANDS, GROUPS, Call, name_of
from mmhrnet.cli.screen import quiet
from mmhrnet.doctor import find_missing
from mmhrnet.errors import UserError, listed, suggest

HEAD = """usage: mmhrnet COMMAND [OPTIONS]

One HRNet for OpenMMLab: detection, pose, segmentation and classification."""
FOOT = """Example, a minute on a CPU:
  mmhrnet train mmhrnet::mmpretrain/hrnet-w18-small-v1_4xb64_in1k --mini

mmhrnet COMMAND --help shows the options of a command."""
MINI = '; training with --mini leaves its whole config in the work folder: give that one instead'
BUG = (
    'unless your own code raised this, it is a bug: please report the command and the lines above '
    'on the issue tracker of mmhrnet'
)


def main() -> None:
    """Runs the command that ``sys.argv`` names."""
    name, *words = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        with one_line('mmhrnet'):
            print(_page())
        return
    if words and f'{name} {words[0]}' in COMMANDS:  # of two words
        name, *words = f'{name} {words[0]}', *words[1:]
    if name in COMMANDS:
        run(name, f'mmhrnet {name}', words)
    else:
        several = [command for command in COMMANDS if command.startswith(f'{name} ')]
        hint = f'there are {listed(several)}; ' if several else suggest(name, COMMANDS)
        _end(f'mmhrnet: there is no command {name}: {hint}mmhrnet --help lists all', 2)


def run(name: str, prog: str, words: Sequence[str] | None = None) -> None:
    """Runs a command.

    Args:
        name: A key of ``COMMANDS``.
        prog: What the user called it by.
        words: Its arguments; default: those of the process.
    """
    with one_line(prog):
        parser, call = make_parser(name, prog)
        # Intermixed: `test CONFIG --work-dir DIR CHECKPOINT`. It does not know REMAINDER.
        mixed = name != 'run'
        parse = parser.parse_known_intermixed_args if mixed else parser.parse_known_args
        args, unknown = parse(words)
        if unknown:
            hint = MINI if '--mini' in unknown else ''
            parser.error(f'unrecognized arguments: {" ".join(unknown)}{hint}')
    if name == 'run':  # the errors and the screen of somebody else's script are its own
        call(**vars(args))
        return
    with one_line(prog), quiet(vars(args).get('launcher', 'none')):
        call(**vars(args))


def make_parser(name: str, prog: str) -> tuple[ArgumentParser, Call]:
    """The parser of a command, and the function to call with its values."""
    text = getdoc(COMMANDS[name])
    parser = ArgumentParser(prog, description=text, formatter_class=RawDescriptionHelpFormatter)
    return parser, COMMANDS[name](parser)


@contextmanager
def one_line(name: str) -> Iterator[None]:
    """Ends the process with one line for errors that the user can fix, else with a traceback.

    Errors of the system, such as a full disk, count as the user's. Their exit status is 2, that of
    Ctrl-C 130. Anything else is a bug, with status 1 and a line that says where to report it.
    Letters of file names that the screen cannot show are printed as escapes.

    Args:
        name: How the line begins.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # a reader like `head` has seen enough; drop the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (UserError, OSError) as error:
        _end(f'{name}: {_text(error)}', 2)
    except KeyboardInterrupt as stop:
        _end(f'{name}: {str(stop) or "stopped"}', 130)
    except Exception as error:
        missing = find_missing() if isinstance(error, ModuleNotFoundError) else ''
        if missing:
            _end(f'{name}: {missing}', 2)
        traceback.print_exc()
        _end(f'{name}: {BUG}', 1)


def _end(text: str, status: int) -> None:
    print(text, file=sys.stderr)
    sys.exit(status)


def _text(error: UserError | OSError) -> str:
    from mmhrnet.terminal import last_line

    return last_line(error) if isinstance(error, OSError) else str(error)


def _page() -> str:
    lines = [HEAD]
    for group, commands in GROUPS.items():
        lines.append(f'\n{group}')
        for command in commands:
            text = (getdoc(command) or '').partition('\n')[0].rstrip('.')
            lines.append(f'  {name_of(command):12} {text}')
    return '\n'.join([*lines, '', FOOT])
