# PASCAL-Context (section 5): SGD 0.004, poly 0.9, 60k iterations of 16 images (200 epochs).
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.004, weight_decay=0.0001))
param_scheduler = [dict(_base_.poly, end=60000)]
train_cfg = dict(max_iters=60000, val_interval=6000)
default_hooks = dict(checkpoint=dict(interval=6000))
auto_scale_lr = dict(base_batch_size=16)
