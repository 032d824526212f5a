"""A number that a GPU is still computing, on its way to the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


class Arriving:
    """Queues the copy of a tensor to the CPU without waiting for the GPU.

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
        """The tensor on the CPU; the GPU goes on with the work that was queued after it."""
        if self._event is not None:
            self._event.synchronize()
        return self._there
