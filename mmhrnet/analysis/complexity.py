"""Parameters and multiply-adds of models and configs, counted without computing anything."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmhrnet.apis.config import use_scratch

# Height and width that the papers and the hosts' model zoos count at, by host library.
ZOO_SHAPES = {
    'mmdet': (800, 1333),
    'mmseg': (512, 1024),
    'mmpose': (256, 192),
    'mmpretrain': (224, 224),
}


class Complexity(NamedTuple):
    """Number of parameters, and of multiply-adds (MACs) of one image in its convolutions."""

    params: int
    macs: int

    @property
    def official_gflops(self) -> float:
        """What the paper and the official repositories print as GFLOPs: MACs / 2^30."""
        return self.macs / 2**30


def count(model: nn.Module, shape: tuple[int, ...], forward: Any = None) -> Complexity:
    """Counts a model on torch's meta device.

    Args:
        model: Built under ``torch.device('meta')``, in any mode; left in eval mode.
        shape: Shape of the input, ``(channels, H, W)``.
        forward: What to call instead of the model.
    """
    model.eval()
    with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        (forward or model)(torch.empty(1, *shape))
    params = sum(p.numel() for p in model.parameters())
    return Complexity(params, counter.get_total_flops() // 2)


def build_on_meta(cfg: Config) -> nn.Module:
    """The model of a config, without storage and without weights."""
    init_default_scope(cfg.default_scope)
    use_scratch(cfg)
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def count_config(cfg: Config, shape: tuple[int, int] | None = None) -> Complexity:
    """Counts the model of a config.

    Heads are counted with pose, segmentation and classification; of detectors and bottom-up pose
    estimators the multiply-adds are those of backbone and neck, because those of their heads
    depend on the image.

    Args:
        cfg: The config of any host; its weights are not loaded.
        shape: Height and width; None is the input size of the config or of the host's zoo.
    """
    model = build_on_meta(cfg)
    dense = cfg.default_scope != 'mmdet' and 'Bottomup' not in cfg.model.type
    forward = (lambda x: model(x, None, mode='tensor')) if dense else model.extract_feat
    return count(model, (3, *(shape or input_size(cfg))), forward)


def input_size(cfg: Config) -> tuple[int, int]:
    """Height and width that the config feeds to its network, where it says so."""
    codec, crop = cfg.get('codec'), cfg.get('crop_size')
    if codec is not None:
        width, height = codec['input_size']
        return height, width
    if crop is not None:
        return tuple(crop)
    return ZOO_SHAPES[cfg.default_scope]
