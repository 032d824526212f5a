"""Batches of indices that carry the random seed for loading them."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import BatchSampler

from mmhrnet.training.hooks.random_state import seeded


class SeededBatch(list):
    """Indices of one batch; while they are iterated over, the random state is the batch's own.

    A data loader iterates over them where it loads: in the main process or in any worker.
    """

    def __init__(self, indices: list[int], *seed: int) -> None:
        super().__init__(indices)
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        with seeded(*self.seed):
            yield from super().__iter__()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Pickled without a walk: a thread does it, while the main one draws random numbers."""
        return SeededBatch, (self[:], *self.seed)


class SeededBatches:
    """A batch sampler around another one, whose batches can be skipped without loading them.

    Args:
        batches: Batch sampler.
        seed: Seed and rank of this process.
    """

    def __init__(self, batches: BatchSampler, *seed: int) -> None:
        self.batches = batches
        self.seed = seed
        self.number = 0  # of the next batch, counted over epochs
        self._begun: Iterator[list[int]] | None = None

    def __iter__(self) -> Iterator[SeededBatch]:
        batches = iter(self.batches) if self._begun is None else self._begun
        self._begun = None
        for batch in batches:
            self.number += 1
            yield SeededBatch(batch, *self.seed, self.number - 1)

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> object:
        if name == 'batches':  # while being unpickled
            raise AttributeError(name)
        return getattr(self.batches, name)

    def skip(self, count: int, number: int) -> int:
        """Skips batches of the next pass, and of further passes when it ends.

        Args:
            count: How many to skip.
            number: Number of the first batch after them.

        Returns:
            How many passes ended.
        """
        ended, skipped = 0, 0
        self._begun = iter(self.batches)
        while skipped < count:
            if next(self._begun, None) is not None:
                skipped += 1
                continue
            ended += 1
            if hasattr(self.batches.sampler, 'set_epoch'):
                self.batches.sampler.set_epoch(ended)
            self._begun = iter(self.batches)
        self.number = number
        return ended
