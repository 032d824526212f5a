# HRNetV2-W48 with object context (OCR), ADE20K, 512x512, 160k iterations.
# Recipe: mmseg's. Its two heads read the four maps themselves, so that there is no neck.
# Published mIoU, single scale: 44.5 (official repository), 43.25 (mmseg).
_base_ = [
    'mmseg::ocrnet/ocrnet_hr48_4xb4-160k_ade20k-512x512.py',
    '../_base_/models/hrnetv2_w48.py',
]
model = dict(pretrained=None, backbone=_base_.hrnetv2.backbone)
sync_bn = 'torch'
