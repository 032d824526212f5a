"""Output to the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console

# Text is printed as it is: else rich would interpret `run[/b]` and `:smile:`.
CONSOLE = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def last_line(error: BaseException) -> str:
    """The last line of an error's text, because torch puts the traceback of a worker before it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ['---'] * len(headings), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
