"""Predictions of any host's model for any image: drawn, and as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import DefaultScope
from pycocotools import mask as mask_utils

from mmhrnet.checkpoints import CheckpointError
from mmhrnet.config.check import check_device, config_errors
from mmhrnet.config.make import make_config
from mmhrnet.config.weights import check_complete, find_weights
from mmhrnet.datasets.images import ImageError
from mmhrnet.errors import ConfigError
from mmhrnet.inference.pictures import SCORE, Artist

PERSON = 'person'
TOP = 5
ARRAYS = (
    'mmhrnet.apis.read_image(path) reads one; of PIL take np.asarray(image.convert("RGB"))'
    '[..., ::-1], of a tensor (3, H, W) its permute(1, 2, 0).numpy()'
)
FLOATS = 'give 0 to 255 as uint8; of 0 to 1, that is (image * 255).round().astype(np.uint8)'


class Prediction(NamedTuple):
    """What a model says about one image.

    Attributes:
        picture: The image with the prediction drawn on it, RGB, (H, W, 3) uint8; small images
            are enlarged.
        found: One dict of plain numbers, strings and lists for each object, person or class, in
            pixels of the image.
        label_map: Class index of each pixel, (H, W), for segmentation.
    """

    picture: np.ndarray
    found: list[dict[str, Any]]
    label_map: np.ndarray | None = None


class Predictor:
    """A config's model with its weights, inside the host's own inferencer.

    Args:
        config: Config file of any host.
        checkpoint: Its weights, a file or URL; None takes the published ones of the config.
        device: Device to run on; None is the GPU where there is one.
        swap: Put mmhrnet in the place of the host's HRNet.
        mini: The config as ``mini`` trains it.
        data_root: The data set that ``mini`` trained on, if not the embedded one.
        detector: Predictor of a detector; a top-down pose estimator then looks for the joints of
            each person it finds. Without it, the image is taken for one person.
        score: Lowest score of what is drawn and listed.
        cfg_options: Settings over the config.

    Raises:
        ConfigError: Arguments or weights that cannot work.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        swap: bool = False,
        mini: bool = False,
        data_root: str | None = None,
        detector: Predictor | None = None,
        score: float = SCORE,
        cfg_options: dict[str, Any] | None = None,
    ) -> None:
        device = check_device(device)
        self.cfg = make_config(
            config, swap=swap, mini=mini, data_root=data_root, cfg_options=cfg_options
        )
        self.scope: str = self.cfg.get('default_scope')
        if self.scope not in TASKS:
            raise ConfigError(f'{config} is of {self.scope}; known are {", ".join(TASKS)}')
        if detector and not (self.scope == 'mmpose' and detector.scope == 'mmdet'):
            raise ConfigError('A detector goes with a config of mmpose, and is one of mmdet')
        self.task, self.detector, self.score = TASKS[self.scope], detector, score
        weights = find_weights(config, checkpoint)
        self.cfg.visualizer.vis_backends = []  # those would look for a folder to write to
        try:
            with DefaultScope.overwrite_default_scope(self.scope), config_errors():
                self.inferencer = self.task.build(self.cfg, weights, device)
            check_complete(self.inferencer.model, weights)
        except (OSError, CheckpointError) as error:
            raise ConfigError(f'The weights {weights} cannot be loaded: {error}') from error
        self.model: torch.nn.Module = self.inferencer.model
        meta = getattr(self.model, 'dataset_meta', None) or getattr(self.model, '_dataset_meta', {})
        self.classes: tuple[str, ...] = tuple(meta.get('classes') or ())
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
        with DefaultScope.overwrite_default_scope(self.scope):
            sample = self.task.run(self, image)
            found, label_map = self.task.describe(self, sample)
        rgb = np.ascontiguousarray(image[..., ::-1])
        picture = self.draw(rgb, sample, heatmaps=True, score=self.score)
        return Prediction(picture, found, label_map)

    def name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else str(label)


def _bgr(image: Any) -> np.ndarray:
    """An array as (H, W, 3) uint8; an ImageError that says how to make one of what is none."""
    if not isinstance(image, np.ndarray):
        raise ImageError(f'The image is a {type(image).__name__}, not an array: {ARRAYS}')
    shape, depth = image.shape, image.ndim
    if depth not in (2, 3) or (depth == 3 and shape[2] not in (1, 3, 4)) or not image.size:
        raise ImageError(f'The image has the shape {shape}: it must be (H, W, 3), with pixels')
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f'The image is of {image.dtype}: {FLOATS}')
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if depth == 2 or shape[2] == 1:
        image = np.repeat(image.reshape(*shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


class Task(NamedTuple):
    """How a host's inferencer is built and run, and what its sample holds."""

    build: Callable[..., Any]
    run: Callable[[Predictor, np.ndarray], Any]
    describe: Callable[[Predictor, Any], tuple[list[dict[str, Any]], np.ndarray | None]]


def _build_detector(cfg: Any, weights: str, device: str) -> Any:
    from mmdet.apis import DetInferencer

    return DetInferencer(cfg, weights, device, show_progress=False)


def _build_pose_estimator(cfg: Any, weights: str, device: str) -> Any:
    from mmpose.apis.inferencers import Pose2DInferencer

    inferencer = Pose2DInferencer(cfg, weights, device, det_model='whole_image')
    inferencer.model.test_cfg['output_heatmaps'] = True
    return inferencer


def _build_segmentor(cfg: Any, weights: str, device: str) -> Any:
    from mmseg.apis import MMSegInferencer

    return MMSegInferencer(cfg, weights, device=device)


def _build_classifier(cfg: Any, weights: str, device: str) -> Any:
    from mmpretrain.apis import ImageClassificationInferencer

    return ImageClassificationInferencer(cfg, weights, device)


def _run(predictor: Predictor, image: np.ndarray) -> Any:
    (data,) = predictor.inferencer.preprocess([image], batch_size=1)
    data = data[1] if isinstance(data, (tuple, list)) else data  # with what it was made of
    (sample,) = predictor.inferencer.forward(data)
    return sample.cpu()


def _run_detector(predictor: Predictor, image: np.ndarray) -> Any:
    sample = _run(predictor, image)
    sample.pred_instances = sample.pred_instances[sample.pred_instances.scores >= predictor.score]
    return sample


def _run_pose_estimator(predictor: Predictor, image: np.ndarray) -> Any:
    from mmpose.apis import inference_bottomup, inference_topdown
    from mmpose.structures import PoseDataSample, merge_data_samples

    if predictor.cfg.get('data_mode') != 'topdown':
        return merge_data_samples(inference_bottomup(predictor.model, image)).cpu()
    if predictor.detector is None:
        return merge_data_samples(inference_topdown(predictor.model, image)).cpu()
    persons = [found for found in predictor.detector(image).found if found['class'] == PERSON]
    if not persons:
        return PoseDataSample()
    boxes = np.array([person['bbox'] for person in persons], dtype=np.float32)
    sample = merge_data_samples(inference_topdown(predictor.model, image, boxes)).cpu()
    sample.pred_instances.bbox_scores = np.array([person['score'] for person in persons])
    return sample


def _run_classifier(predictor: Predictor, image: np.ndarray) -> Any:
    sample = _run(predictor, image)
    sample.set_pred_label(sample.pred_score.topk(min(TOP, len(sample.pred_score))).indices)
    return sample


def _describe_boxes(predictor: Predictor, sample: Any) -> tuple[list[dict[str, Any]], None]:
    instances = sample.pred_instances
    found = []
    for index in range(len(instances)):
        label = int(instances.labels[index])
        box = dict(
            label=label,
            **{'class': predictor.name(label)},
            score=float(instances.scores[index]),
            bbox=instances.bboxes[index].tolist(),
        )
        if 'masks' in instances:
            box['mask'] = _encode(np.asarray(instances.masks[index]))
        found.append(box)
    return found, None


def _encode(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length code of a mask, (H, W)."""
    code = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(code['size']), 'counts': code['counts'].decode('ascii')}


def _describe_persons(
    predictor: Predictor,  # noqa: ARG001
    sample: Any,
) -> tuple[list[dict[str, Any]], None]:
    if 'pred_instances' not in sample:
        return [], None
    fields: Mapping[str, str] = dict(
        keypoints='keypoints',
        keypoint_scores='keypoint_scores',
        bboxes='bbox',
        bbox_scores='bbox_score',
    )
    instances = sample.pred_instances
    return [
        {
            new: np.asarray(instances[old][i]).tolist()
            for old, new in fields.items()
            if old in instances
        }
        for i in range(len(instances))
    ], None


def _describe_map(predictor: Predictor, sample: Any) -> tuple[list[dict[str, Any]], np.ndarray]:
    labels = sample.pred_sem_seg.data[0].numpy().astype(np.uint8)  # (H, W)
    counts = np.bincount(labels.ravel())
    found: list[dict[str, Any]] = [
        {'label': int(label), 'class': predictor.name(label), 'share': counts[label] / labels.size}
        for label in np.argsort(-counts, kind='stable')
        if counts[label]
    ]
    return found, labels


def _describe_label(predictor: Predictor, sample: Any) -> tuple[list[dict[str, Any]], None]:
    return [
        {'label': label, 'class': predictor.name(label), 'score': float(sample.pred_score[label])}
        for label in sample.pred_label.tolist()
    ], None


TASKS = {
    'mmdet': Task(_build_detector, _run_detector, _describe_boxes),
    'mmpose': Task(_build_pose_estimator, _run_pose_estimator, _describe_persons),
    'mmseg': Task(_build_segmentor, _run, _describe_map),
    'mmpretrain': Task(_build_classifier, _run_classifier, _describe_label),
}
