# Facial landmarks on HRNetV2-W18: the 1x1 convolution over the concatenation is in the neck, so
# that mmpose's head has none. `model = _base_.face` takes it.
_base_ = ['./hrnetv2_w18.py', '../schedules/face_paper.py']
face = dict(
    backbone=_base_.hrnetv2.backbone,
    neck=dict(_base_.hrnetv2.neck, _delete_=True),
    head=dict(
        in_channels=270,
        conv_out_channels=None,
        conv_kernel_sizes=None,
        decoder=_base_.paper.codec,
    ),
)
