"""Pictures of predictions beside the ground truth, drawn by the hosts' own visualizers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.runner import Runner
from torch.nn import functional as F
from torch.utils.data import DataLoader

SIDE = 480  # pixels that a small image is enlarged to, so that its labels can be read
SCORE = 0.3  # lowest score of a box or a joint to be drawn


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
    out_dir.mkdir(parents=True, exist_ok=True)
    draw = DRAWERS[runner.cfg.default_scope]
    visualizer: Any = runner.visualizer
    meta = loader.dataset.metainfo  # type: ignore[attr-defined]
    visualizer.dataset_meta = meta
    if runner.cfg.default_scope == 'mmpose':  # it needs the skeleton's colours too
        visualizer.set_dataset_meta(meta)
    runner.model.eval()
    samples = (sample for data in loader for sample in _predict(runner, data))
    for index, sample in enumerate(islice(samples, count)):
        image, factor = _enlarged(sample.img_path)
        path = out_dir / f'{index:02d}_{Path(sample.img_path).stem}.png'
        draw(visualizer, image, sample.cpu(), factor, str(path))
    return out_dir


@torch.no_grad()
def _predict(runner: Runner, data: dict) -> list:
    return runner.model.val_step(data)


def _enlarged(path: str) -> tuple[np.ndarray, float]:
    """The image as RGB, (H, W, 3), and by what it was enlarged."""
    image = mmcv.imread(path, channel_order='rgb')
    factor = max(1.0, SIDE / max(image.shape[:2]))
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), factor


def _draw_boxes(visualizer: Any, image: np.ndarray, sample: Any, factor: float, out: str) -> None:
    height, width = image.shape[:2]
    for instances in (sample.gt_instances, sample.pred_instances):  # both in pixels of the file
        instances.bboxes = instances.bboxes * factor
        if 'masks' in instances:
            masks = torch.as_tensor(np.asarray(getattr(instances.masks, 'masks', instances.masks)))
            # (K, H, W) -> (K, factor * H, factor * W)
            scaled = F.interpolate(masks[None].float(), (height, width))[0] > 0
            instances.masks = scaled.numpy()
    visualizer.add_datasample('', image, sample, pred_score_thr=SCORE, out_file=out)


def _draw_joints(visualizer: Any, image: np.ndarray, sample: Any, factor: float, out: str) -> None:
    for instances in (sample.gt_instances, sample.pred_instances):
        for key in ('keypoints', 'transformed_keypoints', 'bboxes'):
            if key in instances:
                instances.set_field(instances[key] * factor, key)
    visualizer.add_datasample('', image, sample, draw_bbox=True, kpt_thr=SCORE, out_file=out)


def _draw_map(visualizer: Any, image: np.ndarray, sample: Any, factor: float, out: str) -> None:  # noqa: ARG001
    height, width = image.shape[:2]
    for key in ('gt_sem_seg', 'pred_sem_seg'):
        labels = sample.get(key).data  # (1, H, W)
        scaled = F.interpolate(labels[None].float(), (height, width))[0].long()
        sample.set_field(type(sample.get(key))(data=scaled), key)
    visualizer.add_datasample('', image, sample, with_labels=False, out_file=out)


def _draw_label(visualizer: Any, image: np.ndarray, sample: Any, factor: float, out: str) -> None:  # noqa: ARG001
    classes = visualizer.dataset_meta['classes']
    visualizer.visualize_cls(image, sample, classes=classes, out_file=out)


DRAWERS: dict[str, Callable[..., None]] = {
    'mmdet': _draw_boxes,
    'mmpose': _draw_joints,
    'mmseg': _draw_map,
    'mmpretrain': _draw_label,
}
