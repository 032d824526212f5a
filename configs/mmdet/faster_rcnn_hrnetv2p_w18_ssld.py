# Faster R-CNN, HRNetV2p-W18, COCO 2017, 12 epochs: a recipe of today.
# Recipe: that of section 6 from SSLD weights (arXiv 2103.05959), ImageNet top-1 4.3 better.
# No figure is published.
_base_ = ['./faster_rcnn_hrnetv2p_w18.py', '../_base_/recipes/ssld.py']
model = dict(backbone=dict(init_cfg=_base_.ssld.w18))
