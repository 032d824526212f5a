# Cascade R-CNN, HRNetV2p-W32, COCO 2017, 20 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP: 43.7 (paper, Table VIII), 43.3 (mmdet).
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_20e_coco.py',
    '../_base_/models/hrnetv2p_w32.py',
]
model = _base_.hrnetv2p
