# HRNetV2-W48, the concatenated representation (15C = 720 channels at 1/4), with bilinear
# upsampling as for segmentation and landmarks; `model = _base_.hrnetv2` takes it for mmseg.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnetv2 = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w48',
        multiscale_output=True,
        upsample='bilinear',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w48'),
    ),
    neck=dict(type='mmhrnet.HRNetV2', in_channels=[48, 96, 192, 384]),
    decode_head=dict(in_channels=720, channels=720),
)
