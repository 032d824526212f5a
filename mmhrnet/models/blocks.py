"""What HRNet is built of: convolutions with norms, residual blocks, exact recomputation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmhrnet.models.archs import EXPANSION, Block
from mmhrnet.models.checks import building, check_layers

Output = TypeVar('Output')
INIT_CFG: list[dict] = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


@dataclass(frozen=True)
class Layers:
    """Builds every convolution and norm of the network, so that no config misses one."""

    conv_cfg: dict | None
    norm_cfg: dict
    with_cp: bool

    def __post_init__(self) -> None:
        check_layers(self.conv_cfg, self.norm_cfg)

    def conv(self, cin: int, cout: int, kernel: int, stride: int = 1) -> nn.Module:
        options = dict(stride=stride, padding=kernel // 2, bias=False)
        with building(conv_cfg=self.conv_cfg):
            return build_conv_layer(self.conv_cfg, cin, cout, kernel, **options)

    def named_norm(self, channels: int, index: int) -> tuple[str, nn.Module]:
        """The norm and its published name, which follows its type: ``bn1``, ``gn1``, ..."""
        with building(norm_cfg=self.norm_cfg):
            return build_norm_layer(self.norm_cfg, channels, postfix=index)

    def conv_norm(
        self, cin: int, cout: int, kernel: int, stride: int = 1, relu: bool = True
    ) -> nn.Sequential:
        with building(norm_cfg=self.norm_cfg):
            norm = build_norm_layer(self.norm_cfg, cout)[1]
        act = [nn.ReLU(inplace=True)] if relu else []
        return nn.Sequential(self.conv(cin, cout, kernel, stride), norm, *act)


def norm_at(index: int) -> property:
    """A norm by its place, as in ``norm1`` of the host libraries, whatever its published name."""
    return property(lambda self: getattr(self, self.norm_names[index]))


class ResidualBlock(nn.Module):
    """Convolutions of the given kernels, each with its norm, around which the input is added."""

    kernels: tuple[int, ...]
    expansion: int
    norm1, norm2, last_norm = norm_at(0), norm_at(1), norm_at(-1)

    def __init__(self, cin: int, channels: int, layers: Layers) -> None:
        super().__init__()
        self.with_cp = layers.with_cp
        self.norm_names: list[str] = []
        cout = channels * self.expansion
        last, width = len(self.kernels), cin
        for k, kernel in enumerate(self.kernels, start=1):
            out = cout if k == last else channels
            self.add_module(f'conv{k}', layers.conv(width, out, kernel))
            name, norm = layers.named_norm(out, k)
            self.add_module(name, norm)
            self.norm_names.append(name)
            width = out
        self.downsample = layers.conv_norm(cin, cout, 1, relu=False) if cin != cout else None
        self.relu = nn.ReLU(inplace=True)

    def residual(self, x: Tensor) -> Tensor:
        out = x
        for k, name in enumerate(self.norm_names, 1):
            out = self.relu(out) if k > 1 else out
            out = getattr(self, name)(getattr(self, f'conv{k}')(out))
        return out.add_(x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        out = recompute(self, self.residual, x) if self.with_cp else self.residual(x)
        return self.relu(out)


class BasicBlock(ResidualBlock):
    kernels = (3, 3)
    expansion = EXPANSION['BASIC']


class Bottleneck(ResidualBlock):
    kernels = (1, 3, 1)
    expansion = EXPANSION['BOTTLENECK']
    norm3 = norm_at(2)


BLOCKS: dict[Block, type[ResidualBlock]] = {'BASIC': BasicBlock, 'BOTTLENECK': Bottleneck}


def recompute(module: nn.Module, function: Callable[..., Output], *inputs: Tensor) -> Output:
    """Activation checkpointing whose second forward pass leaves running statistics alone."""
    if not torch.is_grad_enabled():
        return function(*inputs)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _still_statistics(module)

    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """Momentum 0 leaves the running mean and variance bit for bit as they are."""
    norms = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    before = [(norm.momentum, norm.get_buffer('num_batches_tracked').clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before):
            norm.momentum = momentum
            norm.get_buffer('num_batches_tracked').copy_(batches)
