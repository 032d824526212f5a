"""Whole models: from the pixels of a picture to the result, as one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from matplotlib import get_data_path
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F

from mmhrnet.config.build import Normalization, TensorModel, normalization
from mmhrnet.config.weights import check_complete
from mmhrnet.datasets.scene import draw_scene
from mmhrnet.deploy import bottomup, decode, detect
from mmhrnet.deploy.decode import Decoder
from mmhrnet.deploy.export import (
    TOLERANCE,
    Check,
    ExportError,
    Shipped,
    check_error,
    difference,
)
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import host_of
from mmhrnet.hosts.whole import Outputs, Whole, read_steps
from mmhrnet.inference.predict import build_inferencer, meta_of

IMAGE = 'image'  # the input
SIDES = (1, 2)  # of its dimensions
DECODERS: Mapping[str, Callable[..., Decoder]] = {
    **decode.DECODERS,
    **detect.DECODERS,
    **bottomup.DECODERS,
}
NO_MIRROR = 'tests no mirror images: leave --flip-test out'


class WholeModel(nn.Module):
    """A host's model with its preprocessing before it and its decoding behind it.

    Input: RGB images (N, H, W, 3) uint8. Output: what the decoder's ``outputs`` name.

    Args:
        net: The model between preprocessing and decoding.
        normal: Its preprocessing.
        decoder: What follows its head.
        divisor: Zeros are added right and below until it divides each side.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: TensorModel, normal: Normalization, decoder: Decoder, divisor: int = 1
    ) -> None:
        super().__init__()
        self.net, self.decoder, self.divisor = net, decoder, divisor
        self.dtype = torch.float32
        self.to_bgr = normal.channels == 'BGR'
        self.register_buffer('mean', torch.tensor(normal.mean, dtype=torch.float32))
        self.register_buffer('std', torch.tensor(normal.std, dtype=torch.float32))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = image.flip(-1) if self.to_bgr else image
        x = ((x.float() - self.mean) / self.std).permute(0, 3, 1, 2)  # (N, 3, H, W)
        if self.divisor > 1:
            d = (
                self.divisor
            )  # torch.export simplifies what follows from this form, not from -side % d
            height, width = ((side + d - 1) // d * d - side for side in image.shape[1:3])
            x = F.pad(x, (0, width, 0, height))
        return self.decoder(self.both(x) if self.decoder.flips else self.maps(x), image.shape[1:3])

    def halve(self, dtype: torch.dtype) -> None:
        """Lets the network compute in half precision; what is before and behind it does not."""
        model = self.net.model
        parts = [self.net] if self.decoder.takes_head else [model.backbone, model.neck]
        self.dtype = dtype
        for part in parts:
            part.to(dtype)

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(y.float() for y in self.net(x.to(self.dtype)))

    def both(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the head returns for images and their mirror images, averaged."""
        pairs = [y.unflatten(0, (2, -1)) for y in self.maps(torch.cat([x, x.flip(-1)]))]
        own, mirrored = (tuple(pair[side] for pair in pairs) for side in (0, 1))
        return self.decoder.merge(own, mirrored)


class Built(NamedTuple):
    """A whole model and what its file says about it.

    Attributes:
        model: Takes and returns what :class:`WholeModel` does.
        about: Plain data: task, names, steps from a picture to the input.
        reference: The host's own model.
        host: Its scope.
        predict: The host's own prediction for RGB images.
        trained: Whether the weights are not random.
    """

    model: WholeModel
    about: dict[str, object]
    reference: nn.Module
    host: str
    predict: Callable[[Any, Tensor], Outputs]
    trained: bool

    @property
    def outputs(self) -> Sequence[str]:
        return self.model.decoder.outputs


def build_whole(
    cfg: Config,
    checkpoint: str | None,
    device: str,
    *,
    flip_test: bool = False,
    probabilities: bool = False,
) -> Built:
    """Builds a config's model with its weights, and what surrounds it in a file.

    Args:
        cfg: Config of a host that has whole models.
        checkpoint: Its weights; None for random ones.
        device: Device to build it on.
        flip_test: For pose, average the picture and its mirror image.
        probabilities: For segmentation, return the probability of each class, too.

    Raises:
        ConfigError: The model or its pipeline has what a file cannot hold.
    """
    host = host_of(cfg)
    whole = host.whole
    if whole is None:
        raise ConfigError(f'{host.name} has no whole models yet: export --features')
    steps = read_steps(cfg, whole.steps)
    model = build_inferencer(cfg, checkpoint, device).model
    if checkpoint:
        check_complete(model, checkpoint)
    meta = meta_of(model)
    decoder = _decoder(whole, model, meta, flip_test, probabilities)
    about = dict(task=host.task, steps=steps, flip_test=flip_test, **whole.describe(model, meta))
    tensors = TensorModel(model, with_head=decoder.takes_head)
    divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
    net = WholeModel(tensors, normalization(cfg), decoder, divisor)
    net = net.to(device).eval()
    return Built(net, about, model, host.name, whole.predict, checkpoint is not None)


def _decoder(
    whole: Whole, model: Any, meta: Mapping[str, object], flip_test: bool, probabilities: bool
) -> Decoder:
    name, options = whole.decoder(model)
    more: dict[str, object] = {}
    if flip_test:
        more['flips'] = whole.flips(meta)
        if not more['flips']:
            raise ConfigError(f'This model {NO_MIRROR}')
    if 'flip_test' in (getattr(model, 'test_cfg', None) or {}) or flip_test:
        model.test_cfg['flip_test'] = flip_test  # of the reference, too
    if probabilities:
        if name != 'labels':
            raise ConfigError('--probabilities is for segmentation')
        more['probabilities'] = True
    return DECODERS[name](**options, **more)


def compare(
    built: Built, shipped: Shipped, images: Tensor, *, tolerance: float = TOLERANCE
) -> Check:
    """Runs a file and the host's own prediction on a photo and drawn scenes.

    Raises:
        ExportError: The results differ.
    """
    count, height, width, _ = images.shape
    images = draw_images(count, height, width).to(images.device)
    found = dict(zip(built.outputs, shipped(images)))
    with DefaultScope.overwrite_default_scope(built.host):
        expected = built.predict(built.reference, images)
    if not built.trained:  # heatmaps without peaks, whose refinement depends on the last digits
        expected.pop('keypoints', None)
    names = [name for name in expected if name in found]
    sizes = [[tuple(ys[name].shape) for name in names] for ys in (found, expected)]
    if sizes[0] != sizes[1]:
        raise ExportError(f'The file returns {sizes[0]} instead of {sizes[1]}; no file is written')
    found = {name: found[name] for name in names}
    if 'instance_scores' in expected:
        found, expected = _only_persons(found, expected)
    found, expected = _steady(found, expected)
    pairs = [(found[name], expected[name]) for name in names]
    return check_error(tuple(images.shape), difference(*zip(*pairs)), tolerance)


def _only_persons(found: Outputs, expected: Outputs) -> tuple[Outputs, Outputs]:
    """Leaves out what fills up, with which a few wrong joints would be few of many."""
    ranks = [outputs['instance_scores'].cpu() for outputs in (found, expected)]
    there = (ranks[0] != 0) | (ranks[1] != 0)
    if not there.any():
        return found, expected
    found, expected = (
        {name: values[there.to(values.device)] for name, values in outputs.items()}
        for outputs in (found, expected)
    )
    return found, expected


def _steady(found: Outputs, expected: Outputs) -> tuple[Outputs, Outputs]:
    """What is compared: of joints and of boxes with all that belongs to them, nine of ten.

    Where a heatmap has no peak, the refinement depends on the last digits; so does the order of two
    boxes with the same score.
    """
    for places, others in (('keypoints', ()), ('boxes', ('labels', 'masks'))):
        if places in expected:
            far = (found[places].to(expected[places]) - expected[places]).norm(dim=-1).flatten()
            kept = far.argsort()[: -(-len(far) * 9 // 10)]
            for name in {places, *others} & expected.keys():
                for outputs in (found, expected):
                    outputs[name] = outputs[name].flatten(0, 1)[kept.to(outputs[name].device)]
    return found, expected


def draw_images(count: int, height: int, width: int) -> Tensor:
    """Pictures, RGB (N, H, W, 3) uint8, the same each time: a photo of a person, drawn scenes."""
    rng = np.random.default_rng(0)
    pictures = [_photo(), *(draw_scene(rng).image for _ in range(count))]
    resized = [cv2.resize(one, (width, height)) for one in pictures if one is not None]
    return torch.from_numpy(np.stack(resized[:count]))


def _photo() -> np.ndarray | None:
    """The portrait that comes with matplotlib, RGB; distributions may leave it out."""
    path = Path(get_data_path(), 'sample_data', 'grace_hopper.jpg')
    photo = cv2.imread(str(path)) if path.is_file() else None
    return None if photo is None else photo[..., ::-1]
