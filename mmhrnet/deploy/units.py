"""A convolution with its norm, addition and ReLU, in as few passes as the platform offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmhrnet.deploy.rewrites import Rewrites
from mmhrnet.models.blocks import ResidualBlock

ONEDNN = torch.backends.mkldnn.is_available()
AMPERE = (8, 0)  # whose tensor cores all kernels of cuDNN take


class ConvUnit(nn.Module):
    """``relu(norm(conv(x)) + add)``, each part but the convolution optional.

    Without gradients, ``add`` may be overwritten: oneDNN adds into it without another pass.
    """

    def __init__(
        self, conv: nn.Module, norm: nn.Module | None, relu: bool, rewrites: Rewrites
    ) -> None:
        super().__init__()
        folded = fold(conv, norm) if rewrites.fold_norms and norm is not None else None
        if folded is not None:
            conv, norm = folded, None
        self.conv, self.norm, self.relu = conv, norm, relu
        plain = norm is None and type(conv) is nn.Conv2d
        self.fused = rewrites.fused_kernels and plain
        self._packed: Tensor | None = None
        self._packed_for: torch.Size | None = None

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        if self.fused and _onednn_takes(x):
            return self._onednn(x, add)
        if self.fused and self.relu and _cudnn_takes(x):  # cuDNN has none without ReLU
            return self._cudnn(x, add)
        y = self.conv(x)
        y = y if self.norm is None else self.norm(y)
        y = y if add is None else y.add_(add)
        return y.relu_() if self.relu else y

    def _onednn(self, x: Tensor, add: Tensor | None) -> Tensor:
        conv = self.conv
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        if self._packed_for != x.shape:
            self._pack(x.shape, geometry)
        ops, weight, bias = torch.ops.mkldnn, self._packed, conv.bias
        if add is None:
            act = 'relu' if self.relu else 'none'
            return ops._convolution_pointwise.default(x, weight, bias, *geometry, act, [], '')
        then = 'relu' if self.relu else None
        return ops._convolution_pointwise_.binary(
            add, x, weight, bias, *geometry, 'add', 1.0, then, [], ''
        )

    def _cudnn(self, x: Tensor, add: Tensor | None) -> Tensor:
        conv: Any = self.conv
        geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)
        if add is None:
            return torch.cudnn_convolution_relu(x, conv.weight, conv.bias, *geometry)
        return torch.cudnn_convolution_add_relu(x, conv.weight, add, 1.0, conv.bias, *geometry)

    def _pack(self, shape: torch.Size, geometry: tuple[object, ...]) -> None:
        """Packs the weight for inputs of a shape; packed for another, it may run 50 times slower.

        A plain convolution packs in each call, so that changing sizes are no slower than there.
        """
        weight = self.conv.get_parameter('weight').detach()
        weight = weight.contiguous(memory_format=torch.channels_last).to_mkldnn()
        pack = torch.ops.aten.mkldnn_reorder_conv2d_weight.default
        self._packed, self._packed_for = pack(weight, *geometry, list(shape)), shape

    def _unpack(self) -> None:
        self._packed = self._packed_for = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ConvUnit:
        self._unpack()  # the weights are about to be moved or converted
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: object) -> None:
        self._unpack()
        super()._load_from_state_dict(*args)

    def __getstate__(self) -> dict[str, object]:
        # Packed weights neither copy nor pickle.
        return self.__dict__ | {'_packed': None, '_packed_for': None}


def _onednn_takes(x: Tensor) -> bool:
    return bool(
        not torch.compiler.is_compiling()
        and x.is_cpu
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and has_bf16()))
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cpu')
        and torch._C._get_mkldnn_enabled()
        and ONEDNN
    )


@cache
def has_bf16() -> bool:
    return ONEDNN and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _cudnn_takes(x: Tensor) -> bool:
    return bool(
        not torch.compiler.is_compiling()
        and x.is_cuda
        and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and _has_cudnn(x.device)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cuda')
        and torch.backends.cudnn.enabled
    )


@cache
def _has_cudnn(device: torch.device) -> bool:
    ours = torch.version.cuda is not None  # and not ROCm, whose devices are named alike
    return ours and torch.cuda.get_device_capability(device) >= AMPERE


def fold(conv: nn.Module, norm: nn.Module) -> nn.Conv2d | None:
    """The convolution with the norm's scale and shift in its weight and bias.

    None where the norm is not a fixed scale and shift of each channel of the convolution.
    """
    if type(conv) is not nn.Conv2d or not isinstance(norm, _BatchNorm):
        return None
    fixed = norm.running_mean is not None and not norm.training
    return fuse_conv_bn_eval(conv, norm) if fixed else None


def children(module: nn.Module) -> list[Any]:
    """The children of a list or sequence, whose types torch does not know."""
    return list(module.children())


def unit_of(sequence: Iterable[nn.Module], rewrites: Rewrites) -> ConvUnit:
    """The unit of a convolution, its norm and perhaps a ReLU, as the network lists them."""
    conv, norm, *relu = sequence
    return ConvUnit(conv, norm, bool(relu), rewrites)


class Path(nn.Sequential):
    """Units one after another, the last of which adds; an empty path only adds."""

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        if not self:
            return x if add is None else x + add
        last = len(self) - 1
        for index, unit in enumerate(self):
            x = unit(x, add if index == last else None)
        return x


class DeployBlock(nn.Module):
    """A residual block whose last convolution adds the shortcut.

    Without gradients, it writes into its input, unless ``keep_input`` says that others read that.
    """

    def __init__(self, block: ResidualBlock, rewrites: Rewrites, keep_input: bool = False) -> None:
        super().__init__()
        self.keep_input = keep_input
        self.path = Path(
            *(
                ConvUnit(getattr(block, f'conv{k}'), getattr(block, name), True, rewrites)
                for k, name in enumerate(block.norm_names, start=1)
            )
        )
        down = block.downsample
        self.downsample = None if down is None else unit_of(down, rewrites)

    def forward(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.path(x, self.downsample(x))
        return self.path(x, x.clone() if self.keep_input else x)
