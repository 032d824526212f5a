"""Files that are on the disk, complete, before anything relies on them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmhrnet.errors import TrainingError
from mmhrnet.files import FULL, UNFINISHED, beside

DURABLE = 'mmhrnet.durable'  # its name in MMEngine's ``backend_args``


def write_durably(path: str | Path, content: bytes) -> None:
    """Writes a temporary file, waits for the disk, renames the file, waits for the folder.

    Raises:
        TrainingError: The disk is full, the folder read-only, or a folder in its place.
    """
    path = Path(path)
    try:
        with beside(path) as temporary, temporary.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        room = f'. It needs {len(content)} bytes, {free} bytes are free'
        raise TrainingError(
            f'{path} cannot be written: {error.strerror}{room if error.errno in FULL else ""}. '
            'Earlier checkpoints are untouched: make room, or choose another --work-dir, and '
            'continue with --resume'
        ) from error


def sweep(folder: str | Path) -> None:
    """Removes temporary files that killed writers left."""
    for path in Path(folder).glob(f'{UNFINISHED}*'):
        if path.is_file():
            path.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != 'posix':  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableBackend(LocalBackend):
    """MMEngine's local files, written durably; outdated ones are removed when that is safe."""

    def __init__(self) -> None:
        self._outdated: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_durably(filepath, obj)

    def remove(self, filepath: str | Path) -> None:
        """Marks a file; it stays until what replaces it is written."""
        self._outdated.append(str(filepath))

    def remove_outdated(self, folder: str | Path) -> None:
        """Removes the marked files of this folder; those of another run are not ours."""
        for path in map(Path, self._outdated):
            if path.parent == Path(folder):
                path.unlink(missing_ok=True)
        self._outdated.clear()


register_backend(DURABLE, DurableBackend, force=True)
