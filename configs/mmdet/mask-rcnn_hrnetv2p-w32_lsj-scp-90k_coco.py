# Mask R-CNN, HRNetV2p-W32, COCO 2017, 90k iterations of 64 images: a recipe of today.
# Recipe: large-scale jitter and copy-paste (arXiv 2012.07177), ImageNet weights, norm_eval.
# No figure is published.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/recipes/lsj_copy_paste.py',
    '../_base_/models/hrnetv2p_w32.py',
]
model = dict(_base_.hrnetv2p, data_preprocessor=_base_.padded)
