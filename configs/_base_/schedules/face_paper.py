# The official training of HRNetV2 for facial landmarks (Appendix D and its yaml files) where
# mmpose's differs: Adam at 1e-4 for 16 images, drops at 30 and 50 of 60 epochs, rotation by less.
paper = dict(
    optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-4)),
    auto_scale_lr=dict(base_batch_size=16),
    param_scheduler=[
        dict(type='MultiStepLR', begin=0, end=60, milestones=[30, 50], gamma=0.1, by_epoch=True)
    ],
    face=dict(
        type='RandomBBoxTransform', shift_prob=0, rotate_factor=30, scale_factor=(0.75, 1.25)
    ),
    sigma=1.5,
)
