# Top-down heatmaps, HRNetV1-W48, MPII, 256x256, 210 epochs.
# Recipe (official repository): Adam 1e-3, drops at 170 and 200, rotation 30, scale 0.25.
# Published PCKh@0.5: 90.1 (mmpose).
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_hrnet-w48_8xb64-210e_mpii-256x256.py',
    '../_base_/models/hrnet_w48.py',
    '../_base_/schedules/pose_paper.py',
]
model = _base_.hrnet
optim_wrapper = _base_.paper.optim_wrapper
auto_scale_lr = _base_.paper.auto_scale_lr
augment = _base_.paper.mpii
train_pipeline = [augment if s.type == augment.type else s for s in _base_.train_pipeline]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
