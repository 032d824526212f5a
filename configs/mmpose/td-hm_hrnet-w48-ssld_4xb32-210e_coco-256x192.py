# Top-down heatmaps, HRNetV1-W48, COCO 2017 keypoints, 256x192, 210 epochs: a recipe of today.
# Recipe: that of section 4 from SSLD weights (arXiv 2103.05959), ImageNet top-1 4.3 better.
# No figure is published.
_base_ = ['./td-hm_hrnet-w48_4xb32-210e_coco-256x192.py', '../_base_/recipes/ssld.py']
model = dict(backbone=dict(init_cfg=_base_.ssld.w48))
