# HRNetV2-W18-small-v1, the concatenated representation (15C = 240 channels at 1/4), with bilinear
# upsampling as for segmentation and landmarks; `model = _base_.hrnetv2` takes it for mmseg.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
hrnetv2 = dict(
    backbone=dict(
        _delete_=True,
        type='mmhrnet.HRNet',
        arch='w18_small_v1',
        multiscale_output=True,
        upsample='bilinear',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-hrnet/'
            'hrnet_w18_small_v1-f460c6bc.pth',
        ),
    ),
    neck=dict(type='mmhrnet.HRNetV2', in_channels=[16, 32, 64, 128]),
    decode_head=dict(in_channels=240, channels=240),
)
