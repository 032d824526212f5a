# What RTMPose trains with (arXiv 2303.07399, section 3.2, whose table adds one step after the
# other): AdamW without weight decay of norms and biases, averaged weights, a learning rate that is
# flat for half of the training and then follows a cosine, and strong augmentation but for the last
# 30 epochs. The numbers are those of mmpose's rtmpose configs, except that these train 210 epochs,
# not 420, of 128 images, not 1024, at 2e-3, not 4e-3, and cut holes by mmdet's CutOut. That paper
# trains another network: nobody has published what it gives HRNet.
epochs, calm_epochs, lr = 210, 30, 2e-3
today = dict(
    train_cfg=dict(max_epochs=epochs),
    optim_wrapper=dict(
        optimizer=dict(_delete_=True, type='AdamW', lr=lr, weight_decay=0.05),
        paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
    ),
    param_scheduler=[
        dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=1000),
        dict(
            type='CosineAnnealingLR',
            eta_min=lr * 0.05,
            begin=epochs // 2,
            end=epochs,
            T_max=epochs // 2,
            by_epoch=True,
            convert_to_iter_based=True,
        ),
    ],
    strong=dict(
        box=dict(type='RandomBBoxTransform', scale_factor=(0.6, 1.4), rotate_factor=80),
        hole=dict(type='mmdet.CutOut', n_holes=1, cutout_ratio=[(0.2, 0.2), (0.4, 0.4)]),
    ),
    calm=dict(
        box=dict(
            type='RandomBBoxTransform', shift_factor=0, scale_factor=(0.75, 1.25), rotate_factor=60
        ),
        hole=dict(type='mmdet.CutOut', n_holes=(0, 1), cutout_ratio=[(0.2, 0.2), (0.4, 0.4)]),
    ),
    colour=dict(type='mmdet.YOLOXHSVRandomAug'),
    average=dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49,
    ),
    calm_down=dict(type='mmdet.PipelineSwitchHook', switch_epoch=epochs - calm_epochs),
)
