# HRNetV2-W48, PASCAL-Context with 60 classes, crop 480x480, 60k iterations of 16 images.
# Recipe (section 5): scale 0.5 to 2, flip, SGD 0.004, weight decay 1e-4, poly 0.9.
# Published mIoU, six scales and flip: 48.3 (official repository).
_base_ = [
    '../_base_/models/fcn_hrnetv2.py',
    'mmseg::_base_/datasets/pascal_context.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/pascal_context_60k.py',
    '../_base_/models/hrnetv2_w48.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=_base_.hrnetv2.neck,
    decode_head=dict(_base_.hrnetv2.decode_head, num_classes=60),
    data_preprocessor=data_preprocessor,
    test_cfg=dict(mode='slide', crop_size=(480, 480), stride=(320, 320)),
)
