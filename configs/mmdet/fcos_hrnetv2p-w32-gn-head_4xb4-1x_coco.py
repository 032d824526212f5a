# FCOS with group norm in its head, HRNetV2p-W32, COCO 2017, 12 epochs.
# Recipe (section 6, mmdet): SGD 0.01 for 16 images, caffe-style image means, norm_eval.
# Published box AP: 39.5 (mmdet).
_base_ = [
    'mmdet::hrnet/fcos_hrnetv2p-w32-gn-head_4xb4-1x_coco.py',
    '../_base_/models/hrnetv2p_w32.py',
]
# Its pyramid starts at 1/8: the convolutions of the levels have stride 2.
model = dict(
    backbone=_base_.hrnetv2p.backbone,
    neck=dict(_base_.hrnetv2p.neck, stride=2, num_outs=5),
)
