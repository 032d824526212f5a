"""Parameters and multiply-adds of models and configs, counted without computing anything."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmhrnet.config.build import build_tensor_model, input_size
from mmhrnet.config.stored import is_checkpoint, make_config_for
from mmhrnet.models import HRNet, HRNetC, HRNetV2, HRNetV2p

IMAGENET_SHAPE = (224, 224)  # height and width


class Complexity(NamedTuple):
    """Number of parameters, and of multiply-adds (MACs) of one image in its convolutions."""

    params: int
    macs: int

    @property
    def official_gflops(self) -> float:
        """What the paper and the official repositories print as GFLOPs: MACs / 2^30."""
        return self.macs / 2**30


def count(model: nn.Module, shape: tuple[int, ...]) -> Complexity:
    """Counts a model on torch's meta device.

    Args:
        model: Built under ``torch.device('meta')``, in any mode; left in eval mode.
        shape: Shape of the input, ``(channels, H, W)``.
    """
    model.eval()
    with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, *shape))
    params = sum(p.numel() for p in model.parameters())
    return Complexity(params, counter.get_total_flops() // 2)


def count_config(cfg: Config, shape: tuple[int, int] | None = None) -> Complexity:
    """Counts the model of a config.

    The parameters are all; the multiply-adds are those of the part that
    :func:`mmhrnet.config.build.build_tensor_model` takes.

    Args:
        cfg: The config of any host; its weights are not loaded.
        shape: Height and width; None is the input size of the config or of the host's zoo.
    """
    with torch.device('meta'):
        model = build_tensor_model(cfg)
    return count(model, (3, *(shape or input_size(cfg))))


class First(nn.Module):
    """The first of several maps."""

    def forward(self, xs: tuple[torch.Tensor]) -> torch.Tensor:
        return xs[0]


def count_arch(arch: str, shape: tuple[int, int]) -> dict[str, Complexity]:
    """The representations of an architecture: HRNetV1, HRNetV2, HRNetV2p and HRNet-C.

    Raises:
        ValueError: An unknown architecture.
    """
    with torch.device('meta'):
        v1, v2 = HRNet(arch, multiscale_output=False), HRNet(arch)
        channels = v2.out_channels
        classifier = (HRNetC(channels, pool=True), First(), nn.Linear(2048, 1000))
        models: dict[str, nn.Module] = {
            'HRNetV1 (backbone)': v1,
            'HRNetV2 (backbone)': v2,
            'HRNetV2 (15C concatenated)': nn.Sequential(v2, HRNetV2(channels)),
            'HRNetV2p (256 channels)': nn.Sequential(v2, HRNetV2p(channels, 256)),
            'HRNet-C (1000 classes)': nn.Sequential(v2, *classifier),
        }
    return {name: count(model, (3, *shape)) for name, model in models.items()}


def complexity_table(target: str, shape: tuple[int, int] | None = None) -> Table:
    """Parameters, MACs and official GFLOPs of a config file, checkpoint or architecture.

    Raises:
        ConfigError: No such config.
        ValueError: An unknown architecture.
    """
    if target.endswith('.py') or is_checkpoint(target):
        cfg, _ = make_config_for(target, None)
        shape = shape or input_size(cfg)
        rows = {Path(cfg.filename).stem: count_config(cfg, shape)}
    else:
        shape = shape or IMAGENET_SHAPE
        rows = count_arch(target, shape)
    title = f'{target} at {shape[0]}x{shape[1]} (H x W)'
    table = Table('model', 'parameters', 'MACs', 'official "GFLOPs" = MACs / 2^30', title=title)
    for name, counts in rows.items():
        figures = f'{counts.params / 1e6:.3f} M', f'{counts.macs / 1e9:.3f} G'
        table.add_row(name, *figures, f'{counts.official_gflops:.2f}')
    return table
