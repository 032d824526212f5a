"""Pictures of predictions and of ground truth, drawn by the hosts' own visualizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from matplotlib import rc_context
from mmengine.config import Config
from mmengine.registry import VISUALIZERS, DefaultScope
from mmengine.runner import Runner
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mmhrnet.files import write_bytes

SIDE = 480  # pixels that a small image is enlarged to, so that its labels can be read
PLAIN_TEXT = {'text.parse_math': False}  # matplotlib's: dollars in names are no formulas
SCORE = 0.3  # lowest score of a box or a joint to be drawn


class Artist:
    """Draws the data samples of a config's host, with that host's visualizer.

    Args:
        cfg: Config of any host, with its ``visualizer``.
        meta: Meta information of the data: classes, colours, skeleton.
    """

    def __init__(self, cfg: Config, meta: Mapping[str, Any]) -> None:
        self.scope: str = cfg.default_scope
        # One of its own, without the files that the config's backends would write.
        unwanted = ('type', '_scope_', 'vis_backends', 'save_dir')
        options = {key: value for key, value in cfg.visualizer.items() if key not in unwanted}
        kind: Any = VISUALIZERS.get(f'{self.scope}.{cfg.visualizer.type}')
        self.visualizer: Any = kind(**options)
        if self.scope == 'mmpose':  # it keeps the skeleton's colours elsewhere
            self.visualizer.set_dataset_meta(meta)
        self.visualizer.dataset_meta = meta

    def __call__(
        self,
        image: np.ndarray,
        sample: Any,
        *,
        truth: bool = False,
        heatmaps: bool = False,
        score: float = SCORE,
    ) -> np.ndarray:
        """Draws the prediction of a sample, or its ground truth.

        Args:
            image: RGB, (H, W, 3) uint8.
            sample: The host's data sample, in pixels of the image.
            truth: Draw what is annotated instead of what is predicted.
            heatmaps: For pose, add the heatmaps below.
            score: Lowest score of a box or a joint to be drawn.

        Returns:
            RGB, as large as the image; a small one is enlarged.
        """
        factor = max(1.0, SIDE / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        options: dict[str, Any] = dict(draw_gt=truth, draw_pred=not truth)
        if self.scope == 'mmpose':
            boxes = not truth or _has_boxes(sample.get('gt_instances', {}))
            options.update(draw_heatmap=heatmaps, draw_bbox=boxes, kpt_thr=score)
        elif self.scope == 'mmdet':
            options.update(pred_score_thr=score)
        drawn = SCALE[self.scope](sample.cpu().clone(), factor, image.shape[:2])
        with rc_context(PLAIN_TEXT), DefaultScope.overwrite_default_scope(self.scope):
            if self.scope == 'mmpretrain':
                return self.visualizer.visualize_cls(image, drawn, **options)
            self.visualizer.add_datasample('', image, drawn, **options)
        return self.visualizer.get_image()


def _has_boxes(persons: Any) -> bool:
    """Whether the boxes are in the same pixels as the joints, and still boxes: (K, 4)."""
    boxes = persons.get('bboxes')
    return 'transformed_keypoints' not in persons and boxes is not None and boxes.ndim == 2


def draw_predictions(
    runner: Runner, loader: DataLoader, out_dir: str | Path, count: int = 6
) -> Path:
    """Draws the first images of a data set: left the ground truth, right the prediction.

    Args:
        runner: A runner of any host with its weights loaded.
        loader: The images, with their annotations.
        out_dir: Folder for the PNG files, made if absent.
        count: Number of images, or of persons for pose.
    """
    out_dir = Path(out_dir)
    draw = Artist(runner.cfg, loader.dataset.metainfo)  # type: ignore[attr-defined]
    runner.model.eval()
    samples = (sample for data in loader for sample in _predict(runner, data))
    for index, sample in enumerate(islice(samples, count)):
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        sides = [draw(image, sample, truth=truth) for truth in (True, False)]
        path = out_dir / f'{index:02d}_{Path(sample.img_path).stem}.png'
        write_bytes(path, cv2.imencode('.png', np.hstack(sides)[..., ::-1])[1].tobytes())
    return out_dir


@torch.no_grad()
def _predict(runner: Runner, data: dict) -> list:
    return runner.model.val_step(data)


def _scale_boxes(sample: Any, factor: float, size: tuple[int, int]) -> Any:
    for key in ('gt_instances', 'pred_instances'):
        if key not in sample:
            continue
        instances = sample.get(key)
        instances.bboxes = instances.bboxes * factor
        if 'masks' in instances:
            masks = torch.as_tensor(np.asarray(getattr(instances.masks, 'masks', instances.masks)))
            scaled = F.interpolate(masks[:, None].float(), size)[:, 0]  # (K, factor H, factor W)
            instances.masks = (scaled > 0).numpy()
    return sample


def _scale_joints(sample: Any, factor: float, size: tuple[int, int]) -> Any:  # noqa: ARG001
    for key in ('gt_instances', 'pred_instances'):
        instances = sample.get(key, {})
        for field in ('keypoints', 'transformed_keypoints', 'bboxes'):
            if field in instances:
                instances.set_field(instances[field] * factor, field)
    return sample


def _scale_map(sample: Any, factor: float, size: tuple[int, int]) -> Any:  # noqa: ARG001
    for key in ('gt_sem_seg', 'pred_sem_seg'):
        if key in sample:
            labels = sample.get(key).data  # (1, H, W)
            scaled = F.interpolate(labels[None].float(), size)[0].long()
            sample.set_field(type(sample.get(key))(data=scaled), key)
    return sample


def _scale_label(sample: Any, factor: float, size: tuple[int, int]) -> Any:  # noqa: ARG001
    return sample


SCALE: dict[str, Callable[[Any, float, tuple[int, int]], Any]] = {
    'mmdet': _scale_boxes,
    'mmpose': _scale_joints,
    'mmseg': _scale_map,
    'mmpretrain': _scale_label,
}
