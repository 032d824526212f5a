"""A schedule, a size and a data set with which a config of each task learns on two CPU cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict

from mmhrnet.config.edit import use_data_root, use_scratch
from mmhrnet.config.walk import LOADERS, datasets, dicts
from mmhrnet.datasets import (
    OBJECT_CLASSES,
    SCENE_CLASSES,
    SEMANTIC_CLASSES,
    SEMANTIC_PALETTE,
    mini_root,
)
from mmhrnet.errors import ConfigError

DETECTION_SCALE = (128, 96)  # (width, height) in pixels
DETECTION_ANCHOR = 16  # side of the smallest anchor in pixels
DETECTION_WIDTH = 128  # channels of the pyramid and the heads
POSE_SIZE = (96, 128)  # (width, height) in pixels
CLASSIFICATION_SIDE = 64
SEGMENTATION_DIVISOR = 4  # of scales and crops

RESIZES = ('Resize', 'RandomChoiceResize')
SPLITS = dict(zip(LOADERS, ('train', 'val', 'val')))  # whose images each loader takes


class Schedule(NamedTuple):
    iterations: int
    batch: int
    lr: float


SCHEDULES = {
    'mmdet': Schedule(240, 4, 1e-3),
    'mmpose': Schedule(400, 16, 2e-3),
    'mmseg': Schedule(240, 8, 2e-3),
    'mmpretrain': Schedule(120, 32, 2e-3),
}
WARMUP = 20
VALIDATIONS = 4


def use_mini(cfg: Config, data_root: str | Path | None = None) -> None:
    """Turns a config into a short training from scratch on small images.

    Args:
        cfg: Config of a detector, a top-down pose estimator with heatmaps, a segmentor or a
            classifier.
        data_root: Root of a data set in the layout of the config's; None is the embedded one.

    Raises:
        ConfigError: A config of another kind, or a root that is no folder.
    """
    scope = cfg.get('default_scope')
    if scope not in SHRINK:
        raise ConfigError(f'--mini takes configs of {", ".join(SHRINK)}; this one is of {scope}')
    use_scratch(cfg)
    for name in LOADERS:
        cfg[name].update(num_workers=0, persistent_workers=False)
    root = mini_root() if data_root is None else Path(data_root)
    use_data_root(cfg, root)
    SHRINK[scope](cfg, root, data_root is None)
    _learn_from_scratch(cfg.model)
    _shorten(cfg, SCHEDULES[scope])


def fit_schedule(cfg: Config) -> None:
    """Ends the learning rate's decay with the training, whose length an option may have changed."""
    for scheduler in cfg.param_scheduler:
        if scheduler.type == 'CosineAnnealingLR':
            scheduler.end = max(cfg.train_cfg.max_iters, scheduler.begin + 1)


def _learn_from_scratch(model: ConfigDict) -> None:
    """Blocks that start as the identity and a normalized pyramid learn sooner.

    So do Kaiming's weights than the small normal ones of pose: after 150 iterations on real people
    0.61 of the joints are found instead of 0.27.
    """
    for part in dicts(model):
        if part.get('type') == 'mmhrnet.HRNet':
            part.update(zero_init_residual=True, init_cfg=None)
        if part.get('type') == 'mmhrnet.HRNetV2p':
            part.norm_cfg = dict(type='BN')


def _shrink_detection(cfg: Config, root: Path, embedded: bool) -> None:  # noqa: ARG001
    for step in _steps(cfg):
        if step.type in RESIZES:
            step.update({key: DETECTION_SCALE for key in ('scale',) if key in step})
            step.update({key: [DETECTION_SCALE] for key in ('scales',) if key in step})
    for part in dicts(cfg.model):
        _narrow(part)
    if embedded:
        for dataset in datasets(cfg):
            dataset.metainfo = dict(classes=OBJECT_CLASSES)
        _set_classes(cfg.model, len(OBJECT_CLASSES))
    else:  # four of five COCO objects are now smaller than any anchor, with nothing to learn
        _drop_steps(cfg, 'RandomFlip')
        large = (DETECTION_ANCHOR, DETECTION_ANCHOR)
        _add_after_resize(cfg, LOADERS[:1], dict(type='FilterAnnotations', min_gt_bbox_wh=large))


def _narrow(part: ConfigDict) -> None:
    for key in (
        'in_channels',
        'out_channels',
        'feat_channels',
        'fc_out_channels',
        'conv_out_channels',
    ):
        if part.get(key) in (256, 1024):  # what a pyramid and its heads have
            part[key] = DETECTION_WIDTH
    if 'reg_class_agnostic' in part:
        part.reg_class_agnostic = True
    if 'nms_pre' in part:
        part.update(nms_pre=200, max_per_img=100)
    if part.get('type') == 'FCNMaskHead':
        part.class_agnostic = True
    if part.get('type') == 'RandomSampler':
        part.update(num=128 if part.add_gt_as_proposals else 64, pos_fraction=0.5)
    if part.get('type') == 'AnchorGenerator':
        part.scales = [DETECTION_ANCHOR // 4]  # in steps of the finest map


def _add_after_resize(cfg: Config, loaders: Sequence[str], step: dict) -> None:
    for dataset in dicts([cfg[name].dataset for name in loaders]):
        if 'pipeline' in dataset:
            steps = ([s, step] if s.type in RESIZES else [s] for s in dataset.pipeline)
            dataset.pipeline = list(chain.from_iterable(steps))


def _drop_steps(cfg: Config, *types: str) -> None:
    """Leaves out augmentation that a short training has no time for."""
    for dataset in dicts(cfg.train_dataloader.dataset):
        if 'pipeline' in dataset:
            dataset.pipeline = [step for step in dataset.pipeline if step.type not in types]


def _shrink_pose(cfg: Config, root: Path, embedded: bool) -> None:  # noqa: ARG001
    codec = cfg.get('codec') or ConfigDict()
    own_data = embedded and cfg.get('dataset_type') != 'CocoDataset'
    if own_data or codec.get('type') != 'MSRAHeatmap':
        raise ConfigError(
            '--mini takes top-down heatmaps of COCO keypoints (td-hm_hrnet-*_coco-*), and of other '
            f'data with --data-root; this config has {cfg.get("dataset_type")} with '
            f'{codec.get("type")}'
        )
    _drop_steps(cfg, 'RandomHalfBody', 'RandomBBoxTransform')
    width, height = POSE_SIZE
    sizes = dict(input_size=POSE_SIZE, heatmap_size=(width // 4, height // 4), sigma=1.5)
    for part in (*dicts(cfg.model), *dicts([cfg[name] for name in LOADERS])):
        if part.get('type') == codec.type:
            part.update(sizes)
        if part.get('type') == 'TopdownAffine':
            part.input_size = POSE_SIZE
        if 'bbox_file' in part:  # persons that a detector found: take the true ones
            part.bbox_file = None
    cfg.model.test_cfg.flip_test = False


def _shrink_segmentation(cfg: Config, root: Path, embedded: bool) -> None:
    _drop_steps(cfg, 'PhotoMetricDistortion')
    for part in (*_steps(cfg), *dicts(cfg.model)):
        if part.get('type') == 'RandomResize':
            part.ratio_range = (0.8, 1.25)
        for key in ('scale', 'crop_size', 'size', 'stride'):
            if isinstance(part.get(key), (tuple, list)):
                part[key] = tuple(side // SEGMENTATION_DIVISOR for side in part[key])
    # Small maps of uneven sides are upsampled visibly off their place.
    _add_after_resize(cfg, LOADERS[1:], dict(type='ResizeToMultiple', size_divisor=32))
    if not embedded:
        return
    meta = dict(classes=SEMANTIC_CLASSES, palette=SEMANTIC_PALETTE)
    for name, split in SPLITS.items():
        cfg[name].dataset = dict(
            type='BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path=f'{split}2017', seg_map_path=f'semantic/{split}2017'),
            metainfo=meta,
            pipeline=_pipeline(cfg[name].dataset),
        )
    for step in _steps(cfg):
        if 'reduce_zero_label' in step:
            step.reduce_zero_label = False
    _set_classes(cfg.model, len(SEMANTIC_CLASSES))


def _shrink_classification(cfg: Config, root: Path, embedded: bool) -> None:
    folder = root / ('meta' if embedded else 'train')
    if not folder.is_dir():
        raise ConfigError(f'There is no folder {folder}: images are looked for in train/CLASS/')
    classes = SCENE_CLASSES if embedded else sorted(p.name for p in folder.iterdir() if p.is_dir())
    for step in _steps(cfg):
        if step.type in ('RandomResizedCrop', 'ResizeEdge'):
            step.scale = CLASSIFICATION_SIDE
        if step.type == 'RandomResizedCrop':
            step.crop_ratio_range = (0.6, 1.0)
        if step.type == 'CenterCrop':
            step.crop_size = CLASSIFICATION_SIDE
    for name, split in SPLITS.items():
        cfg[name].dataset = dict(
            type='CustomDataset',
            data_root=str(root),
            data_prefix=f'{split}2017' if embedded else split,
            ann_file=f'meta/{split}.txt' if embedded else '',
            metainfo=dict(classes=classes),
            pipeline=_pipeline(cfg[name].dataset),
        )
    cfg.data_preprocessor.num_classes = len(classes)
    cfg.model.head.topk = (1,)
    cfg.val_evaluator.topk = cfg.test_evaluator.topk = (1,)
    _set_classes(cfg.model, len(classes))


def _pipeline(dataset: ConfigDict) -> list[ConfigDict]:
    """That of a data set, or of the first one that it wraps."""
    return next(part.pipeline for part in dicts(dataset) if 'pipeline' in part)


def _steps(cfg: Config) -> Iterator[ConfigDict]:
    """The transforms of all pipelines."""
    loaders = dicts([cfg[name] for name in LOADERS])
    yield from (step for d in loaders if 'pipeline' in d for step in dicts(d.pipeline))


def _set_classes(model: ConfigDict, count: int) -> None:
    for part in dicts(model):
        if 'num_classes' in part:
            part.num_classes = count


def _shorten(cfg: Config, schedule: Schedule) -> None:
    cfg.train_dataloader.update(
        batch_size=schedule.batch, sampler=dict(type='InfiniteSampler', shuffle=True)
    )
    interval = schedule.iterations // VALIDATIONS
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=schedule.iterations, val_interval=interval
    )
    cfg.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=schedule.lr, weight_decay=0.01, fused=True),
        clip_grad=dict(max_norm=5),
    )
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=WARMUP),
        dict(
            type='CosineAnnealingLR',
            by_epoch=False,
            begin=WARMUP,
            end=schedule.iterations,
            eta_min=1e-5,
        ),
    ]
    cfg.randomness = dict(seed=0)
    cfg.default_hooks.logger.interval = 10
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=interval, max_keep_ckpts=1)
    cfg.setdefault('log_processor', dict(type='LogProcessor'))
    cfg.log_processor.update(by_epoch=False, window_size=10)


SHRINK: dict[str, Callable[[Config, Path, bool], None]] = {
    'mmdet': _shrink_detection,
    'mmpose': _shrink_pose,
    'mmseg': _shrink_segmentation,
    'mmpretrain': _shrink_classification,
}
