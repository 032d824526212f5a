# HRNetV2-W48, COCO-Stuff 10k (171 classes), crop 512x512, 110 epochs of 16 images.
# Recipe (official repository): scale 0.5 to 2, flip, SGD 0.001, weight decay 1e-4, poly 0.9.
# Published mIoU, single scale: 36.2 (official repository, OHEM).
_base_ = [
    '../_base_/models/fcn_hrnetv2.py',
    'mmseg::_base_/datasets/coco-stuff10k.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/coco_stuff10k_62k.py',
    '../_base_/models/hrnetv2_w48.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=_base_.hrnetv2.neck,
    decode_head=dict(_base_.hrnetv2.decode_head, num_classes=171),
    data_preprocessor=data_preprocessor,
)
