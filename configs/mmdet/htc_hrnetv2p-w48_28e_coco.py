# HTC, HRNetV2p-W48, COCO 2017 with COCO-Stuff maps, 28 epochs.
# Recipe (section 6): shorter side 800, SGD 0.02 for 16 images, ImageNet weights, norm_eval.
# Published box AP / mask AP: 47.0 / 41.0 (paper, Table IX).
_base_ = ['mmdet::htc/htc_r50_fpn_20e_coco.py', '../_base_/models/hrnetv2p_w48.py']
model = _base_.hrnetv2p
train_cfg = dict(max_epochs=28)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=28, by_epoch=True, milestones=[24, 27], gamma=0.1),
]
