# HRNetV2-W48, COCO-Stuff 164k (171 classes), crop 512x512, 160k iterations of 16 images.
# Recipe: mmseg's for this data set.
# No figure is published.
_base_ = [
    '../_base_/models/fcn_hrnetv2.py',
    'mmseg::_base_/datasets/coco-stuff164k.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/coco_stuff164k_160k.py',
    '../_base_/models/hrnetv2_w48.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=_base_.hrnetv2.neck,
    decode_head=dict(_base_.hrnetv2.decode_head, num_classes=171),
    data_preprocessor=data_preprocessor,
)
