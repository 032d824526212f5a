# HRNet-W*-C, the ImageNet classifier (Appendix B), for mmpretrain; a config adds the arch.
custom_imports = dict(imports=['mmhrnet'], allow_failed_imports=False)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmhrnet.HRNet'),
    head=dict(
        type='LinearClsHead',
        in_channels=2048,
        num_classes=1000,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
