# Faster R-CNN, HRNetV2p-W48, COCO 2017, 24 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP: 41.8 (paper, Table VIII), 41.5 (official repository).
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', '../_base_/models/hrnetv2p_w48.py']
model = _base_.hrnetv2p
