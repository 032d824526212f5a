"""Errors that a user can fix. Their text says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches


class UserError(Exception):
    """The base class. A command prints the text in one line and exits with status 2."""


class ConfigError(UserError, ValueError):
    """A config or argument that cannot work."""


class TrainingError(UserError, RuntimeError):
    """A training that cannot continue."""


def suggest(name: object, known: Collection[str], cutoff: float = 0.6) -> str:
    """``did you mean 'X'? ``, or nothing if no known name is as close as ``cutoff`` (1: equal)."""
    names = {k.lower(): k for k in known}
    close = get_close_matches(str(name).lower(), names, n=1, cutoff=cutoff)
    return f'did you mean {names[close[0]]!r}? ' if close else ''


def plural(count: object, noun: str) -> str:
    """``1 image`` or ``2 images``."""
    return f'{count} {noun}{"" if count == 1 else "s"}'


def listed(names: Sequence[str]) -> str:
    """``A``, ``A and B`` or ``A, B and C``."""
    return ' and '.join(filter(None, [', '.join(names[:-1]), *names[-1:]]))
