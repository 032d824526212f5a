"""The embedded data set and a schedule with which a detector learns it on two CPU cores."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from mmhrnet.apis.config import LOADERS, ConfigError, datasets, dicts, use_data_root, use_scratch
from mmhrnet.datasets import OBJECT_CLASSES, mini_root

ITERATIONS = 240
BATCH = 4
SCALE = (128, 96)
HEAD_WIDTH = 128


def use_mini(cfg: Config) -> None:
    """Turns a detection config into a short training from scratch on the embedded data set.

    Raises:
        ConfigError: A config of another task.
    """
    if cfg.get('default_scope') != 'mmdet':
        raise ConfigError(f'--mini takes mmdet configs, this one is of {cfg.get("default_scope")}')
    use_scratch(cfg)
    use_data_root(cfg, mini_root())
    _shrink_data(cfg)
    _shrink_model(cfg.model)
    _shorten(cfg)


def _shrink_data(cfg: Config) -> None:
    for dataset in datasets(cfg):
        dataset.metainfo = dict(classes=OBJECT_CLASSES)
        for step in dataset.pipeline:
            if step['type'] == 'Resize':
                step['scale'] = SCALE
    for name in LOADERS:
        cfg[name].update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.update(
        batch_size=BATCH, sampler=dict(type='InfiniteSampler', shuffle=True)
    )


def _shrink_model(model: ConfigDict) -> None:
    for part in dicts(model):
        _narrow(part)
        if 'num_classes' in part:
            part.num_classes = len(OBJECT_CLASSES)
        if part.get('type') == 'RandomSampler':
            part.update(num=128 if part.add_gt_as_proposals else 64, pos_fraction=0.5)
        if 'reg_class_agnostic' in part:
            part.reg_class_agnostic = True
        if 'nms_pre' in part:
            part.update(nms_pre=200, max_per_img=100)
        if part.get('type') == 'AnchorGenerator':
            part.scales = [4]
    # From scratch, blocks that start as the identity and a normalized pyramid learn sooner.
    if model.backbone.type == 'mmhrnet.HRNet':
        model.backbone.zero_init_residual = True
    if model.neck.type == 'mmhrnet.HRNetV2p':
        model.neck.norm_cfg = dict(type='BN')


def _narrow(part: ConfigDict) -> None:
    for key in ('in_channels', 'out_channels', 'feat_channels', 'fc_out_channels'):
        if part.get(key) in (256, 1024):  # what a pyramid and its heads have
            part[key] = HEAD_WIDTH


def _shorten(cfg: Config) -> None:
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=60)
    cfg.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01, fused=True),
        clip_grad=dict(max_norm=5),
    )
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=ITERATIONS, eta_min=1e-5),
    ]
    cfg.randomness = dict(seed=0)
    cfg.default_hooks.logger.interval = 10
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=60, max_keep_ckpts=1)
    cfg.log_processor.update(by_epoch=False, window_size=10)
