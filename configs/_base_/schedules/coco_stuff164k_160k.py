# COCO-Stuff 164k: mmseg's schedule, SGD 0.01, poly 0.9, 160k iterations of 16 images.
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=0.0005))
param_scheduler = [dict(_base_.poly, end=160000)]
train_cfg = dict(max_iters=160000, val_interval=16000)
default_hooks = dict(checkpoint=dict(interval=16000))
auto_scale_lr = dict(base_batch_size=16)
