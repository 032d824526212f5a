"""Everything about a GPU in one run: first what must be right, then how fast it is.

Each part runs in a process of its own, so that one that fails, or breaks its CUDA context, does not
stop the others. Checks run side by side, with what the tables will need compiled; then the tables
run alone, one after another, by their value. What is measured is on the disk at once.
What did not compile in time is left out of its table, where nothing could compile beside it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmhrnet.benchmark.gpu_checks import CHECKS
from mmhrnet.benchmark.gpu_page import Result, earlier_results, is_right, write_page
from mmhrnet.errors import ConfigError, UserError
from mmhrnet.files import write_text
from mmhrnet.terminal import CONSOLE, last_line

Device = Literal['cpu', 'cuda']
RESULTS = Path('work_dirs/gpu')
POSE = dict(case='pose', shapes=[(256, 192)])
IMAGES = dict(case='cls', shapes=[(256, 192)])


class Table(NamedTuple):
    """Arguments of :func:`mmhrnet.benchmark.benchmark`, and whose networks in which form."""

    options: dict[str, Any]
    theirs: Sequence[str]
    forms: Sequence[str]
    ours: Sequence[str]

    @property
    def names(self) -> list[str]:
        names = [f'{library} {form}' for library in self.theirs for form in self.forms]
        return [*names, *(f'mmhrnet {form}' for form in self.ours)]


PLAIN = ('eager', 'channels_last')
MORE = (*PLAIN, 'compile')
DEPLOY = ('deploy', 'deploy-compile')
STEPS = (*PLAIN, 'graph')


def _latency(batch: int) -> Table:
    options = POSE | dict(batches=[batch], precision='fp16')
    ours = ('eager', 'deploy', 'streams')
    return Table(options, ['mmpose'], ('eager', 'reduce-overhead'), ours)


def _precision(name: str) -> Table:
    options = POSE | dict(batches=[1, 64], precision=name)
    return Table(options, ['mmpose'], PLAIN, (*PLAIN, 'deploy', 'streams'))


TABLES = {  # in order of value
    'batch1': _latency(1),
    'batch64': Table(
        IMAGES | dict(batches=[64], precision='fp16'),
        ['timm', 'mmpretrain'],
        MORE,
        (*PLAIN, *DEPLOY, 'streams'),
    ),
    'training': Table(
        POSE | dict(batches=[64], precision='fp16', train=True),
        ['mmpose'],
        STEPS,
        STEPS,
    ),
    'faster-rcnn': Table(
        dict(case='faster-rcnn', batches=[4], precision='fp16'),
        ['mmdet'],
        PLAIN,
        PLAIN,
    ),
    'seg-neck': Table(
        dict(case='seg-neck', arch='w48', batches=[4], precision='fp16'),
        ['mmseg'],
        MORE,
        (*PLAIN, *DEPLOY),
    ),
    'det-neck': Table(
        dict(case='det-neck', batches=[4], precision='fp16'),
        ['mmdet'],
        MORE,
        (*PLAIN, *DEPLOY),
    ),
    'batch8': _latency(8),
    'bf16': _precision('bf16'),
    'fp32': _precision('fp32'),
}
SMALL = dict(arch='w18_small_v2', shapes=[(64, 64)], batches=[1], precision='fp32', rounds=1)
DETECTOR = dict(arch='w18')  # the smallest that mmdet has a config of
CHECKING = 0.5  # of the time, at most, before the tables


def part_names() -> list[str]:
    return [*CHECKS, *TABLES]


def prove(
    *,
    parts: Sequence[str] = (),
    device: Device = 'cuda',
    minutes: float = 20,
    out: str | Path = 'docs/gpu.md',
) -> bool:
    """Runs all parts, or some, and writes the page and, beside it, its JSON after each of them.

    Parts that the JSON there has from earlier runs on the same machine stay on the page.

    Args:
        parts: Names of ``part_names()``; default: all.
        device: 'cpu' runs everything that a CPU can, with small networks, to test this command.
        minutes: When to stop; parts that did not run by then are recorded as such.
        out: The page.

    Returns:
        Whether everything that was checked is right.

    Raises:
        ConfigError: There is no GPU, or no such part.
    """
    import torch

    if device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--gpu needs a GPU, and torch sees none here')
    if unknown := sorted({*parts} - {*part_names()}):
        raise ConfigError(f'There is no part {", ".join(unknown)}: use {", ".join(part_names())}')
    end = time.monotonic() + 60 * minutes
    chosen = [name for name in part_names() if not parts or name in parts]
    results = {result.name: result for result in earlier_results(device, Path(out))}
    with _environment():
        for result in _results(chosen, device, end):
            results[result.name] = result
            CONSOLE.print(f'{result.name}: {result.state}, {result.seconds:.0f} s', *result.errors)
            in_order = [results[name] for name in part_names() if name in results]
            write_page(in_order, device, Path(out))
    return all(results[name].state == 'passed' for name in chosen if name in CHECKS)


@contextmanager
def _environment() -> Iterator[None]:
    """What the processes need to know before they import torch."""
    cores = os.cpu_count() or 1
    wanted = {
        'TORCHINDUCTOR_CACHE_DIR': str(Path('work_dirs/gpu/cache').resolve()),
        'TORCHINDUCTOR_COMPILE_THREADS': str(min(4, cores)),
        'OMP_NUM_THREADS': str(min(2, cores)),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _results(chosen: Sequence[str], device: Device, end: float) -> Iterator[Result]:
    """First those of the checks, in the order in which they end, then the tables."""
    tables = [name for name in chosen if name in TABLES]
    compiling = [(name, one) for name in tables for one in _to_compile(name, device)]
    jobs: list[Job] = [Job(f'{name} {one}', name, device, one) for name, one in compiling]
    checks = [Job(name, name, device) for name in chosen if name in CHECKS]
    # One that hangs must not use up the time of the tables.
    now = time.monotonic()
    pause = now + (end - now) * CHECKING if tables else end
    late: dict[str, list[str]] = {name: [] for name in tables}
    for job in _side_by_side([*jobs, *checks], _at_once(), pause):
        if job.contestant is None:
            yield job.result()
        elif job.result().state != 'measured':
            late[job.part].append(job.contestant)
    for name in tables:
        for job in _side_by_side([Job(name, name, device, without=late[name])], 1, end):
            result = job.result()
            result.errors += [f'{one}: it did not compile' for one in late[name]]
            yield result


def _at_once() -> int:
    """Processes that compile and check at a time: they need cores more than the GPU."""
    import torch

    return max(1, (os.cpu_count() or 1) - 4) if torch.cuda.is_available() else 1


def _to_compile(name: str, device: Device) -> list[str]:
    """Contestants that are compiled beforehand, all at once and not by their table, in turn."""
    from mmhrnet.benchmark.forms import INFERENCE, TRAINING

    if device == 'cpu':
        return []
    forms = TRAINING | INFERENCE
    return [one for one in TABLES[name].names if forms[one.split()[1]].compiles]


class Job:
    """A part, or one contestant of a table, in a process of its own."""

    def __init__(
        self,
        title: str,
        part: str,
        device: Device,
        contestant: str | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self.part, self.contestant, self.without = part, contestant, without
        self.path = RESULTS / f'{title.replace(" ", "_")}.json'
        self.path.unlink(missing_ok=True)
        self.device, self.process = device, None
        self.started = 0.0

    process: SpawnProcess | None

    def start(self) -> None:
        context = multiprocessing.get_context('spawn')
        args = (self.part, self.device, self.path, self.contestant, self.without)
        self.process = context.Process(target=work, args=args)
        self.process.start()
        self.started = time.monotonic()

    def stop(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.kill()
            self.process.join()

    def result(self) -> Result:
        """What it wrote, even if it did not end."""
        written = json.loads(self.path.read_text()) if self.path.exists() else {}
        result = Result(**{'name': self.part, **written})
        if self.process is None:
            result.state = 'skipped'
            result.errors.append('no time was left')
        elif self.process.exitcode != 0:
            result.state = 'failed'
            result.errors.append(f'the process ended with {self.process.exitcode}')
            result.seconds = time.monotonic() - self.started
        return result


def _side_by_side(jobs: Sequence[Job], at_once: int, end: float) -> Iterator[Job]:
    """Runs jobs, some at a time, until the end of the time; yields each as it ends."""
    waiting, running = list(jobs), list[Job]()
    with ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < at_once and time.monotonic() < end:
                running.append(waiting.pop(0))
                running[-1].start()
                stack.callback(running[-1].stop)
            late = time.monotonic() >= end
            ended = [job for job in running if late or not _alive(job)]
            ended += waiting if late else []
            for job in ended:
                job.stop()
                yield job
            running = [job for job in running if job not in ended]
            waiting = [] if late else waiting
            time.sleep(0.1)


def _alive(job: Job) -> bool:
    return job.process is not None and job.process.is_alive()


def work(
    part: str,
    device: Device,
    path: Path,
    contestant: str | None = None,
    without: Sequence[str] = (),
) -> None:
    """Runs a part and writes its result, renewed after each step, with its output beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result, start = Result(part), time.monotonic()

    def save() -> None:
        result.seconds = time.monotonic() - start
        write_text(path, json.dumps(vars(result), indent=1))

    with path.with_suffix('.log').open('w') as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
        try:
            if part in CHECKS:
                _check(result, device, save)
            else:
                names = [one for one in TABLES[part].names if one not in without]
                _measure(result, device, names, alone=contestant)
        except Exception as error:
            traceback.print_exc()
            result.errors.append(_text(error))
            result.state = 'failed'
        save()


def _text(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    first = str(error).partition('\n')[0]  # what follows in an error of CUDA is advice
    said = first if first.startswith('CUDA error') else last_line(error)
    return f'{type(error).__name__}: {said}'


def _check(result: Result, device: Device, save: Callable[[], None]) -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    cases = CHECKS[result.name]
    result.what = (getattr(cases, 'func', cases).__doc__ or '').partition('\n')[0]
    for case in cases(device):
        torch.manual_seed(0)
        check = dict(name=case.name, difference=None, limit=case.limit, error='')
        try:
            check['difference'] = case.difference()
        except Exception as error:
            traceback.print_exc()
            check['error'] = _text(error)
        print(check, flush=True)
        result.checks.append(check)
        save()
    right = all(is_right(check) for check in result.checks)
    result.state = 'passed' if right and result.checks else 'failed'


def _measure(result: Result, device: Device, names: Sequence[str], alone: str | None) -> None:
    import torch

    from mmhrnet.benchmark import benchmark

    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # as convolutions do by default
    options = TABLES[result.name].options
    if device == 'cpu':
        options = options | SMALL | (DETECTOR if options['case'] == 'faster-rcnn' else {})
    folder = RESULTS / result.name
    names = names if alone is None else [alone]
    rounds = {} if alone is None else dict(rounds=1)

    def note(name: str, error: Exception) -> None:
        traceback.print_exception(error)
        result.errors.append(f'{name}: {_text(error)}')

    benchmark(
        names=names,
        forms=sorted({name.split()[1] for name in names}),
        device=device,
        cache=True,
        on_error=note,
        out=folder / (alone or 'all'),
        **options | rounds,
    )
    for file in sorted((folder / 'all').glob('*.json')):
        result.tables.append(json.loads(file.read_text()))
    # A contestant alone, of which there is no table, is measured if nothing failed.
    result.state = 'failed' if alone and result.errors else 'measured'
