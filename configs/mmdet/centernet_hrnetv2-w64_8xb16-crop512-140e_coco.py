# CenterNet (objects as points), HRNetV2-W64, COCO 2017, 140 epochs at 512x512.
# Recipe: mmdet's for this head, with clipped gradients; HRNetV2 takes the place of deconvolutions.
# The paper's CenterNet (Table VIII: 44.0 box AP on test-dev) is another one, of keypoint triplets,
# which mmdet does not have: there is no published figure for this head.
_base_ = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w64',
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-hrnet/hrnetv2_w64-b47cc881.pth',
        ),
    ),
    neck=dict(
        _delete_=True, type='mmhrnet.HRNetV2', in_channels=[64, 128, 256, 512], out_channels=256
    ),
    bbox_head=dict(in_channels=256, feat_channels=256),
)
