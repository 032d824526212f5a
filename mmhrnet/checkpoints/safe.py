"""``torch.load`` with ``weights_only=True`` and an explicit list of harmless types."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

OPT_IN = 'MMHRNET_SAFE_TYPES'
SAFETENSORS = '.safetensors'
UNLISTED = re.compile(r'GLOBAL ([\w.]+)')


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or whose types are not known to be harmless."""


def _numpy_types() -> list[Any]:
    """What numpy arrays and scalars are pickled with, under the names of numpy 1 and 2."""
    core = getattr(np, '_core', None) or np.core
    rebuilds = (core.multiarray.scalar, core.multiarray._reconstruct)
    named = [
        _named(function, f'numpy.{core}.multiarray', function.__name__)
        for function in rebuilds
        for core in ('core', '_core')
    ]
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All']}
    return [*named, np.ndarray, np.dtype, *sorted(dtypes, key=str)]


def _named(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """The function under the name that files know it by."""

    def rebuild(*args: Any) -> Any:
        return function(*args)

    rebuild.__module__ = module
    rebuild.__name__ = rebuild.__qualname__ = name
    return rebuild


def _history_statistic(owner: Any, name: str) -> Any:
    """The one use of ``getattr`` that is harmless: HistoryBuffers name their own statistics."""
    if owner is not HistoryBuffer or name not in HISTORY_STATISTICS:
        raise pickle.UnpicklingError(f'it asks for the attribute {name!r} of {owner!r}')
    return getattr(owner, name)


HISTORY_STATISTICS = ('min', 'max', 'mean', 'current')
SAFE_TYPES: list[Any] = [
    HistoryBuffer,
    _named(_history_statistic, 'builtins', 'getattr'),
    *_numpy_types(),
]


def allow(*types: Any) -> None:
    """Adds types that a checkpoint may hold; allow only those whose construction runs no code.

    Args:
        types: Classes, or their names like ``'package.module.Class'``.
    """
    for item in types:
        resolved = _import(item) if isinstance(item, str) else item
        if resolved not in SAFE_TYPES:
            SAFE_TYPES.append(resolved)


def _import(name: str) -> Any:
    module, _, attribute = name.strip().rpartition('.')
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f'{name!r} is no importable type, like package.module.Class'
        ) from error


def load(source: str | Path | IO[bytes], map_location: Any = None, *, name: str = '') -> Any:
    """Reads a checkpoint without running anything in it.

    Args:
        source: Path or binary file.
        map_location: As in ``torch.load``.
        name: What errors call it; the path by default.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Truncated, no checkpoint, or with a type that is not on the list.
    """
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise FileNotFoundError(f'There is no checkpoint {source}')
        if Path(source).suffix == SAFETENSORS:
            return _load_safetensors(source, map_location)
    return _read(lambda: torch.load(source, map_location, weights_only=True), name or str(source))


def load_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> Any:
    """Downloads a checkpoint into torch's cache and reads it like :func:`load`."""
    if url.endswith(SAFETENSORS):
        folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / url.rpartition('/')[2]
        if not path.exists():
            torch.hub.download_url_to_file(url, str(path), progress=progress)
        return load(path, map_location)
    return _read(
        lambda: torch.hub.load_state_dict_from_url(
            url, model_dir, map_location, progress, weights_only=True
        ),
        url,
    )


def _load_safetensors(path: str | Path, map_location: Any) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f'{path} is truncated or no safetensors file: {error}') from error
    on = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    return {name: tensor.to(on) for name, tensor in tensors.items()}


def save(content: dict[str, Any], path: str | Path) -> None:
    """Writes a checkpoint in one step: beside its place first, then renamed.

    A ``.safetensors`` file takes the tensors of ``state_dict`` alone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        if path.suffix == SAFETENSORS:
            from safetensors.torch import save_file

            tensors = {name: t.contiguous() for name, t in content['state_dict'].items()}
            save_file(tensors, beside, metadata={'format': 'pt'})
        else:
            torch.save(content, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _read(read: Callable[[], Any], name: str) -> Any:
    if os.environ.get(OPT_IN):
        allow(*os.environ[OPT_IN].split(','))
    torch.serialization.add_safe_globals(SAFE_TYPES)
    try:
        return read()
    except pickle.UnpicklingError as error:
        raise CheckpointError(_explain(str(error), name)) from error
    except (EOFError, RuntimeError) as error:
        raise CheckpointError(f'{name} is truncated or no checkpoint: {error}') from error


def _explain(message: str, name: str) -> str:
    unlisted = UNLISTED.search(message)
    if unlisted is None:
        reason = message.rpartition('WeightsUnpickler error:')[2].strip().partition('\n')[0]
        return f'{name} is no checkpoint that can be read safely: {reason}'
    kind = unlisted.group(1)
    return (
        f'{name} holds the type {kind}, which is not on the list of harmless types. If you trust '
        f"this file, allow it: mmhrnet.checkpoints.allow('{kind}'), or {OPT_IN}={kind} in the "
        'environment'
    )
