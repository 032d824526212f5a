# HTC, HRNetV2p-W40, COCO 2017 with COCO-Stuff maps, 20 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP / mask AP: 46.4 / 40.8 (mmdet).
_base_ = ['mmdet::htc/htc_r50_fpn_20e_coco.py', '../_base_/models/hrnetv2p_w40.py']
model = _base_.hrnetv2p
