"""Loading and resuming checkpoints, safely.

Needed by: mmengine <= 0.10.7, which calls ``torch.load`` without ``weights_only``: with torch 2.6
its own checkpoints then fail to load (their message hub holds HistoryBuffers and numpy scalars);
with older torch, and for downloads with any torch, they may run code. Newer mmengine passes
``weights_only=False``. So this bridge is always active: ``mmhrnet.checkpoints.load`` stands behind
mmengine's local and object-storage loaders and behind its downloads.
"""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import

MODULE = 'mmengine.runner.checkpoint'


def reason() -> str | None:
    if find_spec('mmengine') is None:
        return None
    return 'mmengine loads checkpoints without an explicit list of safe types'


def install() -> None:
    after_import(MODULE, _load_safely)


def _load_safely(module: ModuleType) -> None:
    loader = module.CheckpointLoader
    loader.register_scheme('', load_from_local, force=True)
    loader.register_scheme([r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], load_from_ceph, force=True)
    module.__dict__['load_url'] = load_url


# mmengine logs the name of a loader without its first ten letters, hence `load_from_...`.
def load_from_local(filename: str, map_location: Any = None) -> Any:
    from mmhrnet import checkpoints

    path = Path(filename).expanduser()
    return checkpoints.load(path, map_location)


def load_from_ceph(filename: str, map_location: Any = None, backend: str = 'petrel') -> Any:
    from mmengine.fileio import get_file_backend

    from mmhrnet import checkpoints

    data = get_file_backend(filename, backend_args={'backend': backend}).get(filename)
    return checkpoints.load(BytesIO(data), map_location, name=filename)


def load_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> Any:
    from mmhrnet import checkpoints

    return checkpoints.load_url(url, model_dir, map_location, progress)
