# HRNetV2-W32, the concatenated representation (15C = 480 channels at 1/4), with bilinear
# upsampling as for segmentation and landmarks; `model = _base_.hrnetv2` takes it for mmseg.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnetv2 = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w32',
        multiscale_output=True,
        upsample='bilinear',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w32'),
    ),
    neck=dict(type='mmhrnet.HRNetV2', in_channels=[32, 64, 128, 256]),
    decode_head=dict(in_channels=480, channels=480),
)
