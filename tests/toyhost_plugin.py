"""All that mmhrnet has to be told of a host library, for test_hosts_room.py: one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.hosts import Host
from mmhrnet.hosts.host import Comparison, Found, Metric, Predicts, Recipe
from mmhrnet.hosts.mmpose import our_backbone, their_backbone
from mmhrnet.hosts.shrink import SPLITS, set_classes, steps

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.structures import BaseDataElement
    from toyhost.parts import ToyInferencer


def build(cfg: Config, weights: str, device: str) -> ToyInferencer:
    from toyhost.parts import ToyInferencer

    inferencer = ToyInferencer(cfg, weights, device)
    inferencer.model.dataset_meta = cfg.test_dataloader.dataset.metainfo
    return inferencer


def describe(predictor: Predicts, sample: BaseDataElement) -> Found:
    best = int(sample.scores.argmax())
    return [{'class': predictor.name(best), 'score': float(sample.scores[best])}], None


def shrink(cfg: Config, root: Path, embedded: bool) -> None:
    from mmhrnet.datasets import SCENE_CLASSES

    for step in steps(cfg):
        if step.type == 'Resize':
            step.scale = (64, 64)
    for name, split in SPLITS.items():
        cfg[name].dataset.update(
            data_root=str(root),
            data_prefix=dict(img_path=f'{split}2017'),
            ann_file=f'meta/{split}.txt',
            metainfo=dict(classes=SCENE_CLASSES),
        )
    set_classes(cfg.model, len(SCENE_CLASSES))


HOST = Host(
    name='toyhost',
    task='scenes',
    task_name='Scene Recognition',
    title='Scenes (toyhost)',
    distribution='toyhost',
    floor='0.9',
    network=dict(multiscale_output=False),
    input_size=(64, 64),
    metrics={'toy/accuracy': Metric('Accuracy', 100)},
    best_metric='toy/accuracy',
    data={'ToyImages': 'classes'},
    mini=Recipe(shrink, iterations=16, batch=16, lr=2e-3),
    visualizer='ToyVisualizer',
    build=build,
    describe=describe,
    benchmarks={
        'toy': Comparison('The backbone of toyhost', (64, 64), our_backbone, their_backbone)
    },
)
