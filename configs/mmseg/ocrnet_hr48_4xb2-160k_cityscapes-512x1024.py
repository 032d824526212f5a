# HRNetV2-W48 with object context (OCR), Cityscapes, 512x1024, 160k iterations.
# Recipe: mmseg's. Its two heads read the four maps themselves, so that there is no neck.
# Published mIoU, single scale: 81.6 (paper, Table III), 81.35 (mmseg).
_base_ = [
    'mmseg::ocrnet/ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py',
    '../_base_/models/hrnetv2_w48.py',
]
model = dict(pretrained=None, backbone=_base_.hrnetv2.backbone)
sync_bn = 'torch'
