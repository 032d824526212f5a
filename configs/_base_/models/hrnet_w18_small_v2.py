# HRNetV1-W18-small-v2, one map at 1/4, for heads of mmpose; `model = _base_.hrnet` takes it.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnet = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w18_small_v2',
        multiscale_output=False,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18_small'),
    ),
    head=dict(in_channels=18),
)
