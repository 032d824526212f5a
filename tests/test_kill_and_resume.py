"""``tools/train.py`` is killed, told to stop, resumed; nothing may be lost."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_hooks import last, names, state

from mmhrnet import checkpoints

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
KILLS = 20
ITERATIONS = 40
ENV = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'}
WORKERS = ('train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True')


def command(work_dir: Path, iterations: int, *options: str, resume: bool = False) -> list[str]:
    return [
        *(sys.executable, 'tools/train.py', CONFIG, '--mini', '--work-dir', str(work_dir)),
        *(['--no-validate'] if iterations < 8 else []),
        '--cfg-options',
        f'train_cfg.max_iters={iterations}',
        'train_cfg.val_interval=4',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1',
        'train_dataloader.batch_size=2',
        *options,
        *(['--resume'] if resume else []),
    ]


class Training:
    """A run in a process group of its own, whose log is read while it runs."""

    def __init__(self, *args: Any, words: Sequence[str] = (), **kwargs: Any) -> None:
        self.process = subprocess.Popen(
            words or command(*args, **kwargs),
            cwd=ROOT,
            env=ENV,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.log = ''

    def until(self, text: str) -> bool:
        """Waits for a line of the log; False if the run ends without one."""
        for line in self.process.stdout:
            self.log += line
            if text in line:
                return True
        return False

    def end(self, number: int | None = None, group: bool = False) -> int:
        if number is not None:
            (os.killpg if group else os.kill)(self.process.pid, number)
        self.log += self.process.stdout.read()
        return self.process.wait()


def finished(*args: Any, **kwargs: Any) -> Path:
    run = Training(*args, **kwargs)
    assert run.end() == 0, run.log[-3000:]
    return args[0]


def logged(work_dir: Path) -> dict[int, set[str]]:
    """What was logged at each step, in all runs of the folder, without times."""
    steps: dict[int, set[str]] = {}
    for path in work_dir.glob('*/vis_data/scalars.json'):
        for line in path.read_text().splitlines():
            values = json.loads(line)
            for name in ('time', 'data_time', 'memory'):
                values.pop(name, None)
            steps.setdefault(values.pop('step'), set()).add(json.dumps(values, sort_keys=True))
    return steps


def assert_equal(work_dir: Path, whole: Path) -> None:
    assert state(last(work_dir)) == state(last(whole))
    assert names(work_dir) == names(whole)
    for path in whole.glob('best_*.pth'):
        assert state(checkpoints.load(work_dir / path.name)) == state(checkpoints.load(path))
    assert logged(work_dir) == logged(whole)
    assert not list(work_dir.glob('.mmhrnet-*'))


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp('whole'), ITERATIONS)


def test_a_killed_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    other = Training(tmp_path / 'whole', 4)
    run = Training(tmp_path / 'killed', 4)
    assert run.until('Iter(train) [3/4]'), run.log
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    finished(tmp_path / 'killed', 4, resume=True)
    assert other.end() == 0
    assert_equal(tmp_path / 'killed', tmp_path / 'whole')


def moments(rng: random.Random) -> Iterator[tuple[str, float]]:
    """A line of the log (or a file being written), and seconds to wait after it."""
    kinds = [
        ('Iter(train)', 0.4),
        ('.iter_', 0.1),
        ('.iter_', 0.6),
        ('Saving checkpoint', 0.5),
        ('EVALUATION', 0.5),
        ('.best_', 0.3),
        ('Iter(val)', 0.3),
        ('work folder', 0.2),
    ]
    while True:
        for kind, most in rng.sample(kinds, len(kinds)):
            yield kind, rng.uniform(0, most)


def wait_for(run: Training, work_dir: Path, kind: str) -> bool:
    if kind == 'EVALUATION':
        return run.until('Saving checkpoint') and run.until('Saving checkpoint')
    if not kind.startswith('.'):
        return run.until(kind)
    while run.process.poll() is None:
        if list(work_dir.glob(f'.mmhrnet-*{kind}*')):
            return True
        time.sleep(0.002)
    return False


@pytest.mark.slow
def test_twenty_kills_lose_nothing(
    whole: Path, tmp_path: Path, figure: Callable[[str, Any], None]
) -> None:
    kills, during, work_dir = 0, [], tmp_path / 'run0'
    for kind, delay in moments(random.Random(0)):  # noqa: S311
        if kills == KILLS:
            break
        run = Training(work_dir, ITERATIONS, resume=work_dir.exists())
        if wait_for(run, work_dir, kind):
            time.sleep(delay)
        if run.process.poll() is None:
            kills += run.end(signal.SIGKILL) == -signal.SIGKILL
            during += [path.name for path in work_dir.glob('.mmhrnet-*')]
        else:
            assert run.end() == 0, run.log[-3000:]
            assert_equal(work_dir, whole)
            work_dir = tmp_path / f'run{kills}'
    assert during, 'no kill hit a file being written'
    finished(work_dir, ITERATIONS, resume=True)
    assert_equal(work_dir, whole)
    figure('kills survived, of 20', kills)
    figure('kills while a checkpoint was being written', len(during))
    figure('resumed run against uninterrupted', 'bit-equal')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('number', 'group', 'options'),
    [
        (signal.SIGTERM, True, WORKERS),
        (signal.SIGINT, True, ()),
        (signal.SIGUSR1, False, ()),
    ],
)
def test_a_signal_leaves_what_resumes_exactly(
    number: int, group: bool, options: tuple[str, ...], whole: Path, tmp_path: Path
) -> None:
    run = Training(tmp_path, ITERATIONS, *options)
    assert run.until('Iter(train) [ 7/'), run.log[-3000:]
    assert run.end(number, group) == 128 + number
    assert f'Stopped by {signal.Signals(number).name} after iteration' in run.log
    assert 'Traceback' not in run.log
    assert run.log.rstrip().endswith('--resume')
    finished(tmp_path, ITERATIONS, *options, resume=True)
    assert_equal(tmp_path, whole)


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    run = Training(tmp_path, ITERATIONS)
    assert run.until('Iter(train)')
    run.process.send_signal(signal.SIGTERM)
    assert run.end(signal.SIGTERM) in (-signal.SIGTERM, 128 + signal.SIGTERM)


SMALL_DISK = (
    'mount -t tmpfs -o size=350m tmpfs "$1" && "${@:3}"; code=$?; cp -a "$1" "$2"; exit $code'
)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_error_and_resumes_exactly_where_there_is_room(
    whole: Path, tmp_path: Path, figure: Callable[[str, Any], None]
) -> None:
    own_mounts = ('unshare', '--map-root-user', '--mount')
    if (
        not shutil.which('unshare')
        or subprocess.run([*own_mounts, 'mount', '-t', 'tmpfs', 'tmpfs', tmp_path]).returncode
    ):
        pytest.skip('a small disk needs the right to mount one: Linux with user namespaces')
    disk, kept = tmp_path / 'disk', tmp_path / 'kept'
    disk.mkdir()
    words = ['bash', '-c', SMALL_DISK, 'bash', disk, kept, *command(disk, ITERATIONS)]
    result = subprocess.run(
        [*own_mounts, *words], cwd=ROOT, env=ENV, capture_output=True, text=True
    )
    assert result.returncode == 2, result.stdout[-3000:]
    *_, error = result.stderr.splitlines()
    assert re.search(r'iter_\d+\.pth cannot be written: No space left .* needs \d+ bytes', error)
    assert names(kept) == ['best_accuracy_top1_iter_4.pth', 'iter_2.pth', 'iter_4.pth']
    finished(kept, ITERATIONS, resume=True)
    assert_equal(kept, whole)
    figure('full disk (a mounted one of 350 MB)', 'one error, resumed bit-equal')


DETECTOR = 'configs/mmdet/faster_rcnn_hrnetv2p_w18.py'
SMALL_IMAGES = [
    'train_dataloader.dataset.pipeline.2.scale=(160,96)',
    *(f'{name}_dataloader.dataset.pipeline.1.scale=(160,96)' for name in ('val', 'test')),
    *(f'{name}_dataloader.dataset.indices=16' for name in ('train', 'val', 'test')),
    'train_cfg.max_epochs=2',  # of the twelve; the schedule stays
    'randomness.seed=0',
]


@pytest.mark.slow
def test_the_main_use_is_killed_resumed_and_tested(coco_mini: Path, tmp_path: Path) -> None:
    """The shipped detector with its own schedule on real images, through the tools."""

    def tool(name: str, work_dir: str, *arguments: str) -> Training:
        words = [sys.executable, f'tools/{name}.py', DETECTOR, *arguments]
        words += ['--data-root', str(coco_mini), '--work-dir', str(tmp_path / work_dir)]
        return Training(words=[*words, '--cfg-options', *SMALL_IMAGES])

    whole = tool('train', 'whole', '--from-scratch')
    assert whole.end() == 0, whole.log[-3000:]
    run = tool('train', 'parts', '--from-scratch')
    assert run.until('Epoch(val) [1]'), run.log[-3000:]
    time.sleep(1)  # into the second epoch
    run.end(signal.SIGKILL)
    assert names(tmp_path / 'parts') != names(tmp_path / 'whole')
    resumed = tool('train', 'parts', '--from-scratch', '--resume')
    assert resumed.end() == 0, resumed.log[-3000:]
    assert_equal(tmp_path / 'parts', tmp_path / 'whole')
    tested = tool('test', 'test', str(tmp_path / 'parts/epoch_2.pth'))
    assert tested.end() == 0, tested.log[-3000:]
    assert 'measured' in tested.log
    assert 'Traceback' not in tested.log
