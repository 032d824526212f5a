# Faster R-CNN, HRNetV2p-W40, COCO 2017, 12 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP: 41.2 (mmdet), 40.4 (official repository).
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/models/hrnetv2p_w40.py']
model = _base_.hrnetv2p
