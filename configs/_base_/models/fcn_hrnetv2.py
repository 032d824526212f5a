# The linear classifier over HRNetV2: mmseg's FCNHead without convolutions of its own, because
# the neck holds the 1x1 convolution (section 5). The norms are synchronized when distributed.
_base_ = 'mmseg::_base_/models/fcn_hr18.py'
sync_bn = 'torch'
model = dict(
    pretrained=None,
    decode_head=dict(in_index=0, input_transform=None, num_convs=0, norm_cfg=dict(type='BN')),
)
