"""A benchmark from its arguments to its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._inductor.utils import fresh_inductor_cache
from torch.utils.flop_counter import FlopCounterMode

from mmhrnet.benchmark.forms import (
    INFERENCE,
    QUICK,
    REWRITES,
    TRAINING,
    Contestant,
    Form,
    contestants,
    training,
)
from mmhrnet.benchmark.measure import interleaved, machine, peak_memory
from mmhrnet.benchmark.networks import CASES, Networks, make_input
from mmhrnet.benchmark.report import Row, results_table, write_report
from mmhrnet.deploy.export import compiler_problem, difference
from mmhrnet.errors import ConfigError
from mmhrnet.files import check_folder
from mmhrnet.terminal import CONSOLE

PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
ROUNDS, QUICK_ROUNDS = 15, 5
WIDTH = 140  # letters of a table


def benchmark(
    case: str,
    *,
    arch: str = 'w32',
    shapes: Sequence[tuple[int, int]] = (),
    batches: Sequence[int] = (1,),
    forms: Sequence[str] = (),
    train: bool = False,
    rewrites: bool = False,
    precision: str = 'fp32',
    device: str | None = None,
    rounds: int | None = None,
    quick: bool = False,
    out: str | Path = 'work_dirs/benchmark',
) -> list[Row]:
    """Times a network of every library in every form, prints and writes the tables.

    Args:
        case: A key of ``CASES``.
        arch: Architecture.
        shapes: Heights and widths; none is that of the case.
        batches: Batch sizes.
        forms: Keys of ``INFERENCE`` or ``TRAINING``; none is all that run here.
        train: Time training steps instead of inference.
        rewrites: Time the deploy form with each of its rewrites turned off, or on.
        precision: 'fp32', 'fp16' or 'bf16'; weights and inputs in inference, autocast in training.
        device: 'cpu' or 'cuda'; None is the GPU where there is one.
        rounds: Samples of each contestant.
        quick: Fewer forms and samples: three minutes on two cores.
        out: Folder for ``<case>.md``, ``.json`` and ``.png``.

    Returns:
        A row for each contestant and workload.

    Raises:
        ConfigError: Arguments that do not fit.
    """
    setting = CASES[case]
    train = train or setting.only_training
    known = TRAINING if train else REWRITES if rewrites else INFERENCE
    chosen = _choose(known, forms, quick)
    check_folder(out)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    dtype = PRECISIONS[precision]
    if train:
        chosen = {name: training(form, dtype) for name, form in chosen.items()}
    torch.manual_seed(0)
    networks = setting.build(arch)
    _place(networks, device, torch.float32 if train else dtype, train)
    params = sum(p.numel() for p in networks.ours.parameters())
    here = machine(device, dtype)
    if any(form.compiles for form in chosen.values()) and (
        device == 'cuda' or not compiler_problem()
    ):
        _warm_up_compiler(device)
    rows = []
    for shape in shapes or (setting.shape,):
        for batch in batches:
            like = torch.empty(0, device=device, dtype=torch.float32 if train else dtype)
            x = make_input(setting, arch, batch, shape, like)
            everybody = contestants(networks, chosen, setting, device)
            new = _measure(list(everybody), x, rounds or _rounds(quick), device, train)
            macs = count_macs(networks.ours, x) * (3 if train else 1)
            what: dict[str, Any] = dict(shape=shape, batch=batch, macs=macs, params=params)
            rows += [row._replace(**what) for row in new]
            title = f'{setting.title}: {arch}, {batch} x {shape[0]}x{shape[1]}'
            CONSOLE.print(results_table(rows[-len(new) :], here, title), width=WIDTH)
    kind = 'training' if train else 'rewrites' if rewrites else 'inference'
    name = f'{case}_{arch}_{kind}_{device}_{precision}'
    title = f'{setting.title}: {arch}, {kind}, {precision}'
    files = write_report(rows, here, title, Path(out), name)
    for file in files:
        CONSOLE.print(str(file))
    return rows


def _choose(known: dict[str, Form], names: Sequence[str], quick: bool) -> dict[str, Form]:
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f'There is no form {", ".join(unknown)}: use {", ".join(known)}')
    wanted = names or (QUICK if quick else known)
    return {name: form for name, form in known.items() if name in wanted}


def _rounds(quick: bool) -> int:
    return QUICK_ROUNDS if quick else ROUNDS


def _place(networks: Networks, device: str, dtype: torch.dtype, train: bool) -> None:
    for network in (networks.ours, *networks.theirs.values()):
        network.to(device, dtype).train(train)


def _warm_up_compiler(device: str) -> None:
    """Pays what the first compilation of a process costs whatever its network."""
    with fresh_inductor_cache():
        torch.compile(torch.exp)(torch.zeros(8, device=device))


def _measure(
    everybody: list[Contestant], x: Any, rounds: int, device: str, train: bool
) -> list[Row]:
    runs: dict[str, Callable[[], Any]] = {}
    outputs, peaks = {}, {}
    with torch.set_grad_enabled(train):
        for one in everybody:
            with fresh_inductor_cache(), CONSOLE.status(f'{one.name} ...'):
                run = one.build(x)
            runs[one.name] = partial(run, x)
            outputs[one.name] = [y.detach().float().cpu() for y in run(x)]
            peaks[one.name] = None if one.form.file else peak_memory(runs[one.name], device)
        timings = interleaved(runs, rounds, device)
    first = everybody[0].name
    return [
        Row(
            name=one.name,
            what=one.form.what,
            timing=timings[one.name],
            ratio=timings[first].median / timings[one.name].median,
            memory=peaks[one.name],
            seconds_to_compile=one.seconds_to_build if one.form.compiles else None,
            difference=difference(outputs[one.name], outputs[first]),
        )
        for one in everybody
    ]


def count_macs(network: nn.Module, x: Any) -> int:
    """Multiply-adds of a forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops() // 2
