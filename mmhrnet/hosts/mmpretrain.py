"""mmpretrain: a class for the whole image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.errors import ConfigError
from mmhrnet.hosts.host import (
    Comparison,
    Found,
    Host,
    Look,
    Metric,
    Predicts,
    Recipe,
    always,
    run_inferencer,
)
from mmhrnet.hosts.mmpretrain_whole import WHOLE
from mmhrnet.hosts.shrink import SPLITS, pipeline, set_classes, steps

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.infer import BaseInferencer
    from mmengine.visualization import Visualizer
    from mmpretrain.structures import DataSample
    from torch import nn

SIDE = 64  # of a mini training's images in pixels
TOP = 5  # classes that are listed


def build(cfg: Config, weights: str | None, device: str) -> BaseInferencer:
    from mmpretrain.apis import ImageClassificationInferencer

    return ImageClassificationInferencer(cfg, weights, device)


def run(predictor: Predicts, image: np.ndarray) -> DataSample:
    sample = run_inferencer(predictor, image)
    sample.set_pred_label(sample.pred_score.topk(min(TOP, len(sample.pred_score))).indices)
    return sample


def describe(predictor: Predicts, sample: DataSample) -> Found:
    return [
        {'label': label, 'class': predictor.name(label), 'score': float(sample.pred_score[label])}
        for label in sample.pred_label.tolist()
    ], None


def draw(visualizer: Visualizer, image: np.ndarray, sample: DataSample, look: Look) -> np.ndarray:
    """mmpretrain's own drawing has the index before the name."""
    from mmhrnet.hosts.captions import note

    labels = sample.gt_label if look.truth else sample.pred_label
    classes = visualizer.dataset_meta.get('classes') or ()
    names = [classes[i] if i < len(classes) else f'class {i}' for i in labels.tolist()]
    if look.truth:
        return note(image, '\n'.join(names))
    scores = 100 * sample.pred_score[labels]
    return note(image, '\n'.join(f'{name}: {x:.1f} %' for name, x in zip(names, scores)))


def shrink(cfg: Config, root: Path, embedded: bool) -> None:
    from mmhrnet.datasets import SCENE_CLASSES

    folder = root / ('meta' if embedded else 'train')
    if not folder.is_dir():
        raise ConfigError(f'There is no folder {folder}: put the images into train/CLASS/')
    classes = SCENE_CLASSES if embedded else sorted(p.name for p in folder.iterdir() if p.is_dir())
    for step in steps(cfg):
        if step.type in ('RandomResizedCrop', 'ResizeEdge'):
            step.scale = SIDE
        if step.type == 'RandomResizedCrop':
            step.crop_ratio_range = (0.6, 1.0)
        if step.type == 'CenterCrop':
            step.crop_size = SIDE
    for name, split in SPLITS.items():
        cfg[name].dataset = dict(
            type='CustomDataset',
            data_root=str(root),
            data_prefix=f'{split}2017' if embedded else split,
            ann_file=f'meta/{split}.txt' if embedded else '',
            metainfo=dict(classes=classes),
            pipeline=pipeline(cfg[name].dataset),
        )
    cfg.data_preprocessor.num_classes = len(classes)
    cfg.model.head.topk = (1,)
    cfg.val_evaluator.topk = cfg.test_evaluator.topk = (1,)
    set_classes(cfg.model, len(classes))


def our_features(arch: str) -> list[nn.Module]:
    from mmhrnet.models import HRNet, HRNetC

    backbone = HRNet(arch)
    return [backbone, HRNetC(backbone.out_channels, bias=False)]


def their_features(arch: str) -> list[nn.Module]:
    from mmpretrain.models.backbones import HRNet
    from mmpretrain.models.necks import HRFuseScales

    from mmhrnet.models.archs import as_extra, resolve_stages

    channels = resolve_stages(arch)[-1].out_channels
    return [HRNet(extra=as_extra(arch)), HRFuseScales(channels)]


HOST = Host(
    name='mmpretrain',
    task='classification',
    task_name='Image Classification',
    title='Classification (mmpretrain, ImageNet-1k, 224x224)',
    pipeline_tag='image-classification',
    hub_data={'ImageNet': 'ILSVRC/imagenet-1k'},
    distribution='mmpretrain',
    floor='1.2.0',
    fork='onedl-mmpretrain',
    input_size=(224, 224),
    input_steps={'CenterCrop': 'crop_size', 'Resize': 'scale'},
    fixed_size=always,
    preprocessor='ClsDataPreprocessor',
    metrics={
        'accuracy/top1': Metric('Top 1 Accuracy', hub='accuracy'),
        'accuracy/top5': Metric('Top 5 Accuracy', hub='accuracy'),
    },
    best_metric='accuracy/top1',
    data={'CustomDataset': 'classes', 'ImageNet': 'classes'},
    mini=Recipe(shrink, iterations=120, batch=32, lr=2e-3),
    visualizer='UniversalVisualizer',
    build=build,
    run=run,
    describe=describe,
    draw=draw,
    whole=WHOLE,
    benchmarks={
        'cls': Comparison(
            'HRNet-C, the features of the ImageNet classifiers',
            (224, 224),
            our_features,
            their_features,
        )
    },
)
