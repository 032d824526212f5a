"""Makes a resumed training continue exactly where it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.random_state import random_state, seeded, set_random_state
from mmhrnet.training.hooks.resume_state import Checkpoint, ExactResume, RandomState
from mmhrnet.training.hooks.seeded_batches import SeededBatches


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed run end bit-identical to an uninterrupted one.

    MMEngine does not restore the following; this hook does:

    - The random state of Python, numpy and torch, on the CPU and GPU of each process. It is saved
      in the checkpoint. Only training iterations advance it; loading data and evaluating do not.
    - The random state of the workers. Instead, each batch is loaded with a seed made of the run's
      seed, the process and the number of the batch. So the number of workers, and whether they
      persist, does not matter, and augmentation differs from epoch to epoch.
    - The order of the data. The samplers are advanced to the next batch, also in the middle of an
      epoch, without loading the batches before it.

    It needs the same config, the same number of processes, and checkpoints (``by_epoch``,
    ``interval``) that do not fall between the steps of accumulated gradients. The config needs no
    seed: the one that was drawn is in the checkpoint. The result is the same bit for bit on a CPU
    with the same number of threads, and on a GPU whose kernels are deterministic
    (``randomness=dict(deterministic=True)``).

    Not exact are transforms and data sets that keep a state or a random generator of their own
    (cached mosaics, albumentations from 1.4.21), hooks that do not save theirs (early stopping),
    and the times in the log.
    """

    priority = 'LOW'  # after the sampler's epoch is set, before checkpoints are written

    def __init__(self) -> None:
        self._state: RandomState | None = None
        self._states: list[RandomState] | None = None
        self._loaded: ExactResume | None = None
        self._batches: SeededBatches | None = None
        self._placed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        self._loaded = checkpoint.get('exact_resume')

    def before_train(self, runner: Runner) -> None:
        """Takes over the random state, and replaces the loader by one whose batches are seeded."""
        self._placed = False
        self._state, self._batches = None, _seed_batches(runner)
        if self._batches is None:
            runner.logger.warning('ExactResumeHook: this data loader cannot be resumed exactly')
        else:
            runner.logger.info('ExactResumeHook: each batch is loaded with a seed of its own')
        if runner.iter == 0:
            return
        states = self._loaded['random_states'] if self._loaded else []
        if len(states) == get_world_size():
            self._state = states[get_rank()]
        else:
            self._loaded = None
            runner.logger.warning(
                f'ExactResumeHook: the checkpoint contains the random states of {len(states)} '
                f'processes, and there are {get_world_size()}: this resume is not exact'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Moves the loader to the next batch, after MMEngine has set the sampler's epoch."""
        if self._placed or self._batches is None:
            return
        self._placed = True
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            ended = self._batches.skip(runner.iter, runner.iter)
            iterator = type(loop.dataloader_iterator)(loop.dataloader)
            iterator._epoch = ended
            # Newer MMEngines skip nothing if told so, but the loader is in place either way.
            drawn = 0 if getattr(loop, 'fast_forward_on_resume', False) else runner.iter
            loop.dataloader_iterator = _Skipped(iterator, drawn)
        elif isinstance(loop, EpochBasedTrainLoop):
            trained = self._loaded['batches'] if self._loaded else 0
            skipped = min(trained, len(self._batches))
            self._batches.skip(skipped, runner.iter)
            _number_from(loop, skipped)

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        if self._state is not None:
            set_random_state(self._state)

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        if self._batches is not None:
            self._state = random_state()

    def before_val(self, runner: Runner) -> None:
        if self._state is not None:
            set_random_state(self._state)

    def after_train_epoch(self, runner: Runner) -> None:
        vars(runner.train_loop).pop('run_iter', None)

    def before_gather_checkpoint(self, runner: Runner) -> None:
        """Collects the states of all processes; AtomicCheckpointHook calls it on each."""
        self._states = all_gather_object(self._state)

    def before_save_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        if 'optimizer' not in checkpoint or self._state is None:
            return
        meta = checkpoint['meta']
        into_epoch = meta['iter'] - meta['epoch'] * len(runner.train_dataloader)
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        checkpoint['exact_resume'] = {
            'random_states': self._states or [self._state],
            'batches': into_epoch if by_epoch else 0,
        }
        self._states = None


class _Skipped:
    """The loop's iterator: MMEngine skips trained batches by drawing them; here that is free."""

    def __init__(self, iterator: Iterator[object], count: int) -> None:
        self._iterator = iterator
        self._left = count

    def __iter__(self) -> _Skipped:
        return self

    def __next__(self) -> object:
        if self._left:
            self._left -= 1
            return None
        return next(self._iterator)

    def skip_iter(self, count: int) -> None:
        """Newer MMEngines call this once instead of drawing each batch."""
        self._left -= count


class _Shared:
    """Carries an object through MMEngine's deep copy of the loader's config without a copy."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        return self._value


def _seed_batches(runner: Runner) -> SeededBatches | None:
    """Gives the train loop a new loader of the same data set; None where that is impossible."""
    loop, cfg = runner.train_loop, runner.cfg.get('train_dataloader')
    old: DataLoader = loop.dataloader
    if not isinstance(cfg, dict) or getattr(old, 'batch_sampler', None) is None:
        return None
    cfg = dict(cfg, dataset=_Shared(old.dataset))
    cfg.pop('num_batch_per_epoch', None)  # the data set has been cut already
    own_seeds = runner._randomness_cfg.get('diff_rank_seed', False)
    with seeded(runner.seed):  # a sampler that has no seed draws one
        loader = runner.build_dataloader(cfg, seed=runner.seed, diff_rank_seed=own_seeds)
    batches = SeededBatches(loader.batch_sampler, runner.seed, get_rank())
    # Loaders forbid this once they are built, but nothing has drawn from this one yet.
    object.__setattr__(loader, 'batch_sampler', batches)
    loop.dataloader = loader
    return batches


def _number_from(loop: EpochBasedTrainLoop, first: int) -> None:
    """Gives hooks the true numbers of the batches in the rest of an epoch."""
    if first:
        run_iter = loop.run_iter
        loop.run_iter = lambda idx, data_batch: run_iter(first + idx, data_batch)
