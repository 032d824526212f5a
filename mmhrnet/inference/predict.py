"""Predictions of any host's model for any image: drawn, and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, DefaultScope, Registry
from typing_extensions import TypedDict

from mmhrnet.config.check import check_device, config_errors
from mmhrnet.config.stored import make_config_for
from mmhrnet.config.weights import check_complete, find_weights, loading
from mmhrnet.datasets.images import ImageError
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import host_of
from mmhrnet.hosts.host import Things
from mmhrnet.inference.pictures import Artist

if TYPE_CHECKING:
    from mmengine.infer import BaseInferencer

ARRAYS = (
    'read it with mmhrnet.apis.read_image(path), or convert a PIL image by '
    'np.asarray(image.convert("RGB"))[..., ::-1], a tensor (3, H, W) by permute(1, 2, 0).numpy()'
)
FLOATS = 'give uint8; from 0 to 1, convert it by (image * 255).round().astype(np.uint8)'


class Prediction(NamedTuple):
    """What a model predicts for one image.

    Attributes:
        picture: The image with the prediction drawn on it, RGB, (H, W, 3) uint8; small images
            are enlarged.
        found: One dict of plain numbers, strings and lists for each object, person or class, in
            pixels of the image.
        label_map: Class index of each pixel, (H, W), for segmentation.
    """

    picture: np.ndarray
    found: Things
    label_map: np.ndarray | None = None


class Options(TypedDict, total=False):
    """The options of :class:`Predictor`, for functions that pass them on."""

    device: str | None
    swap: bool
    detector: Predictor | None
    score: float
    cfg_options: Mapping[str, object] | None


class Predictor:
    """A config's model with its weights, inside the host's own inferencer.

    Args:
        config: Config file of any host; None takes the config that the checkpoint contains.
        checkpoint: Its weights, a file, URL or ``hf://user/model``; None takes the published ones
            of the config.
        device: Device to run on; None is the GPU where there is one.
        swap: Put mmhrnet in the place of the host's HRNet.
        detector: Predictor of a detector; a top-down pose estimator then looks for the joints of
            each person it finds. Without it, the image is taken for one person.
        score: Lowest score of what is drawn and listed.
        cfg_options: Settings over the config.

    Raises:
        ConfigError: Arguments or weights that cannot work.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        swap: bool = False,
        detector: Predictor | None = None,
        score: float = 0.3,
        cfg_options: Mapping[str, object] | None = None,
    ) -> None:
        device = check_device(device)
        self.cfg, checkpoint = make_config_for(
            config, checkpoint, swap=swap, cfg_options=cfg_options
        )
        self.host, self.detector, self.score = host_of(self.cfg), detector, score
        if detector and detector.host.name != self.host.detectors:
            uses = f'a detector of {self.host.detectors}' if self.host.detectors else 'no detector'
            raise ConfigError(
                f'The detector is of {detector.host.name}, but {config or checkpoint} is of '
                f'{self.host.name}, which uses {uses}'
            )
        weights = find_weights(config or self.cfg.filename, checkpoint)
        self.inferencer = build_inferencer(self.cfg, weights, device)
        check_complete(self.inferencer.model, weights)
        self.model: torch.nn.Module = self.inferencer.model
        meta = meta_of(self.model)
        self.classes: tuple[str, ...] = tuple(meta.get('classes') or ())
        self.keypoints: tuple[str, ...] = tuple((meta.get('keypoint_id2name') or {}).values())
        self.draw = Artist(self.cfg, meta)

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> Prediction:
        """Predicts and draws.

        Args:
            image: BGR as OpenCV reads it, (H, W, 3) uint8. Grey, (H, W) or (H, W, 1), is repeated,
                the transparency of a fourth channel is dropped, and of uint16 the upper byte is
                taken, as by OpenCV.

        Raises:
            ImageError: Anything else.
        """
        image = _bgr(image)
        with DefaultScope.overwrite_default_scope(self.host.name):
            sample = self.host.run(self, image)
            found, label_map = self.host.describe(self, sample)
        rgb = np.ascontiguousarray(image[..., ::-1])
        picture = self.draw(rgb, sample, heatmaps=True, score=self.score)
        return Prediction(picture, found, label_map)

    def name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else str(label)


def build_inferencer(cfg: Config, weights: str | None, device: str) -> BaseInferencer:
    """The host's own inferencer, with the model and its preprocessing; no weights, random ones.

    Raises:
        ConfigError: The weights cannot be loaded, or the model cannot be built.
    """
    host = host_of(cfg)
    cfg.visualizer.vis_backends = []  # those would look for a folder to write to
    if host.name not in FUNCTIONS.children:  # where inferencers look for collate functions
        Registry(FUNCTIONS.name, parent=FUNCTIONS, scope=host.name)
    scope = DefaultScope.overwrite_default_scope(host.name)
    with scope, loading(str(weights)), config_errors():
        return host.build(cfg, weights, device)


def meta_of(model: torch.nn.Module) -> Mapping[str, Any]:
    """The meta information of the data that an inferencer found for its model."""
    return getattr(model, 'dataset_meta', None) or getattr(model, '_dataset_meta', None) or {}


def _bgr(image: object) -> np.ndarray:
    """An array as (H, W, 3) uint8; raises an ImageError that says how to convert anything else."""
    if not isinstance(image, np.ndarray):
        raise ImageError(f'The image is a {type(image).__name__}, not an array: {ARRAYS}')
    shape, depth = image.shape, image.ndim
    if depth not in (2, 3) or (depth == 3 and shape[2] not in (1, 3, 4)) or not image.size:
        raise ImageError(f'The image has the shape {shape}: it must be (H, W, 3), with pixels')
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f'The image has the type {image.dtype}: {FLOATS}')
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if depth == 2 or shape[2] == 1:
        image = np.repeat(image.reshape(*shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(image[..., :3])
