"""``torch.load`` with ``weights_only=True`` and an explicit list of harmless types.

What needs no unpickling is checked before (:mod:`mmhrnet.checkpoints.archive`). The list is in
:mod:`mmhrnet.checkpoints.values` and applies to this one call: plain ``torch.load`` in the same
process does not change.

A safetensors file stores tensors and strings: its metadata takes the config as text and the data
set's names and colours as JSON, in which tuples, arrays and other dicts are marked.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.serialization import MAP_LOCATION

from mmhrnet.checkpoints.archive import check_archive
from mmhrnet.checkpoints.values import SAFE_TYPES, check_size, safe_globals
from mmhrnet.errors import UserError
from mmhrnet.files import write_bytes

OPT_IN = 'MMHRNET_SAFE_TYPES'
SAFETENSORS = '.safetensors'
TYPE = re.compile(r'\w+(?:\.\w+)+')
UNLISTED = re.compile(r'GLOBAL (\S+) (?:was not an allowed global|whose module)')
NO_DEVICE = re.compile(r'Attempting to deserialize object on (?:a )?(\w+)')
NO_MAGIC = 'Invalid magic number'
NO_MEMORY = re.compile(r'allocate memory|out of memory', re.IGNORECASE)
# Of the standard library, modules whose classes are values and nothing else.
VALUE_MODULES = {'collections', 'datetime', 'decimal', 'fractions', 'pathlib', 'uuid'}
SAVE_STATE = (
    'load it with the code that wrote it, and save its weights alone, '
    'torch.save(model.state_dict(), PATH)'
)
READING = Lock()  # torch keeps one list of types for the whole process


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be read, or whose types are not known to be harmless."""


def allow(*types: type | str) -> None:
    """Adds types that a checkpoint may contain; allow only those whose construction runs no code.

    Args:
        types: Classes, or their names like ``'package.module.Class'``.

    Raises:
        CheckpointError: It is not a class, or one of the standard library that can run code.
    """
    for item in types:
        resolved = _import(item) if isinstance(item, str) else item
        if not isinstance(resolved, type) or not _may_be_allowed(resolved.__module__):
            raise CheckpointError(f'{item!r} is not a class of harmless values: it is not allowed')
        if resolved not in SAFE_TYPES:
            SAFE_TYPES.append(resolved)


def _may_be_allowed(module: str) -> bool:
    package = module.partition('.')[0]
    return package in VALUE_MODULES or package not in sys.stdlib_module_names


def _import(name: str) -> object:
    module, _, attribute = name.strip().rpartition('.')
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f'{name!r} cannot be imported: write it like package.module.Class'
        ) from error


def load(
    source: str | Path | IO[bytes], map_location: MAP_LOCATION = None, *, name: str = ''
) -> Any:
    """Reads a checkpoint without running anything in it.

    A ``.safetensors`` file gives its tensors by name; one with a config or a description of the
    data set in its metadata gives ``{'state_dict': ..., 'meta': ...}`` like a ``.pth``.

    Args:
        source: Path or binary file.
        map_location: As in ``torch.load``.
        name: What errors call it; the path by default.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, another kind of file, or contains a type that is not on the
            list.
    """
    if not isinstance(source, (str, Path)):
        return _read(source, map_location, name or str(source))
    if not Path(source).is_file():
        raise FileNotFoundError(f'There is no checkpoint {source}')
    if Path(source).suffix == SAFETENSORS:
        return _load_safetensors(source, map_location)
    with Path(source).open('rb') as file:
        return _read(file, map_location, name or str(source))


def _load_safetensors(path: str | Path, map_location: MAP_LOCATION) -> Mapping[str, object]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        with safe_open(path, framework='pt') as file:
            meta = _meta_of(file.metadata() or {})
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(
            f'{path} cannot be read as safetensors: {_one_line(error)}'
        ) from error
    on = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    tensors = {name: tensor.to(on) for name, tensor in tensors.items()}
    return {'state_dict': tensors, 'meta': meta} if meta else tensors


def save(content: Mapping[str, Any], path: str | Path) -> None:
    """Writes a checkpoint, which appears when it is complete.

    The same content gives the same bytes. A ``.safetensors`` file takes the tensors of
    ``state_dict``, and of ``meta`` the config and the description of the data set.

    Raises:
        CheckpointError: JSON has no form for a value of the description.
        WriteError: The file cannot be written.
    """
    writer = _write_safetensors if Path(path).suffix == SAFETENSORS else torch.save
    # In memory first: given a path, torch writes the name into the file, and its error for a full
    # disk does not say that the disk is full.
    buffer = io.BytesIO()
    writer(content, buffer)
    write_bytes(path, buffer.getbuffer())


def _write_safetensors(content: Mapping[str, Any], file: IO[bytes]) -> None:
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in content['state_dict'].items()}
    data = save(tensors, metadata={'format': 'pt', **_metadata_of(content.get('meta', {}))})
    size = int.from_bytes(data[:8], 'little')
    # The library writes metadata in random order.
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True).encode()
    header += b' ' * (-len(header) % 8)
    file.writelines((len(header).to_bytes(8, 'little'), header, data[8 + size :]))


def _metadata_of(meta: Mapping[str, Any]) -> dict[str, str]:
    found = {'cfg': meta['cfg']} if 'cfg' in meta else {}
    if 'dataset_meta' in meta:
        found['dataset_meta'] = json.dumps(_marked(meta['dataset_meta']))
    return found


def _meta_of(metadata: Mapping[str, str]) -> dict[str, object]:
    meta: dict[str, object] = {'cfg': metadata['cfg']} if 'cfg' in metadata else {}
    if 'dataset_meta' in metadata:
        meta['dataset_meta'] = json.loads(metadata['dataset_meta'], object_hook=_unmarked)
        if not isinstance(meta['dataset_meta'], dict):
            raise ValueError('the description of its data set is not a dict')
    return meta


def _marked(value: object) -> object:
    """The value as JSON has it, with a mark on tuples, arrays and dicts of other keys."""
    if isinstance(value, np.ndarray):
        array = {'dtype': value.dtype.str, 'shape': value.shape}
        return {'__array__': _marked(value.tolist()), **array}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {'__tuple__': _marked(list(value))}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, dict):
        return {'__items__': [[_marked(key), _marked(item)] for key, item in value.items()]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(f'safetensors cannot store a {type(value).__name__}: use .pth')


def _unmarked(found: dict[str, Any]) -> object:
    if '__array__' in found:
        return _array(found['__array__'], found.get('dtype'), found.get('shape', -1))
    if '__tuple__' in found:
        return tuple(found['__tuple__'])
    return dict(found['__items__']) if '__items__' in found else found


def _array(values: ArrayLike, code: str | None, shape: int | list[int]) -> np.ndarray:
    dtype = None if code is None else np.dtype(code)
    if dtype is not None and dtype.kind not in 'biufcU':
        raise ValueError('an array in it contains neither numbers nor strings')
    if dtype is not None and dtype.kind == 'U':
        dtype = np.dtype('U')  # the file could claim any width
    return np.array(values, dtype).reshape(shape)


def _read(file: IO[bytes], map_location: MAP_LOCATION, name: str) -> Any:
    if os.environ.get(OPT_IN):
        allow(*os.environ[OPT_IN].split(','))
    try:
        check_archive(file)
        with _only(safe_globals(SAFE_TYPES)):
            content = torch.load(file, map_location, weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f'{name} {_explain_failure(error, file)}') from error
    try:
        check_size(content)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f'{name} cannot be read: {error}') from error
    return content


@contextmanager
def _only(types: list[Callable[..., object]]) -> Iterator[None]:
    """Lets torch make these types too; torch 2.4 has no such context manager."""
    with READING:
        ours = set(types).difference(torch.serialization.get_safe_globals())
        torch.serialization.add_safe_globals(list(ours))
        try:
            yield
        finally:
            others = [kind for kind in torch.serialization.get_safe_globals() if kind not in ours]
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def _one_line(error: BaseException | str) -> str:
    """The beginning of a message, which may contain text of the file."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return ''.join(letter for letter in text if letter.isprintable())[:200]


def _explain_failure(error: Exception, file: IO[bytes]) -> str:
    """What is wrong with a file, by what torch or the checks before it raised."""
    text = _one_line(error)
    if isinstance(error, EOFError):
        return f'is truncated: {text}'
    if isinstance(error, zipfile.BadZipFile):
        return f'is damaged: {text}'
    device = NO_DEVICE.search(str(error))
    if device:
        return (
            f'was saved on a {device[1]} device, which this machine lacks: '
            "load it with map_location='cpu'"
        )
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return f'asks for more memory than there is: {text}'
    if NO_MAGIC in str(error):
        return 'is not a file that torch.save wrote'
    if _has_ended(file):
        return f'is truncated: {text}'
    if isinstance(error, pickle.UnpicklingError):
        return _explain_refusal(str(error))
    return f'is not a checkpoint: {text}'


def _has_ended(file: IO[bytes]) -> bool:
    """Whether torch read a file of its old form, which it reads in order, to the end."""
    at_end = not file.read(1)
    file.seek(0)
    return at_end and file.read(2) != b'PK'


def _explain_refusal(message: str) -> str:
    """What torch refused to make, and what the user can do about it."""
    unlisted = UNLISTED.search(message)
    if unlisted is None:
        reason = message.rpartition('WeightsUnpickler error:')[2].partition('Check the doc')[0]
        return f'cannot be read: {_one_line(reason)}'
    kind = unlisted[1] if '.' in unlisted[1] else f'builtins.{unlisted[1]}'
    shown = kind if TYPE.fullmatch(kind) else ascii(kind[:100])
    reason = f'contains the type {shown}, which is not on the list of harmless types'
    module, _, attribute = shown.rpartition('.')
    if module.startswith('torch.nn.'):
        return f'{reason}. It is a network that was pickled whole: {SAVE_STATE}'
    is_class = attribute[:1].isupper() or module in VALUE_MODULES
    if not is_class or not _may_be_allowed(module):
        return reason
    return (
        f'{reason}. If it is the class of a network, the network was pickled whole: {SAVE_STATE}. '
        f"If it is a class of plain values, allow it: mmhrnet.checkpoints.allow('{kind}'), or "
        f'{OPT_IN}={kind} in the environment'
    )
