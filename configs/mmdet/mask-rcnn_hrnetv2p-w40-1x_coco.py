# Mask R-CNN, HRNetV2p-W40, COCO 2017, 12 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP / mask AP: 42.1 / 37.5 (mmdet).
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '../_base_/models/hrnetv2p_w40.py']
model = _base_.hrnetv2p
