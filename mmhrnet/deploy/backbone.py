"""The backbone in its deploy form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mmhrnet.deploy.rewrites import Rewrites
from mmhrnet.deploy.units import ConvUnit, DeployBlock, Path, children, unit_of
from mmhrnet.deploy.upsampling import nested_sum
from mmhrnet.models.hrnet import HRNet


def rewrite_backbone(net: HRNet, rewrites: Rewrites) -> HRNet:
    """The backbone itself with other parts: its class, arguments and checks stay."""
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

    ``paths[dst][src]`` leads from stream src to stream dst, with src = dst empty. With merged
    convolutions, ``heads[src]`` holds the first convolution of all paths from src.
    """

    def __init__(self, module: Any, rewrites: Rewrites) -> None:
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
        merge = MergedHeads if rewrites.merge_convs else SeparateHeads
        self.heads = nn.ModuleList(merge(src, paths) for src in range(len(module.branches)))
        for dst, row in enumerate(paths[1:], start=1):
            for unit in children(row[dst - 1])[-1:]:
                unit.relu = True  # the last addition to stream dst
        rows: Any = [nn.ModuleList(row) for row in paths]
        self.paths: Any = nn.ModuleList(rows)

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs)]
        starts = zip(*(head(x) for head, x in zip(self.heads, xs)))
        return [self._fuse(dst, xs, start) for dst, start in enumerate(starts)]

    def _fuse(self, dst: int, xs: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """Stream dst: itself, what comes from below upsampled, what comes from above."""
        paths = self.paths[dst]
        sizes = [x.shape[2:] for x in xs[dst:]]
        steps = range(dst + 1, len(xs))
        if self.nested and all(h == 2 * lo for a, b in pairwise(sizes) for h, lo in zip(a, b)):
            terms = [partial(_plus, xs[dst]), *(partial(paths[src], starts[src]) for src in steps)]
            y = nested_sum(terms, sizes)
        else:
            y = xs[dst]
            for src in steps:
                y = y + self.resize(paths[src](starts[src]), sizes[0])  # (N, C_dst, H_dst, W_dst)
        for src in range(dst):
            y = paths[src](starts[src], y)
        return y if dst and len(paths[dst - 1]) else y.relu_()


def _plus(x: Tensor, add: Tensor | None) -> Tensor:
    return x if add is None else x + add


class SeparateHeads(nn.Module):
    """Each path from a stream starts with the stream's map."""

    def __init__(self, src: int, paths: Sequence[Sequence[Path]]) -> None:  # noqa: ARG002
        super().__init__()
        self.outputs = len(paths)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x] * self.outputs


class MergedHeads(nn.Module):
    """The first convolutions of the paths from a stream, which leave the paths, as one or two.

    One 1x1 convolution for all paths upwards, one 3x3 of stride 2 for all downwards.
    """

    def __init__(self, src: int, paths: Sequence[list[Path]]) -> None:
        super().__init__()
        self.outputs = len(paths)
        groups = (range(min(src, self.outputs)), range(src + 1, self.outputs))
        self.groups = [list(group) for group in groups if _can_merge(paths, src, group)]
        firsts: list[list[Any]] = [[paths[dst][src][0] for dst in group] for group in self.groups]
        self.convs = nn.ModuleList(_merge([unit.conv for unit in units]) for units in firsts)
        self.widths = [[unit.conv.out_channels for unit in units] for units in firsts]
        self.relus = [[unit.relu for unit in units] for units in firsts]
        for dst in chain.from_iterable(self.groups):
            paths[dst][src] = Path(*children(paths[dst][src])[1:])

    def forward(self, x: Tensor) -> list[Tensor]:
        starts = [x] * self.outputs
        for conv, *described in zip(self.convs, self.groups, self.widths, self.relus):
            y = conv(x)  # (N, channels of all paths, H', W')
            offset = 0
            for dst, width, relu in zip(*described):
                part = y.narrow(1, offset, width)
                starts[dst] = part.relu() if relu else part
                offset += width
        return starts


def _can_merge(paths: Sequence[Sequence[Path]], src: int, group: range) -> bool:
    units: list[Any] = [paths[dst][src][0] for dst in group]
    return len(units) > 1 and all(unit.norm is None for unit in units)


def _merge(convs: Sequence[Any]) -> nn.Conv2d:
    """One convolution whose output is theirs side by side."""
    first = convs[0]
    width = sum(conv.out_channels for conv in convs)
    merged = nn.utils.skip_init(
        nn.Conv2d,
        first.in_channels,
        width,
        first.kernel_size,
        first.stride,
        first.padding,
        device=first.weight.device,
        dtype=first.weight.dtype,
    )
    with torch.no_grad():
        merged.weight.copy_(torch.cat([conv.weight for conv in convs]))
        merged.bias.copy_(torch.cat([conv.bias for conv in convs]))
    return merged


def _units(path: Any, rewrites: Rewrites) -> list[ConvUnit]:
    """Units of a path: none, one convolution, or a sequence of them."""
    if isinstance(path, nn.Identity):
        return []
    steps = path if isinstance(path[0], nn.Sequential) else [path]
    return [unit_of(step, rewrites) for step in steps]
