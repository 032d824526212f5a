"""The weights of an HRNet inside a checkpoint, whatever wraps them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmhrnet.checkpoints.dataset_meta import find_oddity
from mmhrnet.checkpoints.safe import CheckpointError

CHOICE = 'MMHRNET_WEIGHTS_AT'
# What compilers and wrappers of PyTorch put between the names of nested modules.
INSERTED = re.compile(
    r'\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.'
)
CONV, STAGE = 'conv1.weight', 'stage2.'
SHOWN = 8


class Weights(dict[str, Tensor]):
    """Tensors by name.

    Attributes:
        notes: What to tell the user about how they were found.
    """

    notes: tuple[str, ...] = ()


class Candidate(NamedTuple):
    """Weights of one network in a checkpoint, and where they are: ``state_dict/student.``."""

    keys: tuple[str, ...]
    prefix: str
    tensors: dict[str, Tensor]

    @property
    def place(self) -> str:
        return '/'.join([*self.keys, *([self.prefix] if self.prefix else [])]) or 'top level'

    def is_called(self, name: str) -> bool:
        return name in (self.place, '/'.join(self.keys), self.prefix, self.prefix.rstrip('.'))


def unwrap(checkpoint: object, at: str | None = None) -> Weights:
    """The tensors of an HRNet, out of the dicts and prefixes that training wraps around them.

    Args:
        checkpoint: What :func:`mmhrnet.checkpoints.load` returned.
        at: Where the weights are, if there are several networks; None asks the environment
            (``MMHRNET_WEIGHTS_AT``), else the first one is taken.

    Raises:
        CheckpointError: It contains no tensors of an HRNet, or none at that place.
    """
    found = list(_distinct(_candidates(checkpoint, (), set())))
    if not found:
        raise CheckpointError(
            f'These are not weights of an HRNet: there is no {CONV} beside a {STAGE}*. '
            f'{_contents(checkpoint)}'
        )
    places = [candidate.place for candidate in found]
    at = at or os.environ.get(CHOICE)
    chosen = next((c for c in found if c.is_called(at)), None) if at else found[0]
    if chosen is None:
        raise CheckpointError(f'There are no weights at {at!r}: {CHOICE} is one of {places}')
    weights = Weights(chosen.tensors)
    if len(found) > 1:
        others = ', '.join(repr(place) for place in places if place != chosen.place)
        weights.notes = (
            f'taken from {chosen.place!r}; there are other weights at {others}: choose with '
            f'{CHOICE} in the environment',
        )
    return weights


def state_of(checkpoint: object) -> Mapping[str, Any]:
    """The named tensors of a checkpoint, and all else that is beside them, as MMEngine finds them.

    Raises:
        CheckpointError: The checkpoint, its ``state_dict`` or its ``meta`` is not a dict, or the
            hosts cannot read the description of the data set.
    """
    fields: dict[str, Any] = (
        checkpoint if isinstance(checkpoint, dict) else {'state_dict': checkpoint}
    )
    state = fields.get('state_dict', fields)
    for part, value in (('state_dict', state), ('meta', fields.get('meta') or {})):
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise CheckpointError(
                f'This is not a checkpoint: its {part} is not a dict of names. '
                f'{_contents(checkpoint)}'
            )
    if not _is_metadata(getattr(state, '_metadata', None)):
        raise CheckpointError(
            'This is not a checkpoint: the versions of its modules are not numbers'
        )
    described = (fields.get('meta') or {}).get('dataset_meta')
    oddity = None if described is None else find_oddity(described)
    if oddity:
        raise CheckpointError(
            f'The hosts cannot read dataset_meta of the checkpoint, {oddity}: correct it in the '
            'file'
        )
    return state


def _is_metadata(found: object) -> bool:
    """Whether it is the metadata of a state dict, whose versions PyTorch's modules compare."""
    parts = list(found.values()) if isinstance(found, dict) else [] if found is None else [found]
    return all(
        isinstance(part, dict) and isinstance(part.get('version'), (int, type(None)))
        for part in parts
    )


def _candidates(node: object, keys: tuple[str, ...], seen: set[int]) -> Iterator[Candidate]:
    if not isinstance(node, Mapping) or id(node) in seen:
        return
    seen.add(id(node))
    tensors = {
        INSERTED.sub('', name): tensor
        for name, tensor in node.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    for prefix in _prefixes(tensors):
        inside = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
        yield Candidate(keys, prefix, inside)
    for key, value in node.items():
        yield from _candidates(value, (*keys, str(key)), seen)


def _prefixes(names: Collection[str]) -> list[str]:
    """What precedes the names of whole networks; ``backbone.`` is a part of those names."""
    staged = {name.partition(STAGE)[0] for name in names if STAGE in name}
    stems = [name.removesuffix(CONV) for name in names if name.endswith(CONV)]
    bodies = [stem for stem in stems if stem in staged and stem[-1:] in ('', '.')]
    return list(dict.fromkeys(re.sub(r'(^|\.)backbone\.$', r'\1', body) for body in bodies))


def _distinct(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    """Without those that contain the same numbers as an earlier one."""
    kept: list[dict[str, Tensor]] = []
    for candidate in candidates:
        if not any(_are_equal(candidate.tensors, tensors) for tensors in kept):
            kept.append(candidate.tensors)
            yield candidate


def _are_equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _contents(checkpoint: object) -> str:
    if not isinstance(checkpoint, Mapping):
        return f'Its content is of the type {type(checkpoint).__name__}'
    keys = [f'{key} ({_count(value)})' for key, value in checkpoint.items()]
    more = f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else ''
    return f'Its keys: {", ".join(keys[:SHOWN])}{more}' if keys else 'It is an empty dict'


def _count(value: object) -> str:
    if isinstance(value, Tensor):
        return 'x'.join(map(str, value.shape)) or 'a number'
    if not isinstance(value, Mapping):
        return type(value).__name__
    first = f', {next(iter(value))}' if value else ''
    return f'{len(value)} items{first}'
