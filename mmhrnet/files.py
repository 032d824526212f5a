"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmhrnet.errors import UserError

UNFINISHED = '.mmhrnet-'  # prefix of the names of files that are still being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROOM = 1 << 20  # bytes that must fit before work begins: logs, configs, small pictures


class WriteError(UserError, OSError):
    """A file or folder that cannot be written; ``errno`` and ``strerror`` are the system's."""

    def __str__(self) -> str:
        room = 'make room, or ' if self.errno in FULL else ''
        return f'{self.filename} cannot be written: {self.strerror}; {room}choose another place'


@contextmanager
def beside(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces the given one if nothing is raised.

    The folder is made if it does not exist. The suffix stays, for writers that depend on it.

    Raises:
        WriteError: The system cannot write there.
    """
    path = Path(path)
    with writing(path):
        _make(path.parent)
        temporary = _unfinished(path)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns errors of the system, also for files inside of a folder, into one naming the path."""
    try:
        yield
    except OSError as error:
        inside = Path(str(error.filename)).absolute().is_relative_to(Path(path).absolute())
        if isinstance(error, WriteError) and not inside:
            raise
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def check_folder(folder: str | Path) -> None:
    """Makes a folder and tries to write to it, before the work whose results go there.

    Raises:
        WriteError: It cannot be written to, or has less than 1 MiB of space.
    """
    with writing(folder):
        _try(_unfinished(Path(folder, 'any')))


def check_file(path: str | Path) -> None:
    """Like :func:`check_folder`, for the folder and the name of a file."""
    path = Path(path)
    with writing(path):
        _try(_unfinished(path))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _unfinished(path: Path) -> Path:
    return path.with_name(f'{UNFINISHED}{os.getpid()}.{path.name}')


def _try(path: Path) -> None:
    _make(path.parent)
    try:
        path.write_bytes(bytes(ROOM))
    finally:
        path.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    if folder.is_file():  # mkdir would only say that it exists
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    folder.mkdir(parents=True, exist_ok=True)


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    with beside(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    # File names that are not UTF-8 appear in it as lone surrogates.
    write_bytes(path, content.encode('utf-8', 'backslashreplace'))
