"""Pictures of predictions beside the ground truth, drawn by the host's own visualizer."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import mmcv
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

SIDE = 480  # pixels that a small image is enlarged to, so that its labels can be read


def draw_predictions(
    runner: Runner, loader: DataLoader, out_dir: str | Path, count: int = 6, score: float = 0.3
) -> Path:
    """Draws the first images of a data set, left the ground truth and right the prediction.

    Args:
        runner: A detection runner with its weights loaded.
        loader: The images, with their annotations.
        out_dir: Folder for the PNG files, made if absent.
        count: Number of images.
        score: Lowest score of a box to be drawn.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    runner.visualizer.dataset_meta = loader.dataset.metainfo  # type: ignore[attr-defined]
    runner.model.eval()
    for data in islice(loader, count):
        with torch.no_grad():
            samples = runner.model.val_step(data)
        for sample in samples:
            _draw(runner.visualizer, sample.cpu(), out_dir, score)
    return out_dir


def _draw(visualizer: Any, sample: Any, out_dir: Path, score: float) -> None:
    path = Path(sample.img_path)
    image = mmcv.imread(str(path), channel_order='rgb')  # (H, W, 3)
    factor = max(1.0, SIDE / max(image.shape[:2]))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    for instances in (sample.gt_instances, sample.pred_instances):  # both in pixels of the file
        instances.bboxes = instances.bboxes * factor
        instances.pop('masks', None)
    visualizer.add_datasample(
        path.stem, image, sample, pred_score_thr=score, out_file=str(out_dir / f'{path.stem}.png')
    )
