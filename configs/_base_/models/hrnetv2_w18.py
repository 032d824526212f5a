# HRNetV2-W18, the concatenated representation (15C = 270 channels at 1/4), with bilinear
# upsampling as for segmentation and landmarks; `model = _base_.hrnetv2` takes it for mmseg.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnetv2 = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w18',
        multiscale_output=True,
        upsample='bilinear',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18'),
    ),
    neck=dict(type='mmhrnet.HRNetV2', in_channels=[18, 36, 72, 144]),
    decode_head=dict(in_channels=270, channels=270),
)
