"""A number that a GPU still computes, on its way to the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


class Arriving:
    """Copies a tensor to the CPU behind what the GPU has to do before, without waiting for it.

    Args:
        tensor: Of any device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._there = tensor.to('cpu', non_blocking=True)
        self._event = None
        if tensor.is_cuda:
            self._event = torch.cuda.Event()
            self._event.record()

    def wait(self) -> Tensor:
        """The tensor on the CPU; what the GPU was given after it goes on meanwhile."""
        if self._event is not None:
            self._event.synchronize()
        return self._there
