# The official training of HRNet for pose (section 4 and its yaml files) where mmpose's differs:
# Adam at 1e-3 for 128 images, rotation and scale by less, no shift of the box.
paper = dict(
    optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
    auto_scale_lr=dict(base_batch_size=128),
    coco=dict(
        type='RandomBBoxTransform', shift_prob=0, rotate_factor=45, scale_factor=(0.65, 1.35)
    ),
    mpii=dict(
        type='RandomBBoxTransform', shift_prob=0, rotate_factor=30, scale_factor=(0.75, 1.25)
    ),
)
