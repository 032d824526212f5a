# HRNetV2-W48 with object context (OCR), Cityscapes, 512x1024, 160k iterations: a recipe of today.
# Recipe: mmseg's from SSLD weights (arXiv 2103.05959), ImageNet top-1 4.3 better.
# Published mIoU from such weights: 83.2 instead of 81.6 (official repository), by another schedule.
_base_ = ['./ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py', '../_base_/recipes/ssld.py']
model = dict(backbone=dict(init_cfg=_base_.ssld.w48))
