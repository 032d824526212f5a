# Faster R-CNN, HRNetV2p-W40, COCO 2017, 24 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP: 42.1 (mmdet), 41.4 (official repository).
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', '../_base_/models/hrnetv2p_w40.py']
model = _base_.hrnetv2p
