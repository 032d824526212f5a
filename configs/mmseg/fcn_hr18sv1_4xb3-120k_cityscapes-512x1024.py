# HRNetV2-W18-small-v1, Cityscapes, crop 512x1024, 120k iterations of 12 images.
# Recipe (section 5): scale 0.5 to 2, flip, SGD 0.01, momentum 0.9, weight decay 5e-4, poly 0.9.
# Published mIoU on val, single scale: 70.3 (official repository).
_base_ = [
    '../_base_/models/fcn_hrnetv2.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/cityscapes_120k.py',
    '../_base_/models/hrnetv2_w18_small_v1.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(_base_.hrnetv2, data_preprocessor=data_preprocessor)
train_dataloader = dict(batch_size=3)
