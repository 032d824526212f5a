# Top-down heatmaps, HRNetV1-W32, COCO 2017 keypoints, 256x192, 210 epochs: a recipe of today.
# Recipe: RTMPose's (arXiv 2303.07399): AdamW, averages, flat cosine, two stages of augmentation.
# No figure is published: the paper trains another network with it.
_base_ = ['./td-hm_hrnet-w32_4xb32-210e_coco-256x192.py', '../_base_/recipes/adamw_ema.py']
today = _base_.today
train_cfg = today.train_cfg
optim_wrapper = today.optim_wrapper
param_scheduler = today.param_scheduler
load, crop, finish = _base_.train_pipeline[:4], _base_.train_pipeline[5], _base_.train_pipeline[6:]
train_pipeline = [*load, today.strong.box, crop, today.colour, today.strong.hole, *finish]
calm_pipeline = [*load, today.calm.box, crop, today.colour, today.calm.hole, *finish]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    *_base_.custom_hooks,
    today.average,
    dict(today.calm_down, switch_pipeline=calm_pipeline),
]
