"""Times, peaks and the machine's ceiling, all in one run."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from mmhrnet.doctor import processor

WARMUP = 3
MIN_SECONDS = 0.02  # a sample is that long or longer


class Timing(NamedTuple):
    """Seconds of one call: the median and the middle four fifths of the samples."""

    median: float
    low: float
    high: float


def interleaved(
    runs: Mapping[str, Callable[[], object]], rounds: int, device: str
) -> dict[str, Timing]:
    """Times all in turn, round by round, so that a change in the machine's speed affects all alike.

    The first call of a turn does not count: threads of the previous one may still be spinning.
    """
    repeats = {}
    for name, run in runs.items():
        for _ in range(WARMUP):
            seconds = _seconds(run, 1, device)
        repeats[name] = max(1, round(MIN_SECONDS / seconds))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            samples[name].append(_seconds(run, repeats[name], device))
    return {name: _timing(values) for name, values in samples.items()}


def _seconds(run: Callable[[], object], repeats: int, device: str) -> float:
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


def _timing(samples: list[float]) -> Timing:
    if len(samples) < 2:
        return Timing(samples[0], samples[0], samples[0])
    deciles = statistics.quantiles(samples, n=10, method='inclusive')
    return Timing(statistics.median(samples), deciles[0], deciles[-1])


def synchronize(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


def peak_memory(run: Callable[[], object], device: str) -> int | None:
    """Bytes that a call allocates at its peak; None where that cannot be measured.

    On a CPU that is the peak of the resident memory, which Linux counts and can reset.
    """
    gc.collect()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    reset = Path('/proc/self/clear_refs')
    if not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # else the call would reuse what others freed
    reset.write_text('5')
    before = _resident('VmRSS')
    run()
    return max(0, _resident('VmHWM') - before)


def _resident(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


class Machine(NamedTuple):
    """The machine, and its measured ceiling: multiply-adds and copied bytes per second."""

    device: str
    threads: int
    cores: int | None
    system: str
    python: str
    torch: str
    capability: str
    dtype: str
    macs_per_second: float
    bytes_per_second: float


def measure_machine(device: str, dtype: torch.dtype) -> Machine:
    """Names this machine and measures its ceiling in a precision."""
    sides, size = ((4096, 8192), 1 << 28) if device == 'cuda' else ((512, 1024, 2048), 1 << 26)
    source = torch.rand(size, device=device)
    target = torch.empty_like(source)
    copy = _fastest(lambda: target.copy_(source), device)
    squares = [torch.rand(n, n, device=device).to(dtype) for n in sides]
    # The best of all, not the median: this is the ceiling.
    gemm = max(len(a) ** 3 / _fastest(partial(torch.matmul, a, a), device) for a in squares)
    return Machine(
        device=torch.cuda.get_device_name() if device == 'cuda' else processor(),
        threads=torch.get_num_threads(),
        cores=os.cpu_count(),
        system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        capability=torch.backends.cpu.get_cpu_capability(),
        dtype=str(dtype).removeprefix('torch.'),
        macs_per_second=gemm,
        bytes_per_second=2 * source.nbytes / copy,
    )


def _fastest(run: Callable[[], object], device: str) -> float:
    return min(_seconds(run, 1, device) for _ in range(20))
