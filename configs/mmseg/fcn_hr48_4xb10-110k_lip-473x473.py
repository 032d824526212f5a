# HRNetV2-W48, Look Into Person, 473x473, 110k iterations of 40 images.
# Recipe (section 5): SGD 0.007, weight decay 5e-4, poly 0.9.
# Published mIoU with flip: 55.9 (paper), 56.04 (official repository).
_base_ = [
    '../_base_/models/fcn_hrnetv2.py',
    '../_base_/datasets/lip.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/lip_110k.py',
    '../_base_/models/hrnetv2_w48.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=_base_.hrnetv2.neck,
    decode_head=dict(_base_.hrnetv2.decode_head, num_classes=20),
    data_preprocessor=data_preprocessor,
)
