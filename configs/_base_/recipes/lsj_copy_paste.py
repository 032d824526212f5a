# Large-scale jitter (0.1 to 2 times the size) and objects pasted from other images (arXiv
# 2012.07177), for 90k iterations of 64 images. mmdet has published what pasting gives Mask R-CNN
# with R50, beside the smaller jitter that it ships: 43.3 to 43.8 box AP and 39.0 to 39.2 mask AP in
# 90k iterations, 43.5 to 45.1 and 39.1 to 40.3 in 270k. Nobody has for HRNet.
_base_ = 'mmdet::common/ssj_scp_270k_coco-instance.py'
iterations = 90_000
large = dict(ratio_range=(0.1, 2.0))
load_pipeline = [dict(s, **large) if s.type == 'RandomResize' else s for s in _base_.load_pipeline]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=load_pipeline)))
train_cfg = dict(max_iters=iterations)
warm_up, drops = _base_.param_scheduler
param_scheduler = [warm_up, dict(drops, end=iterations, milestones=[81_000, 85_500, 87_750])]
padded = dict(
    batch_augments=[dict(type='BatchFixedSizePad', size=_base_.image_size, pad_mask=True)]
)
