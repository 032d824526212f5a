"""One training step and one prediction of any config, through its own pipelines, on drawn data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, init_default_scope

from mmhrnet.config.edit import use_scratch
from mmhrnet.walk import dicts

SIDE = 128  # pixels of the drawn image, and what larger sizes of detectors are replaced by
SMALL = {'mmdet': SIDE, 'mmseg': 64, 'mmpretrain': 64}
SIZES = ('scale', 'crop_size', 'size', 'stride')


def prepare(cfg: Config) -> None:
    """No weights to download, and small images; pose keeps the sizes of its codecs."""
    init_default_scope(cfg.default_scope)
    use_scratch(cfg)
    side = SMALL.get(cfg.default_scope)
    loaders = (cfg.train_dataloader, cfg.val_dataloader)
    pipelines = [part for part in dicts(loaders) if 'pipeline' in part]
    for part in (*dicts([d.pipeline for d in pipelines]), *dicts(cfg.model)):
        if side and str(part.get('type')) not in ('MaxPool2d',):
            _shrink(part, side)


def _shrink(part: dict, side: int) -> None:
    for key in SIZES:
        value = part.get(key)
        if isinstance(value, int) and value > side:
            part[key] = side
        elif isinstance(value, (tuple, list)) and value and min(value) > side:
            part[key] = (side, side)
    if 'add_gt_as_proposals' in part:
        part.num = 32
    if 'max_per_img' in part:
        part.max_per_img = 32
    if 'scales' in part and isinstance(part['scales'][0], (tuple, list)):
        part['scales'] = [(side, side)]


def raw_sample(cfg: Config, folder: Path) -> dict[str, Any]:
    """What the config's data set would hand to its pipeline: one image with its annotation."""
    rng = np.random.default_rng(0)
    image, labels = folder / 'image.png', folder / 'labels.png'
    if not image.exists():
        cv2.imwrite(str(image), rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
        cv2.imwrite(str(labels), np.kron(rng.integers(1, 10, (8, 8)), np.ones((16, 16))))
    files = dict(img_path=str(image), seg_map_path=str(labels), img_id=1, height=SIDE, width=SIDE)
    return {**files, **ANNOTATIONS[cfg.default_scope](cfg, rng)}


def _boxes(cfg: Config, rng: np.random.Generator) -> dict[str, Any]:
    corners = ((8, 8, 90, 100), (40, 30, 120, 120), (60, 10, 80, 40))
    return dict(
        instances=[
            dict(
                bbox=[float(v) for v in (x1, y1, x2, y2)],
                bbox_label=label,
                mask=[[float(v) for v in (x1, y1, x2, y1, x2, y2, x1, y2)]],
                ignore_flag=0,
            )
            for label, (x1, y1, x2, y2) in enumerate(corners)
        ]
    )


def _labels(cfg: Config, rng: np.random.Generator) -> dict[str, Any]:
    reduces = any(part.get('reduce_zero_label') for part in dicts(cfg.train_dataloader))
    return dict(seg_fields=[], label_map=None, reduce_zero_label=reduces)


def _joints(cfg: Config, rng: np.random.Generator) -> dict[str, Any]:
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from mmpose.registry import DATASETS

    meta = parse_pose_metainfo(DATASETS.get(cfg.train_dataloader.dataset.type).METAINFO)
    count = meta['num_keypoints']
    return meta | dict(
        id=1,
        category_id=1,
        bbox=np.array([[10, 10, 110, 120]], np.float32),
        bbox_score=np.ones(1, np.float32),
        area=np.array([9000.0], np.float32),
        keypoints=rng.uniform(20, 105, (1, count, 2)).astype(np.float32),
        keypoints_visible=np.ones((1, count), np.float32),
        head_size=np.array([30.0], np.float32),
        invalid_segs=[],
        raw_ann_info=[dict(id=1, category_id=1)],
    )


def _label(cfg: Config, rng: np.random.Generator) -> dict[str, Any]:
    return dict(gt_label=3)


ANNOTATIONS = dict(mmdet=_boxes, mmseg=_labels, mmpose=_joints, mmpretrain=_label)


def unwrapped(loader: Config) -> Config:
    """The data set of a loader inside of its wrappers."""
    dataset = loader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def _batch(cfg: Config, loader: Config, folder: Path, count: int) -> dict:
    pipeline = Compose(unwrapped(loader).pipeline)
    samples = [pipeline(raw_sample(cfg, folder)) for _ in range(count)]
    if loader.dataset.type == 'MultiImageMixDataset':  # each sample gets others to paste from
        mix = Compose(loader.dataset.pipeline)
        samples = [mix({**one, 'mix_results': [samples[0]]}) for one in samples[::-1]]
    return pseudo_collate(samples)


def build(cfg: Config) -> torch.nn.Module:
    if cfg.default_scope == 'mmpretrain':  # what its runner does with the classes' number
        cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor', **cfg.data_preprocessor)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def training_step(cfg: Config, model: torch.nn.Module, folder: Path) -> dict[str, torch.Tensor]:
    """The gradients of one step on two images, by parameter name; None where there is none."""
    model.train()
    batch = model.data_preprocessor(_batch(cfg, cfg.train_dataloader, folder, 2), training=True)
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def prediction_step(cfg: Config, model: torch.nn.Module, folder: Path) -> list:
    model.eval()
    batch = model.data_preprocessor(_batch(cfg, cfg.val_dataloader, folder, 1), training=False)
    return model(**batch, mode='predict')
