# HRNetV2-W48, PASCAL-Context with 59 classes, crop 480x480, 60k iterations of 16 images.
# Recipe (section 5): scale 0.5 to 2, flip, SGD 0.004, weight decay 1e-4, poly 0.9.
# Published mIoU, six scales and flip: 54.0 (paper), 54.1 (official repository).
_base_ = [
    '../_base_/models/fcn_hrnetv2.py',
    'mmseg::_base_/datasets/pascal_context_59.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/pascal_context_60k.py',
    '../_base_/models/hrnetv2_w48.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=_base_.hrnetv2.neck,
    decode_head=dict(_base_.hrnetv2.decode_head, num_classes=59),
    data_preprocessor=data_preprocessor,
    test_cfg=dict(mode='slide', crop_size=(480, 480), stride=(320, 320)),
)
