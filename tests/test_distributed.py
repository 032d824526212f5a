"""Several processes give the numbers of one, write each file once, and end together."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import EMAHook
from mmengine.runner import get_priority
from torch import distributed as dist
from torch import nn

from mmhrnet import apis, checkpoints
from mmhrnet.config.processes import STARTED_BY, is_first
from mmhrnet.files import UNFINISHED
from mmhrnet.training import launch
from mmhrnet.training.hooks.broadcast_buffers import BroadcastBuffersHook
from mmhrnet.training.hooks.latest import newest_intact
from mmhrnet.walk import dicts

ROOT = Path(__file__).resolve().parents[1]
BASH = shutil.which('bash') or 'bash'
CLS = 'configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
POSE = 'configs/mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192.py'
SEG = 'configs/mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024.py'
DET = 'configs/mmdet/mask-rcnn_hrnetv2p-w18-1x_coco.py'
STEPS = 4
SHORT = [
    f'train_cfg.max_iters={STEPS}',
    f'train_cfg.val_interval={STEPS}',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=2',
    'default_hooks.checkpoint.max_keep_ckpts=-1',
]
# AdamW makes whole steps of gradients that are nothing but rounding.
SGD = [
    'optim_wrapper.optimizer.type=SGD',
    'optim_wrapper.optimizer.lr=0.05',
    'param_scheduler.0.start_factor=1.0',
]
# Norms with the statistics of a checkpoint, so that an image counts the same in any batch.
FROZEN = ['model.backbone.norm_eval=True', 'train_dataloader.dataset.pipeline.2.prob=0.0']
HOOK = """
import os
import time

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KeepLosses(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with open(f'{runner.work_dir}/losses-{get_rank()}.txt', 'a') as file:
            print(float(outputs['loss']), file=file)


def slow_fsync(file, fsync=os.fsync):
    if os.fstat(file).st_size > 1e6:
        time.sleep(float(os.environ.get('SECONDS_TO_WRITE', 0)))
    fsync(file)


os.fsync = slow_fsync
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def environment(folder: Path, threads: int = 1) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(folder)])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    settings = dict(PYTHONPATH=paths, PATH=path, OMP_NUM_THREADS=str(threads))
    return {**os.environ, **settings, 'PORT': str(free_port()), 'PYTHONWARNINGS': 'ignore'}


def start(
    processes: int,
    tool: str,
    arguments: Sequence[str | Path],
    options: Sequence[str],
    folder: Path,
    threads: int = 1,
) -> subprocess.Popen:
    """A tool in several processes through its script, or in one; it logs to ``folder/log``."""
    words = [str(word) for word in arguments]
    if processes == 1:
        command = [sys.executable, str(ROOT / f'tools/{tool}.py'), *words]
    else:
        inputs, flags = words[: 1 + (tool == 'test')], words[1 + (tool == 'test') :]
        script = str(ROOT / f'tools/dist_{tool}.sh')
        command = [BASH, script, *inputs, str(processes), *flags]
    command += ['--mini', '--work-dir', str(folder), '--cfg-options', *options]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'log').open('w') as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(folder.parent, threads),
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait(process: subprocess.Popen, folder: Path) -> None:
    assert process.wait(timeout=300) == 0, (folder / 'log').read_text()[-4000:]


def keep_losses(folder: Path, *bases: Path) -> Path:
    """A config file beside a hook that keeps the loss of each process."""
    (folder / 'keep_losses.py').write_text(HOOK)
    path = folder / 'config.py'
    hooks = "custom_hooks = [dict(type='KeepLosses')]\n"
    imports = "custom_imports = dict(imports=['mmhrnet', 'keep_losses'])\n"
    path.write_text(f'_base_ = {[str(base) for base in bases]}\n{imports}{hooks}')
    return path


@pytest.fixture(scope='module')
def options(untrained: Callable) -> list[str]:
    no_clip = 'optim_wrapper.clip_grad=None'  # FSDP refuses it
    return [*SHORT, *SGD, *FROZEN, no_clip, f'load_from={untrained("mmpose").checkpoint}']


@pytest.fixture(scope='module')
def both(tmp_path_factory: pytest.TempPathFactory, options: list[str]) -> Path:
    """Two processes and, at the same time, one with the doubled batch."""
    folder = tmp_path_factory.mktemp('both')
    config = keep_losses(folder, ROOT / POSE)
    runs = {
        folder / name: start(
            processes,
            'train',
            [config],
            [*options, f'train_dataloader.batch_size={16 // processes}'],
            folder / name,
        )
        for processes, name in ((1, 'one'), (2, 'two'))
    }
    for run, process in runs.items():
        wait(process, run)
    return folder


def losses(run: Path) -> torch.Tensor:
    """Mean over the processes, (steps,)."""
    files = sorted(run.glob('losses-*.txt'))
    return torch.tensor([[float(x) for x in path.read_text().split()] for path in files]).mean(0)


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = checkpoints.load(path)['state_dict']
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def difference(first: Path, second: Path) -> float:
    """Largest difference of a tensor of two checkpoints, relative to its norm."""
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).norm() / a[n].norm().clamp(min=1e-12)) for n in a)


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_doubled_batch(both: Path, figure: Callable) -> None:
    one, two = losses(both / 'one'), losses(both / 'two')
    assert len(one) == STEPS
    torch.testing.assert_close(two, one, rtol=1e-5, atol=0)
    assert difference(both / 'one/iter_2.pth', both / 'one/iter_4.pth') > 1e-3
    largest = difference(both / 'one/iter_4.pth', both / 'two/iter_4.pth')
    assert largest < 1e-5
    largest = max(largest, float((two / one - 1).abs().max()))
    figure('processes: 2 against 1 with the doubled batch, largest relative difference', largest)


@pytest.mark.slow
def test_one_process_writes_each_file(both: Path) -> None:
    files = {
        name: sorted(
            re.sub(r'\d{8}_\d{6}', 'TIME', str(path.relative_to(both / name)))
            for path in (both / name).rglob('*')
            if path.is_file()
        )
        for name in ('one', 'two')
    }
    both_wrote = [name for name in files['two'] if 'losses-1' not in name and '.png' not in name]
    assert both_wrote == [name for name in files['one'] if '.png' not in name]
    assert len([name for name in files['two'] if name.startswith('predictions/')]) == 6
    assert not [name for name in files['two'] if Path(name).name.startswith('.')]
    (log,) = (both / 'two').glob('*/*.log')
    assert len(re.findall(r'Iter\(train\) \[1/4\]', log.read_text())) == 1
    (scalars,) = (both / 'two').glob('*/vis_data/scalars.json')
    steps = [json.loads(line)['step'] for line in scalars.read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]
    assert (both / 'two/log').read_text().count('best checkpoint:') == 1


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_resuming_two_processes_ends_with_the_same_weights(
    both: Path, options: list[str], processes: int
) -> None:
    """In two again: bit for bit. In one: with the doubled batch, up to rounding."""
    folder = both / f'resumed_{processes}'
    options = [*options, f'train_dataloader.batch_size={16 // processes}']
    arguments = [both / 'config.py', '--resume', both / 'two/iter_2.pth']
    wait(start(processes, 'train', arguments, options, folder), folder)
    assert len(losses(folder)) == STEPS - 2
    found = difference(both / 'two/iter_4.pth', folder / 'iter_4.pth')
    assert found == 0 if processes == 2 else found < 1e-5


@pytest.fixture(scope='module')
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, options: list[str]
) -> tuple[Path, list[str]]:
    """A run of twelve steps in two processes, and its options."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    config = keep_losses(folder, ROOT / POSE)
    options = [*options, 'train_cfg.max_iters=12', 'train_dataloader.batch_size=8']
    options.append('default_hooks.checkpoint.interval=12')
    wait(start(2, 'train', [config, '--no-validate'], options, folder / 'whole'), folder / 'whole')
    return folder, options


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='looks for processes in /proc')
@pytest.mark.parametrize(
    ('told', 'number'),
    [
        ('rank 0', signal.SIGTERM),
        ('rank 1', signal.SIGTERM),
        ('launcher', signal.SIGTERM),
        ('launcher', signal.SIGINT),  # Ctrl-C: its processes are in sessions of their own
    ],
)
def test_a_signal_stops_all_after_the_same_iteration_however_long_writing_takes(
    uninterrupted: tuple[Path, list[str]],
    told: str,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, options = uninterrupted
    arguments, stopped = [folder / 'config.py', '--no-validate'], folder / f'{told}_{number.name}'
    monkeypatch.setenv('SECONDS_TO_WRITE', '8')
    run = start(2, 'train', arguments, options, stopped)
    while 'Iter(train) [ 2/12]' not in (stopped / 'log').read_text():
        assert run.poll() is None, (stopped / 'log').read_text()[-3000:]
        time.sleep(0.05)
    workers = sorted(children(run.pid), key=rank_of)
    os.kill(run.pid if told == 'launcher' else workers[int(told[-1])], number)
    assert run.wait(timeout=60) != 0
    log = (stopped / 'log').read_text()
    (iteration,) = set(re.findall(rf'Stopped by {number.name} after iteration (\d+)', log))
    assert newest_intact(stopped, stopped) == stopped / f'iter_{iteration}.pth'
    assert not list(stopped.glob(f'{UNFINISHED}*'))
    monkeypatch.delenv('SECONDS_TO_WRITE')
    wait(start(2, 'train', [*arguments, '--resume'], options, stopped), stopped)
    assert len(losses(stopped)) == 12
    assert difference(folder / 'whole/iter_12.pth', stopped / 'iter_12.pth') == 0


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmdet', 'mmpose', 'mmseg', 'mmpretrain'])
def test_metrics_of_two_processes_are_those_of_one(
    host: str, tmp_path: Path, untrained: Callable
) -> None:
    model = untrained(host)
    metrics = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        options = ['test_dataloader.batch_size=1', 'test_dataloader.dataset.indices=7']
        arguments = [model.config, model.checkpoint]
        wait(start(processes, 'test', arguments, options, folder), folder)
        (path,) = folder.glob('*/2*.json')
        found = json.loads(path.read_text())
        metrics.append({k: v for k, v in found.items() if k not in ('time', 'data_time')})
    assert metrics[0]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-6)


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return ') Z ' not in Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='looks for processes in /proc')
@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_process_ends_the_others(rank: int, tmp_path: Path, figure: Callable) -> None:
    """While a checkpoint is written at every step: none of them is left half."""
    options = [*SHORT[2:], 'train_cfg.max_iters=10000', 'train_dataloader.batch_size=4']
    options[1] = 'default_hooks.checkpoint.interval=1'
    run = start(2, 'train', [CLS], options, tmp_path / 'run')
    log = tmp_path / 'run/log'
    while 'Saving checkpoint at 3' not in log.read_text():
        assert run.poll() is None, log.read_text()[-3000:]
        time.sleep(0.1)
    workers = sorted(children(run.pid), key=rank_of)
    assert len(workers) == 2
    os.kill(workers[rank], signal.SIGKILL)
    started = time.monotonic()
    status = run.wait(timeout=60)
    figure('a killed process ends the others within, s', round(time.monotonic() - started, 1))
    assert status != 0
    assert 'SIGKILL' in log.read_text()
    assert not any(is_alive(pid) for pid in workers)
    last = Path((tmp_path / 'run/last_checkpoint').read_text())
    assert weights(last)


def rank_of(pid: int) -> str:
    words = Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
    return next(word.decode() for word in words if word.startswith(b'LOCAL_RANK='))


@pytest.mark.slow
def test_missing_data_is_said_once_and_ends_all_processes(tmp_path: Path) -> None:
    result = subprocess.run(
        [BASH, 'tools/dist_train.sh', CLS, '2', '--data-root', str(tmp_path)],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode != 0
    assert result.stderr.count('train.py: The data set was not found:') == 1


@pytest.mark.slow
def test_two_processes_on_two_cores_are_faster_than_one(tmp_path: Path, figure: Callable) -> None:
    """Medians of interleaved runs; each process has one thread, or one process has both."""
    if running_elsewhere() > 0.5:
        pytest.skip('other programs are running on these cores')
    forms = {'1 process': (1, 1), '2 processes': (2, 1), '1 process, 2 threads': (1, 2)}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    options = ['train_cfg.max_iters=12', 'default_hooks.logger.interval=1']
    for repetition in range(3):
        for name, (processes, threads) in forms.items():
            folder = tmp_path / name.replace(' ', '_') / str(repetition)
            batch = f'train_dataloader.batch_size={16 // processes}'
            arguments = [POSE, '--no-validate']
            run = start(processes, 'train', arguments, [*options, batch], folder, threads)
            wait(run, folder)
            seconds[name].append(seconds_per_image(folder, 16))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        figure(f'seconds per image, {name}', round(value, 4))
    speedup = medians['1 process'] / medians['2 processes']
    figure('scaling 1 to 2 processes on two cores', round(speedup, 2))
    assert speedup > 1


def running_elsewhere() -> float:
    """Mean number of threads that run besides this one, over two seconds."""
    path, counts = Path('/proc/loadavg'), []
    for _ in range(20 if path.is_file() else 0):
        counts.append(int(path.read_text().split()[3].partition('/')[0]) - 1)
        time.sleep(0.1)
    return statistics.mean(counts or [0])


def seconds_per_image(run: Path, images: int) -> float:
    """Median over the steps, without the first two."""
    (scalars,) = run.glob('*/vis_data/scalars.json')
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    return statistics.median(step['time'] for step in steps[2:]) / images


@pytest.mark.slow
def test_fsdp_trains_on_two_processes_like_ddp(
    both: Path, options: list[str], tmp_path: Path
) -> None:
    """Over gloo, with the checkpoints of one process."""
    config = keep_losses(tmp_path, ROOT / POSE, ROOT / 'configs/_base_/runtime/fsdp.py')
    run = tmp_path / 'run'
    options = [*options, 'train_dataloader.batch_size=8']
    wait(start(2, 'train', [config], options, run), run)
    torch.testing.assert_close(losses(run), losses(both / 'two'), rtol=1e-5, atol=0)
    assert difference(both / 'two/iter_4.pth', run / 'iter_4.pth') < 1e-5
    resumed = tmp_path / 'resumed'
    arguments = [config, '--resume', run / 'iter_2.pth']
    wait(start(2, 'train', arguments, options, resumed), resumed)
    assert difference(run / 'iter_4.pth', resumed / 'iter_4.pth') < 1e-5


def see_other_statistics(rank: int, folder: Path, outputs: Any) -> None:
    """One of two processes whose norm has counted other images; it tells what it would evaluate."""
    store = dist.FileStore(str(folder / 'store'), 2)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=2)
    model = nn.BatchNorm1d(2).eval()
    ema = EMAHook(update_buffers=True)
    runner = SimpleNamespace(model=model)
    ema.before_run(runner)
    for norm, mean in ((model, 1.0), (ema.ema_model.module, 3.0)):
        norm.running_mean.fill_(mean + rank)
    for hook in sorted((BroadcastBuffersHook(), ema), key=lambda h: get_priority(h.priority)):
        hook.before_val_epoch(runner)
    outputs.put((rank, model(torch.zeros(1, 2))[0, 0].item()))
    dist.destroy_process_group()


@pytest.mark.slow
def test_plain_norms_and_streams_without_gradients_are_said_once(tmp_path: Path) -> None:
    head = dict(in_channels=18, channels=18, in_index=0)
    options = [f'model.decode_head.{key}={value}' for key, value in head.items()]
    start(2, 'train', [SEG], [*SHORT, 'model.neck=None', *options], tmp_path / 'run').wait()
    said = (tmp_path / 'run/log').read_text()
    assert said.count('No GPU: SyncBN becomes BN') == 1
    assert 'train.py: Several processes wait for a gradient of each parameter' in said
    assert 'RuntimeError' not in said


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes that import anew take seconds')
def test_all_processes_evaluate_the_network_that_is_saved(tmp_path: Path) -> None:
    """Also with averaged weights, which are those of the checkpoint."""
    fork = multiprocessing.get_context('fork')
    outputs = fork.Queue()
    workers = [
        fork.Process(target=see_other_statistics, args=(rank, tmp_path, outputs), daemon=True)
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    seen = dict(outputs.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join(timeout=30)
    assert seen == {0: pytest.approx(-3, rel=1e-4), 1: pytest.approx(-3, rel=1e-4)}


def config_of(**values: object) -> Config:
    return Config(dict(launcher='pytorch', model=dict()) | values)


def test_a_launcher_that_started_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in STARTED_BY.values():
        monkeypatch.delenv(name, raising=False)
    for launcher in STARTED_BY:
        cfg = Config(dict(launcher=launcher))
        with pytest.raises(apis.ConfigError, match=f'--launcher {launcher} is for processes that'):
            is_first(cfg)
    assert is_first(Config(dict(launcher='none')))


def test_the_first_process_of_each_machine_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RANK', '8')
    for rank, first in (('0', True), ('3', False)):
        monkeypatch.setenv('LOCAL_RANK', rank)
        assert is_first(config_of()) is first


SHARDED = dict(
    strategy=dict(type='FSDPStrategy'),
    optim_wrapper=dict(type='OptimWrapper', clip_grad=dict(max_norm=5)),
)


@pytest.mark.parametrize(
    ('gpus', 'changes', 'says'),
    [
        (1, {}, 'Process 1 of this machine has no GPU'),
        (0, dict(launcher='slurm'), '--launcher slurm needs GPUs'),
        (0, SHARDED, r'optim_wrapper\.clip_grad=None'),
    ],
    ids=['more processes than GPUs', 'slurm without GPUs', 'gradients clipped by their shares'],
)
def test_what_cannot_start_is_refused(
    gpus: int, changes: dict, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(apis.ConfigError, match=says):
        launch.start_processes(config_of(**changes))


def test_a_cpu_gets_gloo_plain_norms_and_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(
        launch.dist, 'init_process_group', lambda *args, **kwargs: calls.append((args, kwargs))
    )
    for name, value in (('RANK', '1'), ('LOCAL_RANK', '1')):
        monkeypatch.setenv(name, value)
    cfg = config_of(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60)), sync_bn='torch')
    cfg.model = ConfigDict(norm_cfg=dict(type='SyncBN'), head=[dict(type='MMSyncBN')])
    launch.start_processes(cfg)
    ((args, kwargs),) = calls
    assert args == ('gloo',)
    assert kwargs['timeout'].total_seconds() == 60
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.sync_bn is None
    assert [part.type for part in dicts(cfg.model) if 'type' in part] == ['BN', 'BN']


@pytest.mark.parametrize(
    ('script', 'usage'),
    [
        ('dist_train', 'CONFIG GPUS'),
        ('dist_test', 'CONFIG CHECKPOINT GPUS'),
        ('slurm_train', 'PARTITION JOB_NAME CONFIG WORK_DIR'),
        ('slurm_test', 'PARTITION JOB_NAME CONFIG CHECKPOINT'),
    ],
)
def test_scripts_say_their_usage(script: str, usage: str) -> None:
    command = [BASH, f'tools/{script}.sh', 'one.py']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert usage in result.stderr
    assert 'unbound' not in result.stderr


def call_script(folder: Path, stub: str, command: Sequence[str], **env: str) -> list[str]:
    """What the script calls, by a stub on the path that prints its arguments."""
    path = folder / stub
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    found = subprocess.run(
        [BASH, *command],
        cwd=ROOT,
        env={'PATH': f'{folder}:{os.environ["PATH"]}', **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()


def test_slurm_scripts_ask_for_what_they_are_told(tmp_path: Path) -> None:
    arguments = ['part', 'a name', 'my config.py', 'work dir', '--amp']
    words = call_script(
        tmp_path,
        'srun',
        ['tools/slurm_train.sh', *arguments],
        GPUS='16',
        CPUS_PER_TASK='4',
        SRUN_ARGS='--quotatype=auto --time=1',
    )
    expected = ['--partition=part', '--job-name=a name', '--gres=gpu:8', '--ntasks=16']
    assert words[:4] == expected
    assert words[4:9] == [
        '--ntasks-per-node=8',
        '--cpus-per-task=4',
        '--kill-on-bad-exit=1',
        '--quotatype=auto',
        '--time=1',
    ]
    tail = ['my config.py', '--work-dir', 'work dir', '--launcher', 'slurm', '--amp']
    assert words[-6:] == tail
    words = call_script(
        tmp_path, 'srun', ['tools/slurm_test.sh', 'p', 'j', 'c.py', 'c.pth'], GPUS='2'
    )
    assert '--gres=gpu:2' in words
    assert words[-5:] == ['tools/test.py', 'c.py', 'c.pth', '--launcher', 'slurm']


def test_dist_scripts_give_torchrun_the_nodes(tmp_path: Path) -> None:
    env = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='12345')
    command = ['tools/dist_train.sh', 'my config.py', '4', '--work-dir', 'a b']
    assert call_script(tmp_path, 'python', command, **env) == [
        '-m',
        'torch.distributed.run',
        '--nnodes=2',
        '--node_rank=1',
        '--master_addr=10.0.0.1',
        '--nproc_per_node=4',
        '--master_port=12345',
        'tools/train.py',
        'my config.py',
        '--launcher',
        'pytorch',
        '--work-dir',
        'a b',
    ]
