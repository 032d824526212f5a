# ADE20K (official repository): SGD 0.02, poly 0.9, 120 epochs of 16 images (150k iterations).
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=0.0001))
param_scheduler = [dict(_base_.poly, end=150000)]
train_cfg = dict(max_iters=150000, val_interval=15000)
default_hooks = dict(checkpoint=dict(interval=15000))
auto_scale_lr = dict(base_batch_size=16)
