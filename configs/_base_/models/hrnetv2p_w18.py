_base_ = './hrnetv2p_w32.py'
hrnetv2p = dict(
    backbone=dict(arch='w18', init_cfg=dict(checkpoint='open-mmlab://msra/hrnetv2_w18')),
    neck=dict(in_channels=[18, 36, 72, 144]),
)
