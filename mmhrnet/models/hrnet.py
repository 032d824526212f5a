"""HRNet: parallel streams from high to low resolution that exchange information again and again.

Paper: Deep High-Resolution Representation Learning for Visual Recognition, arXiv 1908.07919.
Module names are those of the official repositories, of OpenMMLab and of timm, so that every
published checkpoint loads::

    conv1 bn1 conv2 bn2      stem                              1/4, 64 channels
    layer1                   stage 1: bottlenecks              1/4, 256
    transition1 stage2       2 streams                         1/4 C, 1/8 2C
    transition2 stage3       3 streams                         ... 1/16 4C
    transition3 stage4       4 streams                         ... 1/32 8C
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhrnet.errors import ConfigError
from mmhrnet.models.archs import Stage, extra_switches, resolve_stages
from mmhrnet.models.blocks import BLOCKS, INIT_CFG, Layers, ResidualBlock, norm_at, recompute
from mmhrnet.models.checks import (
    BUILD_ERRORS,
    can_check,
    check_arguments,
    check_choice,
    check_count,
    check_flags,
    check_image,
    check_init_cfg,
    is_count,
)
from mmhrnet.models.on_hub import OnHub

MIN_SIZE = 32
Upsample = Literal['nearest', 'bilinear']


class HRModule(nn.Module):
    """Parallel streams of residual blocks, then the fusion of all with all (section 3.2, Fig. 3).

    Args:
        stage: Blocks and channels of the streams.
        num_outputs: Fused maps to build: all streams, or 1 for the last module of HRNetV1.
        resize: Upsampling to a given size.
        layers: Builder of convolutions and norms.
    """

    def __init__(
        self, stage: Stage, num_outputs: int, resize: partial[Tensor], layers: Layers
    ) -> None:
        super().__init__()
        self.with_cp = layers.with_cp
        self.resize = resize
        block, widths = BLOCKS[stage.block], stage.out_channels
        self.branches = nn.ModuleList(
            nn.Sequential(*(block(out, width, layers) for _ in range(blocks)))
            for out, width, blocks in zip(widths, stage.channels, stage.blocks)
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse_path(widths, src, dst, layers) for src in range(len(widths)))
            for dst in range(num_outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def fuse(self, *xs: Tensor) -> list[Tensor]:
        outs = []
        for dst, paths in enumerate(self.fuse_layers):
            size = xs[dst].shape[2:]
            y = paths[0](xs[0])  # type: ignore[index]
            for src, path in enumerate(paths[1:], 1):  # type: ignore[index]
                term = path(xs[src])
                term = self.resize(term, size) if src > dst else term  # (N, C_dst, H_dst, W_dst)
                y = y + term if src == 1 else y.add_(term)  # the first y may be the input itself
            outs.append(self.relu(y))
        return outs

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs)]
        return recompute(self, self.fuse, *xs) if self.with_cp else self.fuse(*xs)


def _fuse_path(widths: Sequence[int], src: int, dst: int, layers: Layers) -> nn.Module:
    """Nothing, a 1x1 convolution (the caller upsamples), or a stride-2 3x3 one for each octave."""
    if src == dst:
        return nn.Identity()
    if src > dst:
        return layers.conv_norm(widths[src], widths[dst], 1, relu=False)
    steps = [layers.conv_norm(widths[src], widths[src], 3, 2) for _ in range(dst - src - 1)]
    return nn.Sequential(*steps, layers.conv_norm(widths[src], widths[dst], 3, 2, relu=False))


def _transition(before: Sequence[int], after: Sequence[int], layers: Layers) -> nn.ModuleList:
    """Adapts the width of each stream; the new stream is a stride-2 convolution of the lowest."""
    paths = [
        nn.Identity() if cin == cout else layers.conv_norm(cin, cout, 3)
        for cin, cout in zip(before, after)
    ]
    return nn.ModuleList([*paths, nn.Sequential(layers.conv_norm(before[-1], after[-1], 3, 2))])


class HRNet(BaseModule, OnHub):
    """The HRNet backbone, V1 (one map) or V2 (four maps), for every task.

    It has the ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of huggingface_hub.

    Input ``(N, in_channels, H, W)`` with H and W from 32 up, odd ones too. Output: a tuple of
    ``(N, C * 2^i, ceil(H / 2^(i+2)), ceil(W / 2^(i+2)))`` for i = 0..3, or of i = 0 alone.

    Args:
        arch: A name of ``mmhrnet.list_archs()``, or a stage description like ``extra``.
        extra: The host libraries' ``dict(stage1=dict(num_modules=..., ...), ...)``; replaces arch.
        in_channels: Channels of the input image.
        conv_cfg: MMCV's config of every convolution.
        norm_cfg: MMCV's config of every norm.
        norm_eval: Keep BatchNorm in eval mode while training. Needs trained statistics.
        with_cp: Recompute blocks and fusions in the backward pass to save memory; exact,
            running statistics included.
        zero_init_residual: Start every residual block as the identity.
        frozen_stages: Stages without training: -1 none, 0 the stem, k the stem to stage k.
        multiscale_output: False is HRNetV1: only the highest resolution is fused and returned.
            None takes mmpose's ``extra['stage4']['multiscale_output']``, else True.
        upsample: 'nearest' (pose, classification, detection) or 'bilinear' (segmentation, faces).
            None takes mmpose's ``extra['upsample']``, else 'nearest'.
        align_corners: For 'bilinear'. True for official weights with object context and for
            official plain ones on ADE20K and COCO-Stuff; False for mmseg's and all others.
        pretrained: Checkpoint to start from, short for ``init_cfg=dict(type='Pretrained', ...)``.
        memory_format: 'channels_last' keeps weights and maps in NHWC order, through the necks too:
            the order that convolutions are fastest in, on a CPU and in half precision on a GPU.
        compile: Compile every module of the stages with ``torch.compile``, each kind once; True,
            or a dict of its options. Slower to start, faster to train, not with ``with_cp``.
        init_cfg: MMEngine's initialization config.

    Attributes:
        out_channels: Channels of each output.
        out_strides: Stride of each output with respect to the input, in pixels.

    Raises:
        ConfigError: A description, option or input size that does not fit.

    Example:
        >>> [tuple(y.shape) for y in HRNet('w18')(torch.rand(1, 3, 65, 64))]
        [(1, 18, 17, 16), (1, 36, 9, 8), (1, 72, 5, 4), (1, 144, 3, 2)]
    """

    norm1, norm2 = norm_at(0), norm_at(1)

    @check_arguments
    def __init__(
        self,
        arch: str | Mapping[str, object] = 'w32',
        extra: Mapping[str, object] | None = None,
        in_channels: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        zero_init_residual: bool = False,
        frozen_stages: int = -1,
        multiscale_output: bool | None = None,
        upsample: Upsample | None = None,
        align_corners: bool | None = None,
        pretrained: str | None = None,
        memory_format: Literal['channels_last'] | None = None,
        compile: bool | Mapping[str, object] = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(_init_cfg(init_cfg, pretrained))
        check_flags(norm_eval=norm_eval, with_cp=with_cp, zero_init_residual=zero_init_residual)
        _check_options(frozen_stages, memory_format, compile, with_cp)
        arch = arch if extra is None else extra
        stages = resolve_stages(arch)
        switches = _switches(arch, multiscale_output, upsample, align_corners)
        self.in_channels = check_count('in_channels', in_channels)
        self.norm_eval, self.frozen_stages = norm_eval, frozen_stages
        self.zero_init_residual = zero_init_residual
        resize = _resize(switches.get('upsample', 'nearest'), switches.get('align_corners'))
        self.upsample = resize.keywords['mode']
        self.align_corners = bool(switches.get('align_corners'))
        last = 4 if switches.get('multiscale_output', True) else 1
        layers = Layers(conv_cfg, norm_cfg or dict(type='BN'), with_cp)
        self._build(stages, (1, 2, 3, last), resize, layers)
        self.out_channels = stages[-1].out_channels[:last]
        self.out_strides = tuple(4 << i for i in range(last))
        self._freeze()
        self._speed_up(memory_format, compile)

    def _build(
        self,
        stages: Sequence[Stage],
        outputs: Sequence[int],
        resize: partial[Tensor],
        layers: Layers,
    ) -> None:
        self._build_stem(self.in_channels, stages[0], layers)
        for index, (before, stage) in enumerate(pairwise(stages), start=2):
            self._build_stage(index, before, stage, outputs[index - 1], resize, layers)

    def _speed_up(self, memory_format: str | None, compile: bool | Mapping[str, object]) -> None:
        self.channels_last = memory_format is not None
        if self.channels_last:
            self.to(memory_format=torch.channels_last)
        if not compile:
            return
        try:
            self.compile_modules(**(compile if isinstance(compile, Mapping) else {}))
        except BUILD_ERRORS as error:
            raise ConfigError(f'torch.compile refuses compile={compile!r}: {error}') from error

    def compile_modules(self, **options: object) -> None:
        """Compiles the blocks of stage 1 and the modules of the other stages, in place.

        Modules of one kind share their code, so that the time it takes does not grow with depth.

        Args:
            options: Those of :func:`torch.compile`.
        """
        for stage in (self.layer1, self.stage2, self.stage3, self.stage4):
            for module in stage.children():
                module.compile(**options)

    def _build_stem(self, in_channels: int, stage: Stage, layers: Layers) -> None:
        self.norm_names: list[str] = []
        for index, cin in enumerate((in_channels, 64), start=1):
            self.add_module(f'conv{index}', layers.conv(cin, 64, 3, stride=2))
            name, norm = layers.named_norm(64, index)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)
        block, width = BLOCKS[stage.block], stage.channels[0]
        inputs = (64, *stage.out_channels * (stage.blocks[0] - 1))
        self.layer1 = nn.Sequential(*(block(cin, width, layers) for cin in inputs))

    def _build_stage(
        self,
        index: int,
        before: Stage,
        stage: Stage,
        num_outputs: int,
        resize: partial[Tensor],
        layers: Layers,
    ) -> None:
        transition = _transition(before.out_channels, stage.out_channels, layers)
        outputs = [index] * (stage.modules - 1) + [num_outputs]
        modules = (HRModule(stage, count, resize, layers) for count in outputs)
        self.add_module(f'transition{index - 1}', transition)
        self.add_module(f'stage{index}', nn.Sequential(*modules))

    def init_weights(self) -> None:
        super().init_weights()
        pretrained = isinstance(self.init_cfg, Mapping) and self.init_cfg['type'] == 'Pretrained'
        if self.zero_init_residual and not pretrained:
            for block in (m for m in self.modules() if isinstance(m, ResidualBlock)):
                nn.init.zeros_(block.last_norm.get_parameter('weight'))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.streams(self.stem(x)[-1])

    def stem(self, x: Tensor) -> list[Tensor]:
        """The maps of the two first convolutions, ``(N, 64, H/2, W/2)`` and ``(N, 64, H/4, W/4)``.

        Raises:
            ConfigError: An input that does not fit.
        """
        if can_check(x):
            self._check_input(x)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        first = self.relu(self.norm1(self.conv1(x)))
        return [first, self.relu(self.norm2(self.conv2(first)))]

    def streams(self, x: Tensor) -> tuple[Tensor, ...]:
        """The output of the network from the stem's map at 1/4, ``(N, 64, H/4, W/4)``."""
        xs = [self.layer1(x)]  # (N, 256, H/4, W/4)
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            lowest = xs[-1]
            xs = [path(y) for path, y in zip(transition, [*xs, lowest])]  # one stream more
            xs = stage(xs)
        return tuple(xs)

    def _check_input(self, x: Tensor) -> None:
        check_image('HRNet', x, self.in_channels, MIN_SIZE)
        if not len(x) and any(m.training for m in self.modules() if isinstance(m, _BatchNorm)):
            raise ConfigError('HRNet got an empty batch in training: its norms have no statistics')

    def train(self, mode: bool = True) -> HRNet:
        """Sets the mode; frozen stages and, with ``norm_eval``, all BatchNorms stay in eval mode.

        Raises:
            ConfigError: ``norm_eval`` with statistics that no training has set: activations would
                grow without bound and the first loss be NaN.
        """
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            norms = [m for m in self.modules() if isinstance(m, _BatchNorm)]
            _check_statistics(norms)
            for norm in norms:
                norm.eval()
        return self

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)

    def _frozen_modules(self) -> Iterator[nn.Module]:
        if self.frozen_stages >= 0:
            for name in ('conv1', 'conv2', *self.norm_names):
                yield getattr(self, name)
        for index in range(1, self.frozen_stages + 1):
            yield self.layer1 if index == 1 else getattr(self, f'stage{index}')
            if index < 4:
                yield getattr(self, f'transition{index}')


def _init_cfg(init_cfg: dict | list[dict] | None, pretrained: str | None) -> dict | list[dict]:
    check_init_cfg(init_cfg)
    if pretrained is None:
        return deepcopy(INIT_CFG) if init_cfg is None else init_cfg
    if init_cfg is not None:
        raise ConfigError('Give pretrained or init_cfg, not both')
    if not isinstance(pretrained, str):
        raise ConfigError(f'pretrained={pretrained!r} must be the path or URL of a checkpoint')
    return dict(type='Pretrained', checkpoint=pretrained)


def _switches(
    arch: str | Mapping[str, object],
    multiscale_output: bool | None,
    upsample: Upsample | None,
    align_corners: bool | None,
) -> dict[str, Any]:
    """The given ones, else those inside ``extra``."""
    flags = {'multiscale_output': multiscale_output, 'align_corners': align_corners}
    given = {k: v for k, v in {**flags, 'upsample': upsample}.items() if v is not None}
    switches = extra_switches(arch) | given
    check_flags(**{name: switches[name] for name in flags if name in switches})
    return switches


def _resize(mode: Upsample, align_corners: bool | None) -> partial[Tensor]:
    check_choice('upsample', mode, ('nearest', 'bilinear'))
    if mode == 'nearest' and align_corners is not None:
        raise ConfigError("align_corners needs upsample='bilinear'")
    return partial(F.interpolate, mode=mode, align_corners=align_corners)


def _check_options(
    frozen_stages: int, memory_format: str | None, compile: object, with_cp: bool
) -> None:
    if not is_count(frozen_stages, least=-1) or frozen_stages > 4:
        raise ConfigError(f'frozen_stages={frozen_stages!r} must be an integer from -1 to 4')
    if memory_format not in (None, 'channels_last'):
        raise ConfigError(f"memory_format={memory_format!r} must be 'channels_last' or None")
    if not isinstance(compile, (bool, Mapping)):
        raise ConfigError(f'compile={compile!r} must be True, False or a dict of its options')
    if with_cp and compile:
        raise ConfigError(
            'Give either with_cp or compile: a compiled graph cannot keep the running statistics '
            'unchanged while it recomputes'
        )


def _check_statistics(norms: Sequence[_BatchNorm]) -> None:
    trained = any(norm.running_mean is not None and norm.running_mean.any() for norm in norms)
    if norms and not trained:
        raise ConfigError(
            'norm_eval=True, but the BatchNorm statistics are those of a fresh network, so that '
            'training would give NaN. Load pretrained weights (init_cfg, pretrained, load_from), '
            'or train from scratch with norm_eval=False (tools/train.py --from-scratch)'
        )
