# The official training of HRNetV2 for facial landmarks (Appendix D and its yaml files) where
# mmpose's differs: Adam at 1e-4 for 16 images, drops at 30 and 50 of 60 epochs, rotation by less,
# sigma 1.5.
codec_paper = dict(type='MSRAHeatmap', input_size=(256, 256), heatmap_size=(64, 64), sigma=1.5)
pipeline_paper = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_prob=0, rotate_factor=30, scale_factor=(0.75, 1.25)),
    dict(type='TopdownAffine', input_size=(256, 256)),
    dict(type='GenerateTarget', encoder=codec_paper),
    dict(type='PackPoseInputs'),
]
paper = dict(
    codec=codec_paper,
    optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-4)),
    auto_scale_lr=dict(base_batch_size=16),
    param_scheduler=[
        dict(type='MultiStepLR', begin=0, end=60, milestones=[30, 50], gamma=0.1, by_epoch=True)
    ],
    train_pipeline=pipeline_paper,
    train_dataloader=dict(batch_size=16, dataset=dict(pipeline=pipeline_paper)),
)
del codec_paper, pipeline_paper
