# HRNetV2-W48 with object context (OCR), ADE20K, 512x512, 160k iterations: a recipe of today.
# Recipe: mmseg's from SSLD weights (arXiv 2103.05959), ImageNet top-1 4.3 better.
# Published mIoU from such weights: 48.0 instead of 44.5 (official repository), by another schedule.
_base_ = ['./ocrnet_hr48_4xb4-160k_ade20k-512x512.py', '../_base_/recipes/ssld.py']
model = dict(backbone=dict(init_cfg=_base_.ssld.w48))
