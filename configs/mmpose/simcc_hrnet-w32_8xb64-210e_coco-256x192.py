# SimCC, HRNetV1-W32, COCO 2017 keypoints, 256x192, 210 epochs.
# Recipe: mmpose's of SimCC with ResNet-50; the head reads the map at 1/4.
# No figure is published for mmpose: nobody ships SimCC on HRNet.
_base_ = [
    'mmpose::body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py',
    '../_base_/models/hrnet_w32.py',
]
model = dict(
    backbone=_base_.hrnet.backbone,
    head=dict(in_channels=32, in_featuremap_size=(48, 64), deconv_out_channels=None),
)
