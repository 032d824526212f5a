"""A benchmark from its arguments to its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

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
    Input,
    contestants,
    training,
)
from mmhrnet.benchmark.measure import interleaved, measure_machine, peak_memory
from mmhrnet.benchmark.networks import CASES, make_input
from mmhrnet.benchmark.report import Row, results_table, write_report
from mmhrnet.deploy.export import compiler_problem, difference
from mmhrnet.errors import ConfigError
from mmhrnet.files import check_folder
from mmhrnet.terminal import CONSOLE

FORMS = {'inference': INFERENCE, 'training': TRAINING, 'rewrites': REWRITES}
PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
OnError = Callable[[str, Exception], None]
ROUNDS, QUICK_ROUNDS = 15, 5
WIDTH = 140  # characters of a table


def benchmark(
    case: str,
    *,
    arch: str = 'w32',
    shapes: Sequence[tuple[int, int]] = (),
    batches: Sequence[int] = (1,),
    forms: Sequence[str] = (),
    train: bool = False,
    rewrites: bool = False,
    precision: Literal['fp32', 'fp16', 'bf16'] = 'fp32',
    device: Literal['cpu', 'cuda'] | None = None,
    rounds: int | None = None,
    quick: bool = False,
    names: Sequence[str] = (),
    cache: bool = False,
    on_error: OnError | None = None,
    out: str | Path = 'work_dirs/benchmark',
) -> list[Row]:
    """Times a network of every library in every form, prints and writes the tables.

    Args:
        case: A key of ``CASES``.
        arch: Architecture.
        shapes: Heights and widths; by default that of the case.
        batches: Batch sizes.
        forms: Keys of ``INFERENCE`` or ``TRAINING``; by default all that run here.
        train: Time training steps instead of inference.
        rewrites: Time the deploy form with each of its rewrites turned the other way.
        precision: 'fp32', 'fp16' or 'bf16'; weights and inputs in inference, autocast in training.
        device: 'cpu' or 'cuda'; None is the GPU where there is one.
        rounds: Samples of each contestant.
        quick: Use fewer forms and samples: three minutes on two cores.
        names: Contestants like 'timm compile'; by default all of the forms.
        cache: Use the compiler's cache. Without, all is compiled anew, and the table says how long
            that takes.
        on_error: Takes the name of a contestant that cannot run, and why; by default that raises.
        out: Folder for ``<case>.md``, ``.json`` and ``.png``.

    Returns:
        A row for each contestant and workload.

    Raises:
        ConfigError: Arguments that do not fit.
    """
    setting = CASES[case]
    train = train or setting.only_training
    kind = 'training' if train else 'rewrites' if rewrites else 'inference'
    dtype = PRECISIONS[precision]
    chosen = _choose(FORMS[kind], forms, quick)
    if train:
        chosen = {name: training(form, dtype) for name, form in chosen.items()}
    check_folder(out)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    like = torch.empty(0, device=device, dtype=torch.float32 if train else dtype)
    torch.manual_seed(0)
    networks = setting.build(arch)
    for network in (networks.ours, *networks.theirs.values()):
        network.to(like).train(train)
    params = sum(p.numel() for p in networks.ours.parameters())
    here = measure_machine(device, dtype)
    if any(form.compiles for form in chosen.values()):
        _warm_up_compiler(device)
    samples = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    rows = []
    for shape, batch in product(shapes or (setting.shape,), batches):
        x = make_input(setting, arch, batch, shape, like)
        everybody = list(contestants(networks, chosen, setting, device))
        everybody = [one for one in everybody if not names or one.name in names]
        new = _measure(everybody, x, samples, device, train, cache, on_error)
        macs = count_macs(networks.ours, x) * (3 if train else 1)  # backward is twice forward
        new = [row._replace(shape=shape, batch=batch, macs=macs, params=params) for row in new]
        title = f'{setting.title}: {arch}, {batch} x {shape[0]}x{shape[1]}'
        CONSOLE.print(results_table(new, here, title), width=WIDTH)
        rows += new
    name = f'{case}_{arch}_{kind}_{device}_{precision}'
    title = f'{setting.title}: {arch}, {kind}, {precision}'
    for file in write_report(rows, here, title, Path(out), name):
        CONSOLE.print(str(file))
    return rows


def _choose(known: dict[str, Form], names: Sequence[str], quick: bool) -> dict[str, Form]:
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f'There is no form {", ".join(unknown)}: use {", ".join(known)}')
    wanted = names or (QUICK if quick else known)
    return {name: form for name, form in known.items() if name in wanted}


def _warm_up_compiler(device: str) -> None:
    """Compiles something small, since the first compilation of a process takes longer."""
    if device == 'cpu' and compiler_problem():
        return
    with fresh_inductor_cache():
        torch.compile(torch.exp)(torch.zeros(8, device=device))


def _measure(
    everybody: list[Contestant],
    x: Input,
    rounds: int,
    device: str,
    train: bool,
    cache: bool,
    on_error: OnError | None,
) -> list[Row]:
    runs: dict[str, Callable[[], object]] = {}
    outputs, peaks = {}, {}
    torch._dynamo.reset()  # what was compiled for the workload before
    with torch.set_grad_enabled(train):
        for one in everybody:
            try:
                with nullcontext() if cache else fresh_inductor_cache(), _status(one):
                    run = one.build(x)
                outputs[one.name] = [y.detach().float().cpu() for y in run(x)]
            except Exception as error:
                if on_error is None:
                    raise
                on_error(one.name, error)
                continue
            runs[one.name] = partial(run, x)
            peaks[one.name] = None if one.form.sealed else peak_memory(runs[one.name], device)
        timings = interleaved(runs, rounds, device)
    everybody = [one for one in everybody if one.name in runs]
    first = everybody[0].name if everybody else ''
    return [
        Row(
            name=one.name,
            what=one.form.what,
            timing=timings[one.name],
            ratio=timings[first].median / timings[one.name].median,
            memory=peaks[one.name],
            seconds_to_compile=one.seconds_to_build if one.form.compiles and not cache else None,
            difference=difference(outputs[one.name], outputs[first]),
        )
        for one in everybody
    ]


def _status(one: Contestant) -> AbstractContextManager:
    return CONSOLE.status(f'{one.name} ...')


def count_macs(network: nn.Module, x: Input) -> int:
    """Multiply-adds of a forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops() // 2
