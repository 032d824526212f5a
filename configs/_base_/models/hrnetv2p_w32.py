# HRNetV2p-W32 as the backbone and neck of a detector; `model = _base_.hrnetv2p` takes it.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnetv2p = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w32',
        norm_eval=True,  # as mmdet trains it: the statistics are those of ImageNet
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w32'),
    ),
    neck=dict(
        _delete_=True,
        type='mmhrnet.HRNetV2p',
        in_channels=[32, 64, 128, 256],
        out_channels=256,
    ),
)
