"""The forms in which a network runs: plain, in another memory format, compiled, or as a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmhrnet.benchmark.networks import Case, Networks
from mmhrnet.deploy import PORTABLE, Rewrites, capture, export, load, optimize
from mmhrnet.deploy.capture import record
from mmhrnet.deploy.export import FORMATS, compiler_problem, trace
from mmhrnet.deploy.optimize import FORMS as REWRITTEN
from mmhrnet.models import HRNet

Input = Tensor | tuple[Tensor, ...]
Run = Callable[[Any], Sequence[Tensor]]
OURS = 'mmhrnet'
NHWC = torch.channels_last


class Form(NamedTuple):
    """A form in which a network runs.

    Attributes:
        make: Builds what is timed from a network, which it may change, and its input.
        what: A description, for the table.
        sides: Whose networks run in this form.
        device: The only type of device that it runs on, or None for all.
        compiles: Whether the time to build it is that of a compilation.
        sealed: Whether it is a file or a CUDA graph, which takes one tensor and manages its own
            memory.
        replays: Whether whole training steps are one CUDA graph.
        package: The library that it needs.
    """

    make: Callable[[nn.Module, Any], Run]
    what: str
    sides: Literal['both', 'ours', 'theirs'] = 'both'
    device: str | None = None
    compiles: bool = False
    sealed: bool = False
    replays: bool = False
    package: str = 'torch'


@dataclass
class Contestant:
    """Somebody's network in one form."""

    name: str
    form: Form
    network: nn.Module
    seconds_to_build: float = field(default=0, init=False)

    def build(self, x: Input) -> Run:
        """Builds the form and calls it once, which is when compilers compile."""
        start = time.perf_counter()
        run = self.form.make(deepcopy(self.network), x)
        run(x)
        self.seconds_to_build = time.perf_counter() - start
        return run


def to_channels_last(x: Input) -> Input:
    if isinstance(x, Tensor):
        return x.contiguous(memory_format=NHWC)
    return tuple(part.contiguous(memory_format=NHWC) for part in x)


def in_channels_last(net: nn.Module) -> nn.Module:
    return net.to(memory_format=NHWC)  # type: ignore[call-overload]


def _eager(net: nn.Module, _: object) -> Run:
    return net


def _channels_last(net: nn.Module, _: object) -> Run:
    net = in_channels_last(net)
    return lambda x: net(to_channels_last(x))


def _compiled(
    net: nn.Module, _: object, mode: str | None = None, options: dict | None = None
) -> Run:
    net = in_channels_last(net)

    def call(x: Input) -> Sequence[Tensor]:
        return net(x)

    # Dynamo keeps what it compiled with the code object. With its own, no contestant checks, or
    # throws away, what belongs to another.
    call.__code__ = call.__code__.replace()
    compiled = torch.compile(call, mode=mode, options=options)
    return lambda x: compiled(to_channels_last(x))


def _modules_compiled(net: nn.Module, _: object) -> Run:
    for part in net.modules():
        if isinstance(part, HRNet):
            part.compile_modules()
    return _channels_last(net, _)


def _deploy(net: nn.Module, _: object, rewrites: Rewrites | None = None) -> Run:
    fast = optimize(net, rewrites, inplace=True)
    return _channels_last(fast, _) if rewrites is None or rewrites.channels_last else fast


def _deploy_compiled(net: nn.Module, _: object) -> Run:
    return _compiled(optimize(net, PORTABLE, inplace=True), _)


def _captured(net: nn.Module, x: Tensor) -> Run:
    return capture(net, x.shape)


def _packaged(net: nn.Module, x: Tensor) -> Run:
    with TemporaryDirectory() as folder:
        path = Path(folder, 'net.pt2')
        export(net, x, path, format='aoti', dynamic=False)
        return load(path)


def _write_onnx(net: nn.Module, x: Tensor, path: Path) -> None:
    """Ours in the deploy form, theirs as they are."""
    ours = any(type(part) in REWRITTEN for part in net.modules())
    form = optimize(net, PORTABLE, inplace=True) if ours else net
    FORMATS['onnx'].write(trace(form, x, None), path, {})


def _onnxruntime(net: nn.Module, x: Tensor) -> Run:
    with TemporaryDirectory() as folder:
        path = Path(folder, 'net.onnx')
        _write_onnx(net, x, path)
        return load(path)


def _openvino(net: nn.Module, x: Tensor) -> Run:
    import openvino

    with TemporaryDirectory() as folder:
        path = Path(folder, 'net.onnx')
        _write_onnx(net, x, path)
        options = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}
        compiled = openvino.Core().compile_model(path, 'CPU', options)
    return lambda x: [torch.from_numpy(y) for y in compiled(x.numpy()).to_tuple()]


class _TrainingStep:
    """Forward, backward and an SGD step of rate 0, so that every step sees the same weights."""

    def __init__(self, net: nn.Module, run: Run, precision: torch.dtype) -> None:
        self.run, self.precision = run, precision
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
        self.device = next(net.parameters()).device.type

    def __call__(self, x: Input) -> Sequence[Tensor]:
        self.optimizer.zero_grad()
        with torch.autocast(self.device, self.precision, enabled=self.precision != torch.float32):
            ys = self.run(x)
        sum(y.float().mean() for y in ys).backward()  # type: ignore[union-attr]
        self.optimizer.step()
        return [y.detach() for y in ys]


def training(form: Form, precision: torch.dtype) -> Form:
    """The form with whole training steps instead of forward passes."""

    def make(net: nn.Module, x: Any) -> Run:
        step: Run = _TrainingStep(net, form.make(net, x), precision)
        if form.replays:
            step = record(step, x.clone())
        return step

    return form._replace(make=make)


def _turned(rewrite: str, on: bool) -> Form:
    make = partial(_deploy, rewrites=replace(Rewrites(), **{rewrite: on}))
    return Form(make, 'deploy, but for one rewrite', 'ours')


INFERENCE = {
    'eager': Form(_eager, 'as it is, NCHW'),
    'channels_last': Form(_channels_last, 'in NHWC order'),
    'compile': Form(_compiled, 'torch.compile, NHWC', compiles=True),
    'max-autotune': Form(
        partial(_compiled, mode='max-autotune'), 'torch.compile, longest search', compiles=True
    ),
    'reduce-overhead': Form(
        partial(_compiled, mode='reduce-overhead'),
        'torch.compile, NHWC, in CUDA graphs',
        device='cuda',
        compiles=True,
    ),
    'frozen': Form(
        partial(_compiled, options={'freezing': True}),
        'torch.compile of constant weights',
        'theirs',
        'cpu',
        compiles=True,
    ),
    'deploy': Form(_deploy, 'mmhrnet.deploy.optimize', 'ours'),
    'deploy-compile': Form(_deploy_compiled, 'the same, torch.compile', 'ours', compiles=True),
    'streams': Form(_captured, 'mmhrnet.deploy.capture', 'ours', 'cuda', sealed=True),
    'packaged': Form(
        _packaged, 'a file compiled by AOTInductor', 'ours', compiles=True, sealed=True
    ),
    'onnxruntime': Form(
        _onnxruntime, 'ONNX file', device='cpu', sealed=True, package='onnxruntime'
    ),
    'openvino': Form(_openvino, 'ONNX file', device='cpu', sealed=True, package='openvino'),
}
TRAINING = {
    'eager': Form(_eager, 'as it is, NCHW'),
    'channels_last': Form(_channels_last, 'in NHWC order'),
    'compile': Form(_compiled, 'torch.compile, NHWC', compiles=True),
    'graph': Form(
        _channels_last,
        'in NHWC order, a step is one CUDA graph',
        device='cuda',
        sealed=True,
        replays=True,
    ),
    'modules': Form(_modules_compiled, "each module's torch.compile, NHWC", 'ours', compiles=True),
}
REWRITES = {  # the deploy form, and each of its rewrites turned the other way
    'channels_last': INFERENCE['channels_last'],
    'deploy': INFERENCE['deploy'],
    **{
        f'{"without" if on else "with"} {name}': _turned(name, not on)
        for name, on in vars(Rewrites()).items()
    },
}
QUICK = ('eager', 'channels_last', 'deploy', 'packaged')


def contestants(
    networks: Networks, forms: Mapping[str, Form], case: Case, device: str
) -> Iterator[Contestant]:
    """All contestants that can run here, the reference first."""
    for name, form in forms.items():
        if not _runs_here(form, case, device):
            continue
        if form.sides != 'ours':
            for library, network in networks.theirs.items():
                yield Contestant(f'{library} {name}', form, network)
        if form.sides != 'theirs':
            yield Contestant(f'{OURS} {name}', form, networks.ours)


def _runs_here(form: Form, case: Case, device: str) -> bool:
    if form.device not in (None, device) or find_spec(form.package) is None:
        return False
    if form.compiles and device == 'cpu' and compiler_problem():
        return False
    if form.replays and case.only_training:  # a detector's steps wait for the CPU
        return False
    return not (form.sealed and case.takes_maps)
