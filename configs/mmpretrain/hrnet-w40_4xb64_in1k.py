# HRNet-W40-C, ImageNet-1k, 224x224, 100 epochs.
# Recipe (Appendix B): SGD with Nesterov 0.9, 0.1 for 256 images, drops at 30, 60 and 90, 1e-4.
# Published top-1 error: 21.1 (official repository).
_base_ = [
    '../_base_/models/hrnet_c.py',
    'mmpretrain::_base_/datasets/imagenet_bs64_pil_resize.py',
    '../_base_/schedules/in1k_100e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(arch='w40'),
    neck=[
        dict(type='mmhrnet.HRNetC', in_channels=[40, 80, 160, 320]),
        dict(type='GlobalAveragePooling'),
    ],
)
