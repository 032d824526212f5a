# CenterNet (objects as points), HRNetV2-W48, COCO 2017, 140 epochs at 512x512.
# Recipe: mmdet's for this head, with clipped gradients; HRNetV2 takes the place of deconvolutions.
# The paper's CenterNet (Table VIII: 43.4 box AP on test-dev) is another one, of keypoint triplets,
# which mmdet does not have: there is no published figure for this head.
_base_ = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w48',
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='open-mmlab://msra/hrnetv2_w48',
        ),
    ),
    neck=dict(
        _delete_=True, type='mmhrnet.HRNetV2', in_channels=[48, 96, 192, 384], out_channels=256
    ),
    bbox_head=dict(in_channels=256, feat_channels=256),
)
