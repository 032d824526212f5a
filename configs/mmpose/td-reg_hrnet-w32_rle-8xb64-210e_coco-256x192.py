# Regression with residual log-likelihood (RLE), HRNet-W32-C, COCO 2017 keypoints, 256x192.
# Recipe: mmpose's of RLE with ResNet-50. The ImageNet head (Appendix B) makes 2048 channels of
# the four maps, and its weights are taken too. No figure is published for RLE on HRNet in mmpose.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py',
]
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
weights = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmclassification/v0/hrnet/'
    'hrnet-w32_3rdparty_8xb32_in1k_20220120-c394f1ab.pth',
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w32',
        multiscale_output=True,
        init_cfg=dict(weights, prefix='backbone.'),
    ),
    neck=dict(
        _delete_=True,
        type='mmhrnet.HRNetC',
        in_channels=[32, 64, 128, 256],
        pool=True,
        init_cfg=dict(weights, prefix='neck.0.'),
    ),
    head=dict(in_channels=2048),
)
