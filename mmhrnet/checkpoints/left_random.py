"""Which tensors of a network its checkpoint did not set."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from torch import nn

_NAMES: WeakKeyDictionary[nn.Module, Sequence[str]] = WeakKeyDictionary()


def note_random(network: nn.Module, names: Sequence[str]) -> None:
    """Notes what the checkpoint that was just loaded into the network left as it was."""
    _NAMES[network] = names


def left_random(network: nn.Module) -> Sequence[str]:
    """Names of the tensors that the last checkpoint left as they were."""
    return _NAMES.get(network, ())
