"""What a pickle says it would make, followed step by step without making anything.

``torch.load`` makes things while it reads: with ``weights_only=True`` it calls no function that is
not on its list, but it takes sizes, layouts and state from the file as they come. A pickle of a
few bytes can then ask for terabytes, or for arrays whose numbers are used as addresses. So every
name, call and state is looked at here first, and only what checkpoints are made of goes on.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Collection
from typing import IO, Any

import torch

from mmhrnet.checkpoints.claims import (
    CALLS,
    DICTS,
    HISTORY,
    ITEM_SIZES,
    STATES,
    STORAGE,
    VALUES,
    Dict,
    Made,
    Named,
    Storage,
    is_key,
    is_size,
    require,
    torch_name,
)


class UnlistedError(pickle.UnpicklingError):
    """A name that is not on the list of harmless types."""


class Outline:
    """Follows one pickle.

    Args:
        file: Binary file at the start of a pickle; it is left behind its end.
        allowed: Names of further types that may be made.

    Attributes:
        result: The outermost value, with notes in place of objects.
        storages: Bytes that each storage claims to have, by its key.
        tensor_bytes: What all tensors would take if each had memory of its own.

    Raises:
        UnpicklingError: It asks for what no checkpoint needs.
    """

    def __init__(self, file: IO[bytes], allowed: Collection[str] = ()) -> None:
        self.allowed = allowed
        self.storages: dict[str, int] = {}
        self.tensor_bytes = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name not in OPCODES:
                raise pickle.UnpicklingError(f'it uses the instruction {opcode.name}')
            OPCODES[opcode.name](self, argument)
        self.result = self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def tuple_of(self, size: int) -> None:
        items = tuple(self.stack[-size:])
        require(len(items) == size, 'a tuple lacks items')
        self.stack[-size:] = [items]

    def append(self, items: list[Any]) -> None:
        require(type(self.stack[-1]) is list, 'it appends to what is no list')
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target, keys = self.stack[-1], items[::2]
        ordered = isinstance(target, Made) and target.name in DICTS
        require(ordered or isinstance(target, Dict), 'it sets items of what is no dict')
        require(all(map(is_key, keys)) and len(items) % 2 == 0, 'it has keys of other types')
        if isinstance(target, Dict):
            target.keys += keys

    def pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def name(self, argument: str) -> None:
        name = argument.replace(' ', '.').replace('__builtin__.', 'builtins.')
        storage = STORAGE.fullmatch(name)
        dtype = name.startswith('torch.') and isinstance(torch_name(name), torch.dtype)
        known = name in CALLS or name in VALUES or name in self.allowed
        if not (known or dtype or (storage and storage[1] in ITEM_SIZES)):
            raise UnlistedError(name)
        self.push(Named(name))

    def call(self, _: Any) -> None:
        function, arguments = self.pop(2)
        require(isinstance(function, Named), 'it calls what is no function')
        self.push(self.made(function.name, arguments))

    def made(self, name: str, arguments: Any) -> Any:
        require(isinstance(arguments, tuple), f'it calls {name} without arguments')
        if name in CALLS:
            found = CALLS[name](self, arguments)
            return Made(name, arguments) if found is None else found
        require(name in self.allowed, f'it makes a {name} by itself')
        require(name != HISTORY or not arguments, 'it has a history of another form')
        return Made(name, arguments)

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        name = target.name if isinstance(target, Made) else 'a plain value'
        if name in STATES:
            STATES[name](target, state)
        else:
            require(name in self.allowed, f'it sets the state of {name}')

    def storage(self, _: Any) -> None:
        word, kind, key, location, items, *view = self.stack.pop()
        match = STORAGE.fullmatch(kind.name)
        texts = all(isinstance(text, str) for text in (key, location))
        require(word == 'storage' and texts and is_size(items), 'it has a bad storage')
        require(view in ([], [None]), 'a storage is a part of another one')
        found = Storage(items, ITEM_SIZES[match[1] if match else ''])
        self.storages[key] = max(items * found.item_size, self.storages.get(key, 0))
        self.push(found)


OPCODES: dict[str, Callable[[Outline, Any], None]] = {
    'PROTO': lambda _, __: None,
    'STOP': lambda _, __: None,
    'NONE': lambda self, _: self.push(None),
    'NEWTRUE': lambda self, _: self.push(True),
    'NEWFALSE': lambda self, _: self.push(False),
    **dict.fromkeys(
        ('BININT', 'BININT1', 'BININT2', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINSTRING', 'LONG1'),
        Outline.push,
    ),
    'EMPTY_TUPLE': lambda self, _: self.push(()),
    'EMPTY_LIST': lambda self, _: self.push([]),
    'EMPTY_SET': lambda self, _: self.push(Made('builtins.set', ())),
    'EMPTY_DICT': lambda self, _: self.push(Dict()),
    'MARK': Outline.mark,
    'TUPLE': lambda self, _: self.push(tuple(self.since_mark())),
    'TUPLE1': lambda self, _: self.tuple_of(1),
    'TUPLE2': lambda self, _: self.tuple_of(2),
    'TUPLE3': lambda self, _: self.tuple_of(3),
    'APPEND': lambda self, _: self.append(self.pop(1)),
    'APPENDS': lambda self, _: self.append(self.since_mark()),
    'SETITEM': lambda self, _: self.set_items(self.pop(2)),
    'SETITEMS': lambda self, _: self.set_items(self.since_mark()),
    'GLOBAL': Outline.name,
    'REDUCE': Outline.call,
    'NEWOBJ': Outline.call,
    'BUILD': Outline.build,
    'BINPERSID': Outline.storage,
    **dict.fromkeys(('BINGET', 'LONG_BINGET'), lambda self, i: self.push(self.memo[i])),
    **dict.fromkeys(
        ('BINPUT', 'LONG_BINPUT'), lambda self, i: self.memo.__setitem__(i, self.stack[-1])
    ),
}
