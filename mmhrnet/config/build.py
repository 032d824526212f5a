"""Models of configs, and the part of them that maps images to tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmhrnet.config.check import config_errors
from mmhrnet.config.edit import use_scratch
from mmhrnet.hosts import find_host, host_of


class TensorModel(nn.Module):
    """What a host's model does between its preprocessing and its decoding.

    Input: normalized images ``(N, 3, H, W)``. Output: a tuple of tensors, those of the head or,
    without it, the maps of the neck.
    """

    def __init__(self, model: nn.Module, with_head: bool) -> None:
        super().__init__()
        self.model, self.with_head = model, with_head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if self.with_head:
            outputs = self.model(images, None, mode='tensor')
        else:
            outputs = self.model.extract_feat(images)  # type: ignore[operator]
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


class Normalization(NamedTuple):
    """How a config's preprocessor turns an image into the network's input.

    Attributes:
        channels: 'RGB' or 'BGR', their order in the input.
        mean: Subtracted from each channel, of 0 to 255.
        std: What the difference is divided by.
    """

    channels: str
    mean: list[float]
    std: list[float]

    def undo(self, x: Tensor) -> np.ndarray:
        """The input (3, H, W) as an RGB image, (H, W, 3) uint8."""
        image = x.detach().float().cpu().permute(1, 2, 0).numpy() * self.std + self.mean
        image = image.round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(image if self.channels == 'RGB' else image[..., ::-1])


def normalization(cfg: Config) -> Normalization:
    """The normalization that the config says, on its top level or inside the model."""
    said: dict[str, Any] = {
        **(cfg.get('data_preprocessor') or {}),
        **cfg.model.get('data_preprocessor', {}),
    }
    to_rgb = said.get('bgr_to_rgb') or said.get('to_rgb') or False
    mean, std = said.get('mean') or [0] * 3, said.get('std') or [1] * 3
    return Normalization('RGB' if to_rgb else 'BGR', list(mean), list(std))


def build_tensor_model(cfg: Config) -> TensorModel:
    """The tensor part of a config's model, without its pretrained weights.

    Pose, segmentation and classification come with their heads; detectors and bottom-up pose
    estimators without, because what those do depends on the image.

    Raises:
        ConfigError: A type or argument that is unknown, or a model that cannot be.
    """
    init_default_scope(cfg.default_scope)
    use_scratch(cfg)
    host = find_host(cfg)
    with config_errors():
        return TensorModel(MODELS.build(cfg.model), host is None or host.has_tensor_head(cfg))


def input_size(cfg: Config) -> tuple[int, int]:
    """Height and width that the config feeds to its network, where it says so."""
    codec, crop = cfg.get('codec'), cfg.get('crop_size')
    if codec is not None:
        width, height = codec['input_size']
        return height, width
    if crop is not None:
        return tuple(crop)
    return host_of(cfg).input_size
