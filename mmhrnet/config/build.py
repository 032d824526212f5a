"""The part of a config's model that maps images to tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmhrnet.config.check import config_errors
from mmhrnet.config.edit import use_scratch
from mmhrnet.hosts import find_host, host_of
from mmhrnet.walk import dicts, type_name


class TensorModel(nn.Module):
    """A host's model between its preprocessing and its decoding.

    Input: normalized images ``(N, 3, H, W)``. Output: a tuple of tensors, those of the head or,
    without it, the feature maps of the neck.
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
        mean: Subtracted from each channel, whose values are 0 to 255.
        std: Divides each channel after that.
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
    """The normalization of the model or else, as in MMEngine, of the top level."""
    given = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    to_rgb = given.get('bgr_to_rgb') or given.get('to_rgb')
    mean, std = given.get('mean') or [0] * 3, given.get('std') or [1] * 3
    return Normalization('RGB' if to_rgb else 'BGR', list(mean), list(std))


def build_tensor_model(cfg: Config) -> TensorModel:
    """The tensor part of a config's model, without its pretrained weights.

    Pose, segmentation and classification come with their heads. Detectors and bottom-up pose
    estimators come without, because what their heads do depends on the image.

    Raises:
        ConfigError: A type or argument is unknown, or the model cannot be built.
    """
    init_default_scope(cfg.default_scope)
    use_scratch(cfg)
    host = find_host(cfg)
    with config_errors():
        return TensorModel(MODELS.build(cfg.model), host is None or host.has_tensor_head(cfg))


def input_size(cfg: Config) -> tuple[int, int]:
    """Height and width of the network's input, from the config's own pipeline.

    Where no step fixes them, they are those at which the host's model zoo counts.
    """
    return find_input_size(cfg) or host_of(cfg).input_size


def find_input_size(cfg: Config | ConfigDict) -> tuple[int, int] | None:
    """Like :func:`input_size`, but None where no step fixes them."""
    host = find_host(cfg)
    if host is None:
        return None
    steps = [*dicts([cfg.get(host.input_loader), cfg.get('model')])]
    for kind, key in host.input_steps.items():
        sizes = (s.get(key) for s in steps if type_name(s.get('type')) == kind)
        size = next((size for size in sizes if is_size(size)), None)
        if isinstance(size, int):
            return size, size
        if size is not None:
            height, width = size[::-1] if key in ('scale', 'input_size') else size
            return height, width
    return None


def is_size(value: object) -> TypeGuard[int | Sequence[int]]:
    """Whether it is one side of an image in pixels, or both."""
    both = isinstance(value, (list, tuple)) and [type(side) for side in value] == [int, int]
    return both or isinstance(value, int)
