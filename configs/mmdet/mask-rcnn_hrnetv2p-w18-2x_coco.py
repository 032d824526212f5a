# Mask R-CNN, HRNetV2p-W18, COCO 2017, 24 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP / mask AP: 39.2 / 35.3 (paper, Table IX), 39.8 / 36.0 (mmdet).
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py', '../_base_/models/hrnetv2p_w18.py']
model = _base_.hrnetv2p
