"""What is printed, and how a command ends: well, or by one line."""

from __future__ import annotations

import io
import sys
import traceback
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import DictAction
from rich.console import Console

from mmhrnet.errors import UserError

# Text is taken as it is: in `run[/b]` rich would see an order, and in `:smile:` a picture.
CONSOLE = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)

BUG = (
    'unless code of your own raised this, it is a bug: please report the command and the lines '
    'above on the issue tracker of mmhrnet'
)
BRACKETS = {'[': ']', '(': ')'}
LONG = 80  # letters of a setting that are shown


@contextmanager
def one_line(*, stopped: str = 'stopped') -> Iterator[None]:
    """Ends the process with one line where the user can mend it, else with a traceback.

    The errors of the system, such as a full disk, count as the user's: the exit status is 2.
    On Ctrl-C it is 130. Anything else is a bug, with status 1 and where to report it.
    Names of files that the screen has no letters for are printed with escapes.

    Args:
        stopped: What is said on Ctrl-C.
    """
    script = Path(sys.argv[0])
    name = script.parent.name if script.stem == '__main__' else script.name
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        yield
    except (UserError, OSError) as error:
        text = last_line(error) if isinstance(error, OSError) else str(error)
        print(f'{name}: {text}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f'{name}: {stopped}', file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        print(f'{name}: {BUG}', file=sys.stderr)
        sys.exit(1)


def last_line(error: BaseException) -> str:
    """What an error says; before it, torch puts the traceback of a worker."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


class SettingsAction(DictAction):
    """``KEY=VALUE ...`` as MMEngine reads it; a text that it does not take ends in one line."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        for text in values or ():
            reason = _why_no_setting(text)
            try:
                if not reason:
                    super().__call__(parser, namespace, [text], option_string)
            except AssertionError:
                reason = 'its brackets do not match; put it in quotes if it holds blanks'
            except RecursionError:
                reason = 'only lists and tuples may have brackets around commas, and few of them'
            if reason:
                shown = text if len(text) < LONG else f'{text[:LONG]}...'
                raise ArgumentError(self, f'{shown} cannot be read: {reason}')


def _why_no_setting(text: str) -> str:
    """What MMEngine takes for a plain text or fails to split, though another thing is meant."""
    key, sign, value = text.partition('=')
    if not sign or not all(key.split('.')):
        return 'write KEY=VALUE, in quotes if it holds blanks'
    value = value.strip('\'"')
    if value[:1] == '{' and value[-1:] == '}' and ':' in value:
        return f'a dict is set key by key, as in {key}.a=1'
    if value[:1] in BRACKETS and value.count(value[0]) != value.count(BRACKETS[value[0]]):
        return f'{value[0]} is not closed; put it in quotes if it holds blanks'
    return ''
