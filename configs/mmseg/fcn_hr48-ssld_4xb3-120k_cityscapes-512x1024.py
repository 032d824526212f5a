# HRNetV2-W48, Cityscapes, crop 512x1024, 120k iterations of 12 images: a recipe of today.
# Recipe: that of section 5 from SSLD weights (arXiv 2103.05959), ImageNet top-1 4.3 better.
# No figure is published; with OCR it is 83.2 (official repository) instead of 81.6.
_base_ = ['./fcn_hr48_4xb3-120k_cityscapes-512x1024.py', '../_base_/recipes/ssld.py']
model = dict(backbone=dict(init_cfg=_base_.ssld.w48))
