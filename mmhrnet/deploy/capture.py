"""The deploy form as a CUDA graph, whose streams of resolutions run side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmhrnet.deploy.backbone import DeployHRModule
from mmhrnet.deploy.optimize import optimize
from mmhrnet.deploy.rewrites import Rewrites
from mmhrnet.deploy.units import ConvUnit
from mmhrnet.errors import ConfigError

WARMUP = 3  # calls in which cuDNN chooses its kernels
STREAMS = 4  # as many as HRNet has resolutions


class Lanes:
    """Runs jobs side by side, on a CUDA stream each, between two points of the current stream.

    A stream may use memory again that it has freed while another stream still reads there. This is
    prevented as long as the caller keeps the inputs of the jobs until the call returns: what runs
    later, in any stream, waits for all jobs.
    """

    def __init__(self) -> None:
        self.streams = [torch.cuda.Stream() for _ in range(STREAMS)]

    def __call__(self, jobs: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        here, ys = torch.cuda.current_stream(), []
        lanes = self.streams[: len(jobs)]
        for lane, job in zip(lanes, jobs):
            lane.wait_stream(here)
            with torch.cuda.stream(lane):
                ys.append(job())
        for lane in lanes:
            here.wait_stream(lane)
        return ys


class InParallel(nn.Module):
    """A module of HRNet whose branches, and then whose fusions, are captured side by side.

    Outside of a capture it runs them one after another.
    """

    def __init__(self, module: DeployHRModule, lanes: Lanes) -> None:
        super().__init__()
        self.module, self.lanes = module, lanes

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        captures = xs[0].is_cuda and torch.cuda.is_current_stream_capturing()
        return self.side_by_side(xs) if captures else self.module(xs)

    def side_by_side(self, xs: Sequence[Tensor]) -> list[Tensor]:
        module = self.module
        ys = self.lanes([partial(branch, x) for branch, x in zip(module.branches, xs)])
        return self.lanes([partial(module.fuse, dst, ys) for dst in range(len(module.paths))])


@dataclass(frozen=True)
class Replay:
    """A captured graph with its input and outputs, which stay in place.

    A call copies its input there and returns these outputs. The graph reads the weights where they
    were, so that ``run``, to which they belong, must live as long.
    """

    run: Callable[[Tensor], Any]
    graph: torch.cuda.CUDAGraph
    x: Tensor
    outputs: Any

    def __call__(self, x: Tensor) -> Any:
        self.x.copy_(x)
        self.graph.replay()
        return self.outputs


class Captured(nn.Module):
    """A model that replays a CUDA graph for inputs of known shapes.

    It returns the same tensors in each call of a shape: copy what you keep. Inputs of another shape
    or dtype take the plain path.

    Attributes:
        model: The deploy form.
        replays: The graphs by the shape of their input.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.replays: dict[torch.Size, Replay] = {}

    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        replay = self.replays.get(x.shape)
        if replay is None or x.dtype != replay.x.dtype:
            return self.model(x)
        return replay(x)


def capture(
    model: nn.Module,
    *shapes: Sequence[int],
    rewrites: Rewrites | None = None,
) -> Captured:
    """The model's deploy form as one CUDA graph for each shape of input, for inference.

    At small batches, a GPU waits for Python to start some 300 convolutions one by one. A graph
    starts them all at once, and the streams of resolutions run side by side, on a CUDA stream each.

    Args:
        model: What :func:`mmhrnet.deploy.optimize` takes, or returned, on a GPU. It is called with
            one tensor of the dtype of its weights.
        shapes: ``(N, C, H, W)`` each.
        rewrites: Those of :func:`mmhrnet.deploy.optimize`, unless the model is optimized.

    Returns:
        A module with the model's outputs.

    Raises:
        ConfigError: The model is not on a GPU, or has no part of mmhrnet.
    """
    like = next(model.parameters())
    if not like.is_cuda:
        raise ConfigError(f'A CUDA graph needs a model on a GPU, this one is on {like.device}')
    ready = any(isinstance(part, ConvUnit) for part in model.modules())
    model = deepcopy(model) if ready else optimize(model, rewrites)
    captured = Captured(_in_parallel(model, Lanes()))
    for shape in shapes:
        x = torch.zeros(tuple(shape), dtype=like.dtype, device=like.device)
        with torch.no_grad():
            captured.replays[x.shape] = record(captured.model, x)
    return captured


def _in_parallel(module: nn.Module, lanes: Lanes) -> nn.Module:
    if isinstance(module, DeployHRModule):
        return InParallel(module, lanes)
    for name, child in module.named_children():
        module.add_module(name, _in_parallel(child, lanes))
    return module


def record(run: Callable[[Tensor], Any], x: Tensor) -> Replay:
    """What a call of ``run`` starts on the GPU as one CUDA graph, after a few plain calls."""
    if x.ndim == 4:  # the copy into it then brings the order that the convolutions take
        x = x.contiguous(memory_format=torch.channels_last)
    # What the first calls allocate must not become part of the graph.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMUP):
            run(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run(x)
    return Replay(run, graph, x, outputs)
