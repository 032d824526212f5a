# ADE20K (official repository): SGD 0.02, poly 0.9, 120 epochs of 16 images (150k iterations).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
)
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=150000, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=150000, val_interval=15000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=15000),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
auto_scale_lr = dict(base_batch_size=16)
