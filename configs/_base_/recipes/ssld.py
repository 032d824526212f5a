# Weights to start from that were distilled from a larger teacher with unlabelled images (SSLD,
# arXiv 2103.05959): ImageNet top-1 of 81.06 for W18 and 83.63 for W48, instead of 76.75 and 79.32
# (mmpretrain). They exist for these two widths.
ssld = dict(
    w18=dict(
        type='Pretrained',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/hrnet/hrnet-w18_3rdparty_8xb32-ssld_in1k_20220120-455f69ea.pth',
    ),
    w48=dict(
        type='Pretrained',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/hrnet/hrnet-w48_3rdparty_8xb32-ssld_in1k_20220120-d0459c38.pth',
    ),
)
