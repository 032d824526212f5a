"""The harmless types that a checkpoint may contain besides those that torch itself allows.

Torch looks each name of a file up in this list and calls what it finds. Where the original trusts
the file too much (numpy takes any memory layout, ``getattr`` any attribute), a stand-in of the same
name accepts what harmless values need, and no more.
"""

from __future__ import annotations

import pickle
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import prod
from pathlib import PurePosixPath, PureWindowsPath
from types import FunctionType, SimpleNamespace
from typing import Any, NoReturn, SupportsIndex
from uuid import UUID

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from torch.torch_version import TorchVersion

# Functions that a class of MMEngine keeps by reference in what it saves.
FUNCTIONS: dict[type, tuple[str, ...]] = {
    HistoryBuffer: ('min', 'max', 'mean', 'current'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}
FACTORIES = (bool, dict, float, int, list, str, tuple)  # what defaultdicts make values with
DTYPE_KINDS = 'biufcSUmMO'
DEEPEST, LARGEST = 100, 10_000_000  # levels; values, where repeated ones count each time


def require(condition: object, reason: str) -> None:
    if not condition:
        raise pickle.UnpicklingError(reason)


def check_size(value: object) -> None:
    """Raises if a value contains itself, would be immense when written out, or hides a method.

    Writing or comparing it later, as JSON or text, would never end. Torch gives objects the
    attributes that the file names: a dict whose ``get`` is another function would obey the file.
    """
    known: dict[int, int] = {}

    def size(part: object, above: tuple[int, ...]) -> int:
        own = _attributes(part)
        hidden = [name for name in own if callable(getattr(type(part), name, None))]
        require(not hidden, f'a value in it hides the method {hidden[:1]}')
        children = [*_children(part), *own.values()]
        if children and id(part) not in known:
            require(id(part) not in above, 'a value in it contains itself')
            require(len(above) < DEEPEST, 'its values are nested too deep')
            known[id(part)] = 1 + sum(size(child, (*above, id(part))) for child in children)
            require(known[id(part)] < LARGEST, 'its values would be immense when written out')
        return known.get(id(part), 1)

    size(value, ())


def _children(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, np.ndarray):
        yield from value.flat if value.dtype.hasobject else ()


def _attributes(value: object) -> dict[str, object]:
    is_data = not isinstance(value, (torch.Tensor, type, FunctionType))
    return getattr(value, '__dict__', {}) if is_data else {}


def named(function: Callable[..., object], name: str) -> Callable[..., object]:
    """The function under the name that files know it by."""

    def stand_in(*args: object) -> object:
        return function(*args)

    return _renamed(stand_in, name)


def _renamed(item: Any, name: str) -> Any:
    item.__module__, _, attribute = name.rpartition('.')
    item.__name__ = item.__qualname__ = attribute
    return item


def _mentioned(kind: type) -> Callable[..., object]:
    """A class that a file may name, but not make."""

    def make(*_: object) -> NoReturn:
        raise pickle.UnpicklingError(f'it makes a {kind.__name__} by itself')

    stand_in = _renamed(make, f'{kind.__module__}.{kind.__qualname__}')
    stand_in.stands_for = kind
    return stand_in


class DType:
    """A numpy dtype by its code. The sizes and flags in the file must be those of this code."""

    def __init__(self, code: object, *_: object) -> None:
        self.dtype = np.dtype(code if isinstance(code, str) else 'V')
        require(self.dtype.kind in DTYPE_KINDS, f'it has an array of {code!r:.20}')

    def __setstate__(self, state: Any) -> None:
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])
        own: Any = self.dtype.__reduce__()[2]
        if self.dtype.kind in 'mM':  # what follows is the unit of time
            unit, count, *_ = state[8][1]
            self.dtype = np.dtype(f'{self.dtype.str}[{int(count)}{unit.decode()}]')
            own, state = own[1:8], state[1:8]
        require(state == own, 'a dtype has another layout than its name says')


class Array(np.ndarray):
    """An array of numpy whose sizes are compared with its data before numpy takes them."""

    def __new__(cls, *_: object) -> Array:
        raise pickle.UnpicklingError('it makes an array by itself')

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, is_fortran, data = state
        require(isinstance(kind, DType), 'an array has no dtype')
        dtype, count = kind.dtype, prod(shape)
        wanted = (list, count) if dtype.hasobject else ((bytes, str), count * dtype.itemsize)
        sized = isinstance(data, wanted[0]) and len(data) == wanted[1]
        require(sized and min(shape, default=0) >= 0, 'an array has other sizes than its data')
        super().__setstate__((version, shape, dtype, is_fortran, data))

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[object, ...]:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _reconstruct(kind: object, shape: object, _: object) -> Array:
    require(kind is Array and shape == (0,), 'an array is not made as numpy makes it')
    return np.ndarray.__new__(Array, (0,))


def _scalar(kind: object, data: object) -> object:
    array = _reconstruct(Array, (0,), None)
    array.__setstate__((1, (), kind, False, data))
    return array[()]


def _latin1(text: str, encoding: str) -> bytes:
    require(encoding in ('latin1', 'latin-1'), f'it encodes as {encoding!r:.20}')
    return text.encode('latin-1')


# The classes whose construction runs no code; ``allow`` adds to them.
SAFE_TYPES: list[type] = [
    *(ConfigDict, HistoryBuffer, Namespace, SimpleNamespace, TorchVersion),
    *(date, datetime, time, timedelta, timezone, Counter, Decimal, Fraction, UUID),
    *(bytearray, complex, frozenset, range, set, slice),
]
NUMPY = [
    _renamed(Array, 'numpy.ndarray'),
    _renamed(DType, 'numpy.dtype'),
    *(named(_reconstruct, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *(named(_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
]
# Paths become pure ones, on any system. A defaultdict becomes a dict and a deque a list, because
# these are the only kinds that torch adds items to.
REPLACED: dict[str, Callable[..., object]] = {
    **{f'pathlib{m}.{k}PosixPath': PurePosixPath for m in ('', '._local') for k in ('', 'Pure')},
    **{
        f'pathlib{m}.{k}WindowsPath': PureWindowsPath for m in ('', '._local') for k in ('', 'Pure')
    },
    'collections.defaultdict': lambda *_: {},
    'collections.deque': lambda *_: [],
    'builtins.bytes': lambda: b'',
    '_codecs.encode': _latin1,
}


def safe_globals(allowed: Collection[type]) -> list[Callable[..., object]]:
    """What torch may make out of a file: the allowed classes, and stand-ins for others."""

    def attribute(owner: Any, name: str) -> object:
        kind = getattr(owner, 'stands_for', owner)
        if kind in FUNCTIONS:
            known = name in FUNCTIONS[kind]
        else:
            function = isinstance(vars(kind).get(name), (FunctionType, staticmethod))
            known = kind in allowed and function and name[:2] != '__'
        require(known, f'it asks for the attribute {name!r:.60} of {kind!r:.60}')
        return getattr(kind, name)

    stand_ins = [named(function, name) for name, function in REPLACED.items()]
    mentioned = [_mentioned(kind) for kind in (*FACTORIES, *FUNCTIONS) if kind not in allowed]
    return [*allowed, *NUMPY, *stand_ins, *mentioned, named(attribute, 'builtins.getattr')]
