# FCOS with group norm in its head, HRNetV2p-W40, COCO 2017, 24 epochs, scales 640 and 800.
# Recipe (section 6, mmdet): SGD 0.01 for 16 images, caffe-style image means, norm_eval.
# Published box AP: 42.7 (mmdet).
_base_ = [
    'mmdet::hrnet/fcos_hrnetv2p-w40-gn-head_ms-640-800-4xb4-2x_coco.py',
    '../_base_/models/hrnetv2p_w40.py',
]
# Its pyramid starts at 1/8: the convolutions of the levels have stride 2.
model = dict(
    backbone=_base_.hrnetv2p.backbone,
    neck=dict(_base_.hrnetv2p.neck, stride=2, num_outs=5),
)
