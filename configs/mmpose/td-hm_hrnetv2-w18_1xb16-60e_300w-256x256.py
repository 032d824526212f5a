# Facial landmarks, HRNetV2-W18, 300W, 256x256, 60 epochs.
# Recipe (Appendix D): Adam 1e-4, drops at 30 and 50, batch 16, sigma 1.5 (official yaml).
# Published NME: 3.32 (paper), 3.45 (mmpose).
_base_ = [
    'mmpose::face_2d_keypoint/topdown_heatmap/300w/td-hm_hrnetv2-w18_8xb64-60e_300w-256x256.py',
    '../_base_/models/hrnetv2_w18.py',
    '../_base_/schedules/face_paper.py',
]
codec = dict(_base_.codec, sigma=_base_.paper.sigma)
# The 1x1 convolution over the concatenation is in the neck, so the head has none.
model = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=dict(_base_.hrnetv2.neck, _delete_=True),
    head=dict(in_channels=270, conv_out_channels=None, conv_kernel_sizes=None, decoder=codec),
)
optim_wrapper = _base_.paper.optim_wrapper
auto_scale_lr = _base_.paper.auto_scale_lr
param_scheduler = _base_.paper.param_scheduler
augment = _base_.paper.face
train_pipeline = [augment if s.type == augment.type else s for s in _base_.train_pipeline]
train_pipeline = [
    dict(s, encoder=codec) if s.type == 'GenerateTarget' else s for s in train_pipeline
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
