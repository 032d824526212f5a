"""What is printed."""

from __future__ import annotations

from rich.console import Console

# Text is taken as it is: in `run[/b]` rich would see an order, and in `:smile:` a picture.
CONSOLE = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def last_line(error: BaseException) -> str:
    """What an error says; before it, torch puts the traceback of a worker."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
