# Facial landmarks, HRNetV2-W18, WFLW, 256x256, 60 epochs.
# Recipe (Appendix D): Adam 1e-4, drops at 30 and 50, batch 16, sigma 1.5 (official yaml).
# Published NME: 4.60 (paper), 4.06 (mmpose).
_base_ = [
    'mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py',
    '../_base_/models/face_hrnetv2_w18.py',
]
codec = _base_.paper.codec
model = _base_.face
optim_wrapper = _base_.paper.optim_wrapper
auto_scale_lr = _base_.paper.auto_scale_lr
param_scheduler = _base_.paper.param_scheduler
train_pipeline = _base_.paper.train_pipeline
train_dataloader = _base_.paper.train_dataloader
