# What the segmentation schedules share: SGD with momentum, poly decay to zero, iterations.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', momentum=0.9))
poly = dict(type='PolyLR', eta_min=0, power=0.9, begin=0, by_epoch=False)
train_cfg = dict(type='IterBasedTrainLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
