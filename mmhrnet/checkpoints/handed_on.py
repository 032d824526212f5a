"""The checkpoint that was read for its config or to check it, kept for whoever loads it next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhrnet.checkpoints.safe import load

if TYPE_CHECKING:
    from torch.serialization import MAP_LOCATION

_KEPT: dict[tuple[str, int, int], object] = {}  # one at most: by path, time and size of the file


def read_ahead(path: str | Path) -> Any:
    """Reads a checkpoint to the CPU unless it is kept, and keeps it for one :func:`take`."""
    if _key(path) not in _KEPT:
        content = load(path, 'cpu')
        _KEPT.clear()
        _KEPT[_key(path)] = content
    return _KEPT[_key(path)]


def take(path: str | Path, map_location: MAP_LOCATION = 'cpu') -> Any:
    """The checkpoint: on the CPU the one that was read ahead, unless the file has changed.

    Either way, it is no longer kept.
    """
    kept = _KEPT.pop(_key(path), None)
    return kept if kept and map_location == 'cpu' else load(path, map_location)


def _key(path: str | Path) -> tuple[str, int, int]:
    file = Path(path)
    if not file.is_file():  # `load` says so
        return str(path), 0, 0
    status = file.stat()
    return str(file.resolve()), status.st_mtime_ns, status.st_size
