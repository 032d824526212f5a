"""The backbone in its deploy form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from mmhrnet.deploy.rewrites import Rewrites
from mmhrnet.deploy.units import ConvUnit, DeployBlock, Path, children, unit_of
from mmhrnet.deploy.upsampling import nested_sum
from mmhrnet.models.hrnet import HRModule, HRNet


def rewrite_backbone(net: HRNet, rewrites: Rewrites) -> HRNet:
    """Replaces the parts of a backbone, which keeps its class, arguments and checks."""
    for index, name in enumerate(net.norm_names, start=1):
        unit = ConvUnit(getattr(net, f'conv{index}'), getattr(net, name), True, rewrites)
        net.add_module(f'conv{index}', unit)
        net.add_module(name, nn.Identity())
    net.add_module('relu', nn.Identity())
    net.layer1 = nn.Sequential(*(DeployBlock(block, rewrites) for block in children(net.layer1)))
    for index in (1, 2, 3):
        paths = children(getattr(net, f'transition{index}'))
        net.add_module(
            f'transition{index}', nn.ModuleList(Path(*_units(path, rewrites)) for path in paths)
        )
        stage = children(getattr(net, f'stage{index + 1}'))
        modules = (DeployHRModule(module, rewrites) for module in stage)
        net.add_module(f'stage{index + 1}', nn.Sequential(*modules))
    return net


class DeployHRModule(nn.Module):
    """:class:`mmhrnet.models.hrnet.HRModule` with fused units; same inputs, same outputs.

    ``paths[dst][src]`` leads from stream src to stream dst; it is empty where src = dst.
    """

    def __init__(self, module: HRModule, rewrites: Rewrites) -> None:
        super().__init__()
        self.resize = module.resize
        nearest = module.resize.keywords['mode'] == 'nearest'
        self.nested = rewrites.nested_upsampling and nearest
        self.branches = nn.ModuleList(
            nn.Sequential(*(DeployBlock(block, rewrites) for block in children(branch)))
            for branch in module.branches
        )
        paths = [
            [Path(*_units(path, rewrites)) for path in children(row)] for row in module.fuse_layers
        ]
        for dst, row in enumerate(paths[1:], start=1):
            children(row[dst - 1])[-1].relu = True  # the last addition to stream dst
        self.paths: Any = nn.ModuleList(map(nn.ModuleList, paths))

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs)]
        return [self.fuse(dst, xs) for dst in range(len(self.paths))]

    def fuse(self, dst: int, xs: Sequence[Tensor]) -> Tensor:
        """Stream dst: itself, what comes from below upsampled, what comes from above."""
        paths = self.paths[dst]
        sizes = [x.shape[2:] for x in xs[dst:]]
        steps = range(dst + 1, len(xs))
        if self.nested and all(h == 2 * lo for a, b in pairwise(sizes) for h, lo in zip(a, b)):
            terms = [partial(_plus, xs[dst]), *(partial(paths[src], xs[src]) for src in steps)]
            y = nested_sum(terms, sizes)
        else:
            y = xs[dst]
            for src in steps:
                y = y + self.resize(paths[src](xs[src]), sizes[0])  # (N, C_dst, H_dst, W_dst)
        for src in range(dst):
            y = paths[src](xs[src], y)
        return y if dst else y.relu_()


def _plus(x: Tensor, add: Tensor | None) -> Tensor:
    return x if add is None else x + add


def _units(path: nn.Identity | nn.Sequential, rewrites: Rewrites) -> list[ConvUnit]:
    """Units of a path: none, one convolution, or a sequence of them."""
    if isinstance(path, nn.Identity):
        return []
    steps = children(path) if isinstance(path[0], nn.Sequential) else [path]
    return [unit_of(step, rewrites) for step in steps]
