# HRNetV2-W18, ADE20K, crop 512x512, 150k iterations of 16 images: a recipe of today.
# Recipe: that of section 5 from SSLD weights (arXiv 2103.05959), ImageNet top-1 4.3 better.
# No figure is published.
_base_ = ['./fcn_hr18_4xb4-150k_ade20k-512x512.py', '../_base_/recipes/ssld.py']
model = dict(backbone=dict(init_cfg=_base_.ssld.w18))
