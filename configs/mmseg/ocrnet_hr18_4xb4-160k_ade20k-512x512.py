# HRNetV2-W18 with object context (OCR), ADE20K, 512x512, 160k iterations.
# Recipe: mmseg's. Its two heads read the four maps themselves, so that there is no neck.
# Published mIoU, single scale: 39.32 (mmseg).
_base_ = [
    'mmseg::ocrnet/ocrnet_hr18_4xb4-160k_ade20k-512x512.py',
    '../_base_/models/hrnetv2_w18.py',
]
model = dict(pretrained=None, backbone=_base_.hrnetv2.backbone)
sync_bn = 'torch'
