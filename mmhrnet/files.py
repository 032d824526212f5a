"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = '.mmhrnet-'  # how the names of files begin that are still being written


@contextmanager
def beside(path: str | Path) -> Iterator[Path]:
    """A path beside the given one to write to; it takes that one's place if nothing is raised.

    The folder is made if it is absent. The suffix stays, for writers that go by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{UNFINISHED}{os.getpid()}.{path.name}')
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    with beside(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    write_bytes(path, content.encode('utf-8'))
