# Cascade R-CNN, HRNetV2p-W48, COCO 2017, 20 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP: 44.6 (paper, Table VIII).
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_20e_coco.py',
    '../_base_/models/hrnetv2p_w48.py',
]
model = _base_.hrnetv2p
