# Top-down heatmaps, HRNetV1-W32, COCO 2017 keypoints, 384x288, 210 epochs.
# Recipe (section 4): Adam 1e-3, drops at 170 and 200, sigma 3 (the paper says 2, the code 3).
# Published AP on val2017: 75.8 (official repository and paper, Table I), 76.0 (mmpose).
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-384x288.py',
    '../_base_/models/hrnet_w32.py',
    '../_base_/schedules/pose_paper.py',
]
model = _base_.hrnet
optim_wrapper = _base_.paper.optim_wrapper
auto_scale_lr = _base_.paper.auto_scale_lr
augment = _base_.paper.coco
train_pipeline = [augment if s.type == augment.type else s for s in _base_.train_pipeline]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
