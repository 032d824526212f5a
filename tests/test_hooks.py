"""Checkpoints that survive, exact resume, preemption and non-finite losses, on a small model."""

# ruff: noqa: S311 (random numbers are what is tested)
from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, LOOPS, METRICS
from mmengine.registry import MODELS as ALL_MODELS
from mmengine.runner import CheckpointLoader, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmhrnet import checkpoints
from mmhrnet.checkpoints import handed_on
from mmhrnet.config.check import check_weights
from mmhrnet.errors import TrainingError
from mmhrnet.training.hooks import durable_files, seeded_batches
from mmhrnet.training.hooks.latest import newest_intact
from mmhrnet.training.hooks.preemption import resume_command
from mmhrnet.training.hooks.random_state import random_state
from mmhrnet.training.hooks.seeded_batches import SeededBatch
from mmhrnet.training.run import use_hooks

NAMES = count()
LENGTH, BATCH = 12, 2  # samples, so six batches an epoch


@DATASETS.register_module(force=True)
class ToyDataset:
    """Samples with augmentation from each of the three generators."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        noise = random.random() + np.random.rand() + torch.rand(4)
        return {'x': index + noise, 'index': torch.tensor(index)}


@ALL_MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 1)
        self.poison: int | None = None  # the sample at which the norm's output breaks
        self.seen: list[list[int]] = []

    def forward(self, x: Any, index: Any, mode: str = 'tensor') -> Any:
        x, index = torch.stack(x), torch.stack(index)
        if mode == 'predict':
            return [float(index.sum())]
        self.seen.append(index.tolist())
        x = self.norm(self.drop(self.first(x)))
        if self.poison in index.tolist():
            x = x * torch.nan
        return {'loss': self.last(x).square().mean() + random.random() + np.random.rand()}


@METRICS.register_module(force=True)
class ToyMetric:
    """Random, to see that evaluation too is repeated."""

    def process(self, data_samples: Any, data_batch: Any) -> None: ...

    def evaluate(self, size: int) -> dict[str, float]:
        return {'acc': random.random()}


@LOOPS.register_module(force=True)
class SkippingLoop(IterBasedTrainLoop):
    """The loop of newer MMEngines: one call skips what was trained on, or nothing does."""

    def __init__(self, *args: Any, fast_forward_on_resume: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fast_forward_on_resume = fast_forward_on_resume

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0 and not self.fast_forward_on_resume:
            self.dataloader_iterator.skip_iter(self._iter)
        while self._iter < self._max_iters:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            if self._iter % self.val_interval == 0:
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_files.os, 'fsync', lambda *_: None)


class At(Hook):
    """Does something when so many iterations are done, after all other hooks or in evaluation."""

    priority = 'LOWEST'

    def __init__(self, moment: str, iteration: int, action: Any) -> None:
        self.iteration, self.action = iteration, action
        setattr(self, moment, self.act)

    def act(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter == self.iteration:
            self.action()


class CrashError(Exception):
    pass


def crash() -> None:
    raise CrashError


terminate = partial(signal.raise_signal, signal.SIGTERM)


def config(work_dir: Path, epochs: bool = False, workers: int = 0, **changes: Any) -> Config:
    loader = dict(
        dataset=dict(type='ToyDataset'),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type='DefaultSampler' if epochs else 'InfiniteSampler', shuffle=True),
    )
    loop = dict(max_epochs=3, val_interval=1) if epochs else dict(max_iters=18, val_interval=6)
    cfg = Config(
        dict(
            model=dict(type='ToyModel'),
            work_dir=str(work_dir),
            experiment_name=f'toy{next(NAMES)}',
            train_dataloader=loader,
            train_cfg=dict(by_epoch=epochs, **loop),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
            param_scheduler=[dict(type='ExponentialLR', gamma=0.9, by_epoch=epochs)],
            val_dataloader=dict(
                dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=False)
            ),
            val_evaluator=dict(type='Evaluator', metrics=dict(type='ToyMetric')),
            val_cfg=dict(),
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook',
                    interval=1 if epochs else 3,
                    by_epoch=epochs,
                    save_best='acc',
                    max_keep_ckpts=1,
                ),
                logger=dict(type='LoggerHook', interval=4),
            ),
            log_processor=dict(by_epoch=epochs, window_size=4),
            randomness=dict(seed=1),
            log_level='WARNING',
        )
    )
    cfg.merge_from_dict(changes)
    use_hooks(cfg)
    return cfg


def run(cfg: Config, *hooks: Hook) -> Runner:
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    train(runner)
    return runner


def train(runner: Runner) -> None:
    try:
        runner.train()
    finally:
        runner.call_hook('restore_signals')
        for each in gc.get_objects():  # else they wait for seconds when collected in a cycle
            if type(each) is _MultiProcessingDataLoaderIter:
                each._shutdown_workers()


def interrupted(cfg: Config, moment: str = 'after_train_iter', iteration: int = 7) -> None:
    """A run that crashes when so many iterations are done."""
    with pytest.raises(CrashError):
        run(cfg, At(moment, iteration, crash))


def last(work_dir: Path) -> dict[str, Any]:
    return checkpoints.load((work_dir / 'last_checkpoint').read_text())


def flat(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Leaves of a checkpoint with their names, as bytes where they are numbers."""
    if isinstance(value, HistoryBuffer):
        value = [*map(np.ndarray.tolist, value.data)]
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from flat(part, f'{name}/{key}')
    elif isinstance(value, torch.Tensor):
        yield name, (value.dtype, value.cpu().numpy().tobytes())
    elif isinstance(value, np.ndarray):
        yield name, (value.dtype, value.shape, value.tolist())
    else:
        yield name, value


# What differs between any two runs: when, where, under which name, at which commit.
VOLATILE = ('time', 'experiment_name', 'cfg', 'mmengine_version')
VOLATILE += ('last_ckpt', 'best_ckpt', 'outdated_ckpts')


def state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in flat(checkpoint)
        if not {*VOLATILE, 'train/time', 'train/data_time', 'val/time', 'val/data_time'}
        & {*name.split('/'), '/'.join(name.split('/')[3:5])}
    }


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('epochs', [False, True])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(
    epochs: bool, workers: int, tmp_path: Path
) -> None:
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    expected = run(config(whole, epochs, workers))
    resume = dict(resume=True)
    interrupted(config(parts, epochs, workers))
    # In an evaluation that the checkpoint does not know of.
    interrupted(config(parts, epochs, workers, **resume), 'before_val_epoch', 12)
    end = dict(resume, **{'train_dataloader.num_workers': 1 if workers else 0})
    got = run(config(parts, epochs, **{'train_dataloader.persistent_workers': False}, **end))
    assert state(last(parts)) == state(last(whole))
    assert got.model.seen == expected.model.seen[12:]
    assert dict(flat(random_state_of(got))) == dict(flat(random_state_of(expected)))
    assert names(parts) == names(whole)


@pytest.mark.parametrize('resume', [False, True])
def test_a_checkpoint_to_start_from_is_read_once(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(tmp_path))
    opened: list[str] = []
    read = torch.load

    def load(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(Path(file.name).name)
        return read(file, *args, **options)

    monkeypatch.setattr(torch, 'load', load)
    start = dict(resume=True) if resume else dict(load_from=str(tmp_path / 'iter_18.pth'))
    cfg = config(tmp_path if resume else tmp_path / 'next', **start)
    check_weights(cfg)
    run(cfg)
    assert opened.count('iter_18.pth') == 1


def test_nothing_is_kept_of_a_checkpoint_that_goes_to_another_device(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'weight': torch.ones(2)}}, path)
    checkpoints.read_ahead(path)
    loaded = CheckpointLoader.load_checkpoint(str(path), map_location='meta', logger='silent')
    assert loaded['state_dict']['weight'].is_meta  # as for a GPU
    assert not handed_on._KEPT


@pytest.mark.parametrize('fast', [False, True])
def test_a_loop_that_skips_by_one_call_is_resumed_exactly(fast: bool, tmp_path: Path) -> None:
    def skipping(work_dir: Path, **changes: Any) -> Config:
        cfg = config(work_dir, **changes)
        del cfg.train_cfg['by_epoch']
        cfg.train_cfg.update(type='SkippingLoop', fast_forward_on_resume=fast)
        return cfg

    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    expected = run(skipping(whole))
    interrupted(skipping(parts))
    got = run(skipping(parts, resume=True))
    assert state(last(parts)) == state(last(whole))
    assert got.model.seen == expected.model.seen[6:]


def random_state_of(runner: Runner) -> Any:
    (hook,) = (h for h in runner.hooks if type(h).__name__ == 'ExactResumeHook')
    return hook._state


def names(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob('*.pth'))


def test_without_a_seed_the_drawn_one_is_resumed(tmp_path: Path) -> None:
    changes = {'randomness': dict(seed=None)}
    expected = run(config(tmp_path / 'whole', **changes))
    interrupted(config(tmp_path / 'parts', randomness=dict(seed=expected.seed)))
    run(config(tmp_path / 'parts', resume=True, **changes))
    assert state(last(tmp_path / 'parts')) == state(last(tmp_path / 'whole'))


def test_augmentation_is_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    losses = []
    for workers in (0, 1, 2):
        runner = run(config(tmp_path / str(workers), workers=workers))
        losses.append(runner.message_hub.get_scalar('train/loss').data[0].tolist())
    assert losses[0] == losses[1] == losses[2]
    assert len(set(losses[0])) == 18


def test_sending_a_batch_to_a_worker_leaves_the_random_state_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = SeededBatch([3, 1], 7, 8)
    with monkeypatch.context() as patch:
        patch.setattr(seeded_batches, 'seeded', None)
        sent = pickle.loads(pickle.dumps(batch))  # noqa: S301
    state = random_state()
    assert list(sent) == list(batch) == [3, 1]
    assert sent.seed == (7, 8)
    assert dict(flat(random_state())) == dict(flat(state))


@pytest.mark.parametrize(
    ('epochs', 'number'),
    [(False, signal.SIGTERM), (True, signal.SIGINT), (True, signal.SIGUSR1)],
)
def test_a_signal_leaves_a_checkpoint_that_resumes_exactly(
    epochs: bool, number: int, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    expected = run(config(whole, epochs))
    before = signal.getsignal(number)
    for iteration in (1, 7, 11):  # of these, the second is no checkpoint's, the last ends an epoch
        cfg = config(parts, epochs, resume=iteration > 1)
        stop = At('before_train_iter', iteration, partial(signal.raise_signal, number))
        with pytest.raises(SystemExit) as info:
            run(cfg, stop)
        assert info.value.code == 128 + number
        assert last(parts)['meta']['iter'] == iteration + 1
        assert signal.getsignal(number) == before
    logged = capfd.readouterr().out
    assert f'Stopped by {signal.Signals(number).name} after iteration 8' in logged
    assert logged.rstrip().endswith('--resume')  # of the command to go on with
    got = run(config(parts, epochs, resume=True))
    assert state(last(parts)) == state(last(whole))
    assert got.model.seen == expected.model.seen[12:]


@pytest.mark.parametrize('given', [[], ['--resume'], ['--resume', 'a.pth'], ['--resume=a.pth']])
def test_the_command_to_go_on_with_resumes_from_the_latest(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'orig_argv', ['mmhrnet', 'train', 'a.py', *given, '--work-dir', 'b c'])
    assert resume_command() == "mmhrnet train a.py --work-dir 'b c' --resume"


def test_a_moved_work_folder_resumes_without_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    old, new = tmp_path / 'old', tmp_path / 'new'
    with pytest.raises(SystemExit):
        run(config(old), At('before_train_iter', 6, terminate))
    old.rename(new)
    capfd.readouterr()
    run(config(new, resume=True))
    assert 'is not defined in message_hub' not in capfd.readouterr().out


def test_a_signal_in_an_evaluation_stops_it_and_it_is_done_later(tmp_path: Path) -> None:
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    run(config(whole))
    with pytest.raises(SystemExit):
        run(config(parts), At('before_val_iter', 6, terminate))
    assert last(parts)['evaluated'] is False
    run(config(parts, resume=True))
    assert state(last(parts)) == state(last(whole))


def test_a_signal_waits_for_accumulated_gradients(tmp_path: Path) -> None:
    cfg = config(tmp_path, **{'optim_wrapper.accumulative_counts': 4})
    with pytest.raises(SystemExit):
        run(cfg, At('before_train_iter', 4, terminate))
    assert last(tmp_path)['meta']['iter'] == 8


def test_workers_outlive_a_signal_to_the_group_and_end_with_the_training(tmp_path: Path) -> None:
    def signal_workers() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGTERM)

    runner = run(config(tmp_path, workers=2), At('after_train_iter', 3, signal_workers))
    assert len(runner.model.seen) == 18
    assert not multiprocessing.active_children()


def test_a_run_that_ends_by_an_error_does_not_wait_for_its_workers(tmp_path: Path) -> None:
    code = (
        'import sys; from pathlib import Path; from test_hooks import *\n'
        'cfg = config(Path(sys.argv[1]), epochs=True, workers=2)\n'
        'runner = Runner.from_cfg(cfg); runner.register_hook(At("after_train_iter", 3, crash))\n'
        'runner.train()'
    )
    command = [sys.executable, '-c', code, tmp_path]
    result = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert 'CrashError' in result.stderr


def test_handlers_stay_in_other_threads(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []
    look = At('after_train_iter', 2, lambda: seen.append(signal.getsignal(signal.SIGTERM)))
    thread = threading.Thread(target=run, args=(config(tmp_path), look))
    thread.start()
    thread.join()
    assert seen == [before]


def test_old_checkpoints_go_only_when_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        seen.append((Path(target).name, names(tmp_path)))
        return replace(self, target)

    monkeypatch.setattr(Path, 'replace', watch)
    run(config(tmp_path))
    for name, there in seen:
        steps = [n for n in there if n.startswith('iter') and n != name]
        assert len(steps) >= min(2, max(0, sum(n.startswith('iter') for n, _ in seen[:1]) - 1))
    at_twelve = next(there for name, there in seen if name == 'iter_12.pth')
    assert {'iter_6.pth', 'iter_9.pth'} <= set(at_twelve)
    bests = [(name, there) for name, there in seen if name.startswith('best')]
    for (old, _), (_, there) in pairwise(bests):
        assert old in there
    assert names(tmp_path)[1:] == ['iter_15.pth', 'iter_18.pth']
    assert not list(tmp_path.glob('.*'))


def test_what_a_killed_run_did_not_remove_goes_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = durable_files.DurableBackend.remove_outdated

    def crash_at_nine(self: durable_files.DurableBackend, folder: str) -> None:
        crash() if Path(folder, 'iter_9.pth').exists() else remove(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(durable_files.DurableBackend, 'remove_outdated', crash_at_nine)
        with pytest.raises(CrashError):
            run(config(tmp_path))
    assert names(tmp_path)[1:] == ['iter_3.pth', 'iter_6.pth', 'iter_9.pth']
    other = tmp_path / 'other'
    other.mkdir()
    shutil.copy(tmp_path / 'iter_3.pth', other)
    run(config(other, resume=True, load_from=str(tmp_path / 'iter_9.pth')))
    assert 'iter_3.pth' in names(other)  # of another run
    run(config(tmp_path, resume=True))
    assert names(tmp_path)[1:] == ['iter_15.pth', 'iter_18.pth']


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_says_what_is_missing_and_harms_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        if next(calls) == 4:  # the file and folder of iter_3 and of its name, then iter_6
            raise OSError(number, os.strerror(number))

    calls = count()
    monkeypatch.setattr(durable_files.os, 'fsync', full)
    with pytest.raises(TrainingError, match=r'iter_6\.pth cannot be .* needs \d+ bytes, \d+ bytes'):
        run(config(tmp_path))
    assert names(tmp_path) == ['iter_3.pth']
    assert last(tmp_path)['meta']['iter'] == 3
    assert not list(tmp_path.glob('.*'))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    """One bit in the middle of a tensor, which torch.load does not notice."""
    content = bytearray(path.read_bytes())
    weight = checkpoints.load(path)['state_dict']['first.weight'].numpy().tobytes()
    content[content.index(weight) + 5] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_named_and_the_one_before_resumes(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    interrupted(config(tmp_path))
    assert newest_intact(tmp_path).name == 'iter_6.pth'
    for harm in (flip, cut):
        harm(tmp_path / 'iter_6.pth')
        assert newest_intact(tmp_path).name == 'iter_3.pth'
    (tmp_path / 'last_checkpoint').write_text('')
    (tmp_path / '.mmhrnet-99999.iter_9.pth').write_text('what a killed writer left')
    others = [tmp_path / '.2026-plan.txt', tmp_path / '.mmhrnet-folder']
    others[0].write_text("the user's own")
    others[1].mkdir()
    (tmp_path / 'iter_11.pth').symlink_to(tmp_path / 'nowhere')
    interrupted(config(tmp_path, resume=True), iteration=3)
    assert 'Resuming from' in capfd.readouterr().out
    assert not (tmp_path / '.mmhrnet-99999.iter_9.pth').exists()
    assert all(path.exists() for path in others)
    cut(tmp_path / 'iter_3.pth')
    with pytest.raises(TrainingError, match=r'No checkpoint in .* can be resumed'):
        run(config(tmp_path, resume=True))


def test_resume_without_any_checkpoint_starts(tmp_path: Path) -> None:
    runner = run(config(tmp_path, resume=True))
    assert len(runner.model.seen) == 18


@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)])
def test_a_non_finite_loss_names_iteration_and_module_with_the_weights_before(
    clip: dict | None, tmp_path: Path
) -> None:
    runner = Runner.from_cfg(config(tmp_path, **{'optim_wrapper.clip_grad': clip}))
    runner.model.poison = 5
    with pytest.raises(TrainingError) as info:
        train(runner)
    iteration = next(i for i, batch in enumerate(runner.model.seen) if 5 in batch) + 1
    message = str(info.value)
    assert f'loss of iteration {iteration} is not finite' in message
    assert 'first module whose output is not finite: last.' in message
    assert all(p.isfinite().all() for p in runner.model.parameters())
    assert all(b.isfinite().all() for b in runner.model.buffers())


def test_the_module_is_found_where_it_breaks_and_images_are_named(tmp_path: Path) -> None:
    runner = Runner.from_cfg(config(tmp_path))
    runner.model.norm.register_forward_hook(
        lambda *call: call[2] / 0 if len(runner.model.seen) in (4, 5) else call[2]
    )
    with pytest.raises(TrainingError, match=r'iteration 4 .* not finite: norm\. .*iter_3\.pth'):
        train(runner)


def test_a_step_that_spoilt_the_weights_is_told_from_a_bad_batch(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r'iteration 2 .* The step before it .* first first\.'):
        run(config(tmp_path, **{'optim_wrapper.optimizer.lr': torch.inf}))


def test_non_finite_weights_never_become_a_checkpoint(tmp_path: Path) -> None:
    runner = Runner.from_cfg(config(tmp_path))

    def break_weights() -> None:
        runner.model.first.weight.data[0] = torch.inf

    hook = At('after_train_iter', 5, break_weights)
    hook.priority = 'NORMAL'
    runner.register_hook(hook)
    with pytest.raises(TrainingError, match=r'After iteration 6 .* first first\.weight'):
        train(runner)
    assert names(tmp_path) == ['iter_3.pth']


def test_hooks_of_the_config_are_not_doubled() -> None:
    cfg = Config(
        dict(
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=7)),
            custom_hooks=[dict(type='EMAHook'), dict(type='mmhrnet.NonFiniteHook', priority=85)],
        )
    )
    use_hooks(cfg)
    use_hooks(cfg)
    kinds = [hook.type for hook in cfg.custom_hooks]
    assert len(kinds) == len(set(kinds)) == 7
    assert kinds[:2] == ['EMAHook', 'mmhrnet.NonFiniteHook']
    assert cfg.default_hooks.checkpoint == dict(type='mmhrnet.AtomicCheckpointHook', interval=7)
