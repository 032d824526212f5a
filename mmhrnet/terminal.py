"""What is printed, and how a command ends: well, or by one line."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

# Text is taken as it is: in `run[/b]` rich would see an order, and in `:smile:` a picture.
CONSOLE = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


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
