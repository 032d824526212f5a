# COCO-Stuff 10k (official repository): SGD 0.001, poly 0.9, 110 epochs of 16 images.
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.001, weight_decay=0.0001))
param_scheduler = [dict(_base_.poly, end=62000)]
train_cfg = dict(max_iters=62000, val_interval=6200)
default_hooks = dict(checkpoint=dict(interval=6200))
auto_scale_lr = dict(base_batch_size=16)
