# Cityscapes (section 5): SGD 0.01, poly 0.9, 120k iterations of 12 images (484 epochs).
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=0.0005))
param_scheduler = [dict(_base_.poly, end=120000)]
train_cfg = dict(max_iters=120000, val_interval=12000)
default_hooks = dict(checkpoint=dict(interval=12000))
auto_scale_lr = dict(base_batch_size=12)
