"""The random state of a process: Python's, numpy's and torch's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from mmhrnet.training.hooks.resume_state import RandomState


def random_state() -> RandomState:
    """The state, including this process's GPU, as ``torch.load`` reads it with weights_only.

    It takes a tenth of a millisecond.
    """
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        'python': random.getstate(),
        'numpy': (kind, np.asarray(keys).tolist(), *rest),
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_random_state(state: RandomState) -> None:
    """Restores what :func:`random_state` returned."""
    random.setstate(state['python'])
    kind, keys, position, has_gauss, gauss = state['numpy']
    np.random.set_state((kind, np.asarray(keys, np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state['torch'].cpu())
    if torch.cuda.is_initialized() and state['cuda'] is not None:
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seeds Python, numpy and torch's CPU generator, and restores their states afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
