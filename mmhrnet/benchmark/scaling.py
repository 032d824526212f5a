"""Memory and communication of training on many GPUs, worked out on paper: nothing is measured.

``python -m mmhrnet.benchmark.scaling docs/large_scale.md`` writes the tables of that page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from mmhrnet.files import write_text
from mmhrnet.models import HRNet
from mmhrnet.zoo.complexity import count

BEGIN = '<!-- python -m mmhrnet.benchmark.scaling docs/large_scale.md -->'
END = '<!-- end -->'
ARCHS = ('w18', 'w32', 'w48', 'w64')
FLOAT = 4  # bytes of a float32
# What a parameter costs: the weight, its gradient, and the optimizer's state of it.
SGD, ADAM = 3 * FLOAT, 4 * FLOAT
GPU_FLOPS = 100e12  # assumed to be sustained in bfloat16; a faster GPU waits longer
NVLINK = 300e9  # bytes per second of a GPU to its neighbour in the ring, one direction
NETWORKS = (25e9, 50e9)  # bytes per second of a node: an adapter of 200 or 400 Gbit/s
GPUS_PER_NODE = 8
NUM_GPUS = (8, 64, 512)
GB, MB = 1e9, 1e6
SHAPE = (256, 192)  # counted at


class Task(NamedTuple):
    """Height and width of the input, and images for each GPU, as the papers train."""

    name: str
    shape: tuple[int, int]
    batch: int


TASKS = (
    Task('pose', (256, 192), 32),
    Task('classification', (224, 224), 64),
    Task('segmentation', (512, 1024), 3),
    Task('detection', (800, 1344), 2),
)


class Footprint(NamedTuple):
    """Of a backbone: parameters, multiply-adds of an image, and bytes kept for its backward pass.

    Attributes:
        checkpointed: The bytes that are kept with ``with_cp=True``.
    """

    params: int
    macs: int
    activations: int
    checkpointed: int


def saved_bytes(model: torch.nn.Module, x: Tensor) -> int:
    """Bytes of the tensors that autograd keeps of a forward pass for the backward pass.

    Tensors that share their storage count once, parameters not at all.

    Args:
        model: In training mode, on the meta device or on any other.
        x: Input, on the device of the model.
    """
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # keeps it alive, and so its address
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(x)
    own = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
    del outputs
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


@cache
def footprint(arch: str, shape: tuple[int, int] = SHAPE) -> Footprint:
    """Counts a backbone on torch's meta device, float32, for one image of that height and width."""
    with torch.device('meta'):
        x = torch.empty(1, 3, *shape)
        networks = [HRNet(arch, with_cp=with_cp).train() for with_cp in (False, True)]
        activations, checkpointed = (saved_bytes(network, x) for network in networks)
    return Footprint(*count(networks[0], (3, *shape)), activations, checkpointed)


def pixel_factor(shape: tuple[int, int]) -> float:
    """How many times more it takes than at ``SHAPE``, where 32 divides all sides."""
    return shape[0] * shape[1] / (SHAPE[0] * SHAPE[1])


def all_reduce_bytes(params: int, gpus: int) -> float:
    """What each GPU sends in a step of DDP: a ring passes the float32 gradients around twice."""
    return 2 * (gpus - 1) / gpus * params * FLOAT


def fsdp_bytes(params: int, gpus: int) -> float:
    """The same of FSDP: weights gathered forward and backward, gradients reduced and scattered."""
    return 3 * (gpus - 1) / gpus * params * FLOAT


def compute_seconds(macs: float, batch: int) -> float:
    """Forward and backward pass: the latter computes twice as much."""
    return 3 * 2 * macs * batch / GPU_FLOPS


def efficiency(compute: float, communication: float) -> tuple[float, float]:
    """Shares of a step that are spent computing, at best and at worst.

    At best the gradients travel during the backward pass, two thirds of the time of computing,
    and only what takes longer is waited for; at worst, all of it.
    """
    best = compute / (compute / 3 + max(compute * 2 / 3, communication))
    return best, compute / (compute + communication)


def ring_bandwidth(gpus: int, network: float) -> float:
    """A ring is as fast as its slowest link."""
    return NVLINK if gpus <= GPUS_PER_NODE else network


def tables() -> str:
    """The page's tables as Markdown."""
    return '\n\n'.join([_memory_table(), _communication_table(), _efficiency_table()])


def _memory_table() -> str:
    head = ['backbone', 'parameters', 'with SGD', 'with Adam']
    head += [f'{task.name} {task.shape[0]}x{task.shape[1]}' for task in TASKS]
    rows = []
    for arch in ARCHS:
        seen = footprint(arch)
        states = [f'{seen.params * size / GB:.2f} GB' for size in (SGD, ADAM)]
        kept = [seen.activations / GB, seen.checkpointed / GB]
        images = [[size * pixel_factor(task.shape) for size in kept] for task in TASKS]
        cells = [' / '.join(f'{size:.2f}' for size in sizes) + ' GB' for sizes in images]
        rows.append([arch, f'{seen.params / 1e6:.1f} M', *states, *cells])
    return _markdown(head, rows)


def _communication_table() -> str:
    head = ['backbone', 'gradients', 'DDP sends', 'FSDP sends', '8 GPUs, NVLink']
    head += [f'64 GPUs, {network / GB:.0f} GB/s' for network in NETWORKS]
    rows = []
    for arch in ARCHS:
        params = footprint(arch).params
        sent = [f(params, 64) for f in (all_reduce_bytes, fsdp_bytes)]
        times = [all_reduce_bytes(params, 8) / NVLINK, *(sent[0] / n for n in NETWORKS)]
        sizes = [f'{size / MB:.0f} MB' for size in (params * FLOAT, *sent)]
        rows.append([arch, *sizes, *(f'{time * 1e3:.1f} ms' for time in times)])
    return _markdown(head, rows)


def _efficiency_table() -> str:
    head = ['backbone', 'task, images for each GPU', 'computing']
    cases = [(gpus, network) for gpus in NUM_GPUS for network in NETWORKS]
    cases = cases[len(NETWORKS) - 1 :]  # inside a node there is one network
    head += [
        f'{gpus} GPUs' + (f', {network / GB:.0f} GB/s' if gpus > GPUS_PER_NODE else '')
        for gpus, network in cases
    ]
    rows = []
    for arch in ARCHS:
        for task in TASKS[:2]:  # the shortest and the longest steps
            seen = footprint(arch)
            compute = compute_seconds(seen.macs * pixel_factor(task.shape), task.batch)
            times = [all_reduce_bytes(seen.params, n) / ring_bandwidth(n, b) for n, b in cases]
            shares = [efficiency(compute, time) for time in times]
            bounds = [f'{best:.0%} / {worst:.0%}' for best, worst in shares]
            rows.append([arch, f'{task.name}, {task.batch}', f'{compute * 1e3:.1f} ms', *bounds])
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def update(page: str) -> str:
    """The page with its tables between the two marks written anew.

    Raises:
        ValueError: A page without the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page has no lines {BEGIN} and {END}')
    return f'{before}{BEGIN}\n\n{tables()}\n\n{END}{after}'


def main() -> None:
    if len(sys.argv) == 1:
        print(tables())
        return
    path = Path(sys.argv[1])
    try:
        write_text(path, update(path.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        sys.exit(f'scaling: {path} cannot be written: {error}')


if __name__ == '__main__':
    main()
