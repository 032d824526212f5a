# LIP (section 5): SGD 0.007, poly 0.9, 110k iterations of 40 images (150 epochs).
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.007, weight_decay=0.0005))
param_scheduler = [dict(_base_.poly, end=110000)]
train_cfg = dict(max_iters=110000, val_interval=11000)
default_hooks = dict(checkpoint=dict(interval=11000))
auto_scale_lr = dict(base_batch_size=40)
