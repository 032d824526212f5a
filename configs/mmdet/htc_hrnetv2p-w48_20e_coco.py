# HTC, HRNetV2p-W48, COCO 2017 with COCO-Stuff maps, 20 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP / mask AP: 46.8 / 40.7 (paper, Table IX).
_base_ = ['mmdet::htc/htc_r50_fpn_20e_coco.py', '../_base_/models/hrnetv2p_w48.py']
model = _base_.hrnetv2p
