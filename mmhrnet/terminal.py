"""What is printed, and how a command ends: well, or by one line."""

from __future__ import annotations

import io
import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import DictAction
from rich.console import Console

# Text is taken as it is: in `run[/b]` rich would see an order, and in `:smile:` a picture.
CONSOLE = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)

BRACKETS = {'[': ']', '(': ')'}
LONG = 80  # letters of a setting that are shown


@contextmanager
def one_line(*errors: type[Exception], stopped: str = 'stopped') -> Iterator[None]:
    """Ends the process by one line on these errors and on those of the system, or on Ctrl-C.

    Names of files that the screen has no letters for are printed with escapes.

    Args:
        errors: What is the user's to mend; anything else keeps its traceback.
        stopped: What is said on Ctrl-C, with which the exit status is 130.
    """
    script = Path(sys.argv[0])
    name = script.parent.name if script.stem == '__main__' else script.name
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        yield
    except OSError as error:
        sys.exit(f'{name}: {last_line(error)}')
    except errors as error:
        sys.exit(f'{name}: {error}')
    except KeyboardInterrupt:
        print(f'{name}: {stopped}', file=sys.stderr)
        sys.exit(130)


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
