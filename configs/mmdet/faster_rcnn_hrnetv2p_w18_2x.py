# Faster R-CNN, HRNetV2p-W18, COCO 2017, 24 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP: 38.0 (paper, Table VIII), 38.9 (mmdet), 38.1 (official repository).
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', '../_base_/models/hrnetv2p_w18.py']
model = _base_.hrnetv2p
