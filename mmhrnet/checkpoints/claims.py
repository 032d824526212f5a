"""What the names, calls and states of a pickle may be, for it to be a checkpoint's."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch

HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
HISTORY_STATISTICS = ('min', 'max', 'mean', 'current')
DICTS = ('collections.OrderedDict', 'collections.Counter')
VALUES = ('torch.nn.parameter.Parameter', 'torch.Tensor', 'numpy.ndarray')  # named, never called
ITEM_SIZES = dict(
    **dict.fromkeys(('Bool', 'Byte', 'Char', 'QInt8', 'QUInt8', 'Untyped'), 1),
    **dict.fromkeys(('BFloat16', 'Half', 'Short'), 2),
    **dict.fromkeys(('Float', 'Int', 'QInt32'), 4),
    **dict.fromkeys(('ComplexFloat', 'Double', 'Long'), 8),
    ComplexDouble=16,
)
STORAGE = re.compile(r'torch\.(?:storage\.|cuda\.)?(\w+)Storage')
PLAIN_DTYPE = re.compile(r'b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SU]\d{1,6}')


@dataclass(eq=False)
class Named:
    name: str


@dataclass(eq=False)
class Made:
    name: str
    args: tuple[Any, ...]


@dataclass(eq=False)
class Dict:
    keys: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Storage:
    items: int
    item_size: int


def require(condition: Any, reason: str) -> None:
    if not condition:
        raise pickle.UnpicklingError(reason)


def is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_key(value: Any) -> bool:
    """Flat: the hash of nested tuples can take all the stack, or forever."""
    items = value if isinstance(value, tuple) else (value,)
    return all(isinstance(item, (type(None), int, float, str, bytes)) for item in items)


def torch_name(name: str) -> Any:
    return getattr(torch, name.removeprefix('torch.'), None)


def _check_tensor(outline: Any, arguments: tuple[Any, ...]) -> None:
    storage, offset, size, stride, *more = arguments
    require(isinstance(storage, Storage), 'a tensor has no storage')
    sizes = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    require(sizes and all(map(is_size, (offset, *size, *stride))), 'a tensor has bad sizes')
    dtypes = [torch_name(item.name) for item in more if isinstance(item, Named)]
    item_size = max([storage.item_size, *(d.itemsize for d in dtypes if d is not None)])
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    end = (last + 1) * item_size if prod(size) else 0
    require(end <= storage.items * storage.item_size, 'a tensor goes beyond its storage')
    outline.tensor_bytes += prod(size) * item_size


def _check_typed(outline: Any, arguments: tuple[Any, ...]) -> Any:
    function, _, inner, *_ = arguments
    return outline.made(function.name, inner)


def _check_items(_: Any, arguments: tuple[Any, ...]) -> None:
    """Of a set, or of the dicts of Python 2: a list of keys, or of pairs."""
    items = arguments[0] if arguments else []
    keys = [item[0] if isinstance(item, list) and item else item for item in items]
    require(len(arguments) < 2 and all(map(is_key, keys)), 'it has keys of other types')


def _encoded(_: Any, arguments: tuple[Any, ...]) -> bytes:
    text, encoding = arguments
    require(encoding in ('latin1', 'latin-1'), f'it encodes as {encoding!r:.20}')
    return text.encode('latin-1')


def _check_bytes(_: Any, arguments: tuple[Any, ...]) -> None:
    # bytearray(number) takes as much memory as it says.
    require(all(isinstance(item, (bytes, str)) for item in arguments), 'it asks for empty bytes')


def _check_numbers(_: Any, arguments: tuple[Any, ...]) -> None:
    flat = [n for item in arguments for n in (item if isinstance(item, tuple) else (item,))]
    require(all(isinstance(n, (int, float, str)) for n in flat), 'it has numbers of another form')


def _check_statistic(_: Any, arguments: tuple[Any, ...]) -> None:
    owner, name = arguments
    fits = isinstance(owner, Named) and owner.name == HISTORY and name in HISTORY_STATISTICS
    require(fits, f'it asks for the attribute {name!r:.40}' if is_key(name) else 'an attribute')


def _check_dtype(_: Any, arguments: tuple[Any, ...]) -> None:
    code = arguments[0]
    plain = isinstance(code, str) and PLAIN_DTYPE.fullmatch(code)
    require(plain, 'it has an array of other things than numbers and strings')


def _check_dtype_state(target: Made, state: Any) -> None:
    """Flags and fields of a dtype would be believed: they must be those that it has anyway."""
    dtype = np.dtype(target.args[0]).newbyteorder(state[1])
    require(state == dtype.__reduce__()[2], 'a dtype has another layout than its name says')


def _check_scalar(_: Any, arguments: tuple[Any, ...]) -> None:
    dtype, data = arguments
    _check_array_data(dtype, (), data)


def _check_array(_: Any, arguments: tuple[Any, ...]) -> None:
    kind, shape, _code = arguments
    require(isinstance(kind, Named) and shape == (0,), 'an array is not made as numpy makes it')


def _check_array_state(_: Made, state: Any) -> None:
    _, shape, dtype, _, data = state
    _check_array_data(dtype, shape, data)


def _check_array_data(dtype: Made, shape: tuple[Any, ...], data: Any) -> None:
    known = isinstance(dtype, Made) and dtype.name == 'numpy.dtype' and all(map(is_size, shape))
    require(known and isinstance(data, (bytes, str)), 'an array has bad sizes')
    wanted = prod(shape) * np.dtype(dtype.args[0]).itemsize
    require(wanted == len(data), 'an array has other sizes than its data')


def _check_dict_state(_: Made, state: Any) -> None:
    # Any other attribute would hide a method of the dict.
    only = isinstance(state, Dict) and set(state.keys) <= {'_metadata'}
    require(only, 'a dict has attributes')


def _anything(_: Any, __: tuple[Any, ...]) -> None:
    """Whatever the arguments are, they cost nothing."""


CALLS: dict[str, Callable[[Any, tuple[Any, ...]], Any]] = {
    'collections.OrderedDict': _check_items,
    'collections.Counter': _check_items,
    'builtins.set': _check_items,
    'builtins.bytearray': _check_bytes,
    'builtins.complex': _check_numbers,
    'builtins.getattr': _check_statistic,
    '_codecs.encode': _encoded,
    'torch.Size': _check_numbers,
    'torch.device': _check_numbers,
    'torch.serialization._get_layout': _check_numbers,
    'torch._utils._rebuild_tensor': _check_tensor,
    'torch._utils._rebuild_tensor_v2': _check_tensor,
    'torch._utils._rebuild_tensor_v3': _check_tensor,
    'torch._utils._rebuild_parameter': _anything,
    'torch._utils._rebuild_parameter_with_state': _anything,
    'torch._tensor._rebuild_from_type_v2': _check_typed,
    'numpy.dtype': _check_dtype,
    **{
        f'numpy.{core}.multiarray.{name}': check
        for core in ('core', '_core')
        for name, check in (('scalar', _check_scalar), ('_reconstruct', _check_array))
    },
}
STATES: dict[str, Callable[[Made, Any], None]] = {
    'numpy.dtype': _check_dtype_state,
    **dict.fromkeys(
        [name for name in CALLS if name.endswith('_reconstruct')],
        _check_array_state,
    ),
    **dict.fromkeys(DICTS, _check_dict_state),
}
