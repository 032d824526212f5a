"""A resumed training that goes on exactly where it was."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmhrnet.registry import HOOKS
from mmhrnet.training.hooks.random_state import random_state, seeded, set_random_state
from mmhrnet.training.hooks.seeded_batches import SeededBatches


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed run end bit-identical to an uninterrupted one.

    What MMEngine does not restore, and what is done about it:

    - The random state of Python, numpy and torch, CPU and GPUs, of each process: it goes into the
      checkpoint. It flows from iteration to iteration; loading data and evaluating do not move it.
    - The random state of the workers: instead, each batch is loaded with a seed made of the run's
      seed, the process and the number of the batch. So it does not matter how many workers there
      are, or whether they persist, and augmentation differs from epoch to epoch.
    - The data order: the samplers are drawn through up to the batch that is next, also in the
      middle of an epoch, without loading what was trained on.

    Needed: the same config, the same number of processes, and ``by_epoch`` or ``interval`` such
    that a checkpoint is not between the steps of accumulated gradients. A seed in the config is
    not needed: the one that was drawn is in the checkpoint. Bit for bit on a CPU with the same
    number of threads; on a GPU as far as its kernels repeat themselves
    (``randomness=dict(deterministic=True)``).

    Not exact: transforms and data sets that keep a state or a random generator of their own
    (cached mosaics, albumentations from 1.4.21), hooks that do not save theirs (early stopping),
    and the measured times and the time left in the log.
    """

    priority = 'LOW'  # after the sampler's epoch is set, before checkpoints are written

    def __init__(self) -> None:
        self._state: dict[str, Any] | None = None
        self._states: list[Any] | None = None
        self._loaded: dict[str, Any] = {}
        self._batches: SeededBatches | None = None
        self._placed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self._loaded = checkpoint.get('exact_resume', {})

    def before_train(self, runner: Runner) -> None:
        """Takes over the random state, and the loader's place with one whose batches are seeded."""
        self._placed = False
        self._state, self._batches = None, _seed_batches(runner)
        if self._batches is None:
            runner.logger.warning('ExactResumeHook: this data loader cannot be resumed exactly')
        else:
            runner.logger.info('ExactResumeHook: each batch is loaded with a seed of its own')
        if runner.iter == 0:
            return
        states = self._loaded.get('random_states', ())
        if len(states) == get_world_size():
            self._state = states[get_rank()]
        else:
            self._loaded = {}
            runner.logger.warning(
                f'ExactResumeHook: the checkpoint holds the random state of {len(states)} '
                f'processes, there are {get_world_size()}: this resume is not exact'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Puts the loader to the next batch; before this MMEngine has set the sampler's epoch."""
        if self._placed or self._batches is None:
            return
        self._placed = True
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            ended = self._batches.skip(runner.iter, runner.iter)
            iterator = type(loop.dataloader_iterator)(loop.dataloader)
            iterator._epoch = ended
            # Newer MMEngines skip nothing if they are told so: the data are in place all the same.
            drawn = 0 if getattr(loop, 'fast_forward_on_resume', False) else runner.iter
            loop.dataloader_iterator = _Skipped(iterator, drawn)
        elif isinstance(loop, EpochBasedTrainLoop):
            skipped = min(self._loaded.get('batches', 0), len(self._batches))
            self._batches.skip(skipped, runner.iter)
            _number_from(loop, skipped)

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self._state is not None:
            set_random_state(self._state)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
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

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
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
    """The loop's iterator; MMEngine draws the batches that were trained on, these cost nothing."""

    def __init__(self, iterator: Any, count: int) -> None:
        self._iterator = iterator
        self._left = count

    def __iter__(self) -> _Skipped:
        return self

    def __next__(self) -> Any:
        if self._left:
            self._left -= 1
            return None
        return next(self._iterator)

    def skip_iter(self, count: int) -> None:
        """What newer MMEngines call once, instead of drawing each of them."""
        self._left -= count


class _Shared:
    """Passes the one object through MMEngine's deep copy of the loader's config."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._value


def _seed_batches(runner: Runner) -> SeededBatches | None:
    """Gives the train loop a fresh loader of the same data set; None where that is impossible."""
    loop, cfg = runner.train_loop, runner.cfg.get('train_dataloader')
    old: DataLoader = loop.dataloader
    if not isinstance(cfg, dict) or getattr(old, 'batch_sampler', None) is None:
        return None
    cfg = dict(cfg, dataset=_Shared(old.dataset))
    cfg.pop('num_batch_per_epoch', None)  # the data set is cut already
    own_seeds = runner._randomness_cfg.get('diff_rank_seed', False)
    with seeded(runner.seed):  # a sampler without a seed draws one
        loader = runner.build_dataloader(cfg, seed=runner.seed, diff_rank_seed=own_seeds)
    batches = SeededBatches(loader.batch_sampler, runner.seed, get_rank())
    # The loader forbids this later on; nothing has drawn from this one yet.
    object.__setattr__(loader, 'batch_sampler', batches)
    loop.dataloader = loader
    return batches


def _number_from(loop: EpochBasedTrainLoop, first: int) -> None:
    """Lets hooks see the true numbers of the batches in the rest of an epoch."""
    if first:
        run_iter = loop.run_iter
        loop.run_iter = lambda idx, data_batch: run_iter(first + idx, data_batch)
