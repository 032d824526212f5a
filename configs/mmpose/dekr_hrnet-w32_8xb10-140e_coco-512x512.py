# DEKR (bottom-up), HRNetV2-W32, COCO 2017 keypoints, 512x512, 140 epochs.
# Recipe: mmpose's. Its head has the convolution over the concatenation, so that no neck has one.
# Published AP on val2017: 68.6 (mmpose).
_base_ = [
    'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py',
    '../_base_/models/hrnet_w32.py',
]
model = dict(backbone=dict(_base_.hrnet.backbone, multiscale_output=True))
