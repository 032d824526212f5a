"""Output to the screen."""

from __future__ import annotations

from rich.console import Console

# Text is printed as it is: else rich would interpret `run[/b]` and `:smile:`.
CONSOLE = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def last_line(error: BaseException) -> str:
    """The last line of an error's text, because torch puts the traceback of a worker before it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
