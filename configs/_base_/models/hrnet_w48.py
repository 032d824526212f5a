# HRNetV1-W48, one map at 1/4, for heads of mmpose; `model = _base_.hrnet` takes it.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnet = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w48',
        multiscale_output=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpose/pretrain_models/hrnet_w48-8ef0771d.pth',
        ),
    ),
    head=dict(in_channels=48),
)
