"""mmseg: a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.hosts.host import (
    ClassMetric,
    Comparison,
    Found,
    Host,
    Look,
    Metric,
    Predicts,
    Recipe,
    Things,
    draw_sample,
    naming,
)
from mmhrnet.hosts.mmseg_whole import WHOLE
from mmhrnet.hosts.shrink import SPLITS, add_after_resize, drop_steps, pipeline, set_classes, steps
from mmhrnet.walk import LOADERS, dicts

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.infer import BaseInferencer
    from mmengine.structures import PixelData
    from mmengine.visualization import Visualizer
    from mmseg.structures import SegDataSample
    from torch import Tensor, nn

DIVISOR = 4  # of scales and crops in a mini training
LEGEND = 20  # classes that a legend has room for


def build(cfg: Config, weights: str | None, device: str) -> BaseInferencer:
    from mmseg.apis import MMSegInferencer

    return naming(MMSegInferencer)(cfg, weights, device=device)


def describe(predictor: Predicts, sample: SegDataSample) -> Found:
    import numpy as np

    labels = sample.pred_sem_seg.data[0].numpy().astype(np.uint8)  # (H, W)
    counts = np.bincount(labels.ravel())
    found: Things = [
        {'label': int(label), 'class': predictor.name(label), 'share': counts[label] / labels.size}
        for label in np.argsort(-counts, kind='stable')
        if counts[label]
    ]
    return found, labels


def enlarge(sample: SegDataSample, _: float, size: tuple[int, int]) -> SegDataSample:
    from torch.nn import functional as F

    for key in ('gt_sem_seg', 'pred_sem_seg'):
        if key in sample:
            labels = sample.get(key).data  # (1, H, W)
            scaled = F.interpolate(labels[None].float(), size)[0].long()
            sample.set_field(type(sample.get(key))(data=scaled), key)
    return sample


def draw(
    visualizer: Visualizer, image: np.ndarray, sample: SegDataSample, look: Look
) -> np.ndarray:
    from mmhrnet.hosts.captions import legend

    writes_names = 'with_labels' in signature(visualizer.add_datasample).parameters  # from 1.2.2
    options = dict(with_labels=False) if writes_names else {}
    picture = draw_sample(visualizer, image, sample, look, **options)
    meta = visualizer.dataset_meta
    entries = list(zip(meta['classes'], meta['palette']))
    shown: Sequence[int] = range(len(entries))
    if len(entries) > LEGEND:
        shown = _largest(sample.gt_sem_seg if look.truth else sample.pred_sem_seg, len(entries))
    longest = max(map(len, meta['classes']))
    return legend(picture, [entries[i] for i in shown], longest, min(LEGEND, len(entries)))


def _largest(labels: PixelData, count: int) -> Sequence[int]:
    """The classes that cover most of the image, largest first."""
    import numpy as np

    areas = np.bincount(labels.data.numpy().ravel(), minlength=count)[:count]
    return [label for label in np.argsort(-areas, kind='stable')[:LEGEND] if areas[label]]


def shrink(cfg: Config, root: Path, embedded: bool) -> None:
    from mmhrnet.datasets import SEMANTIC_CLASSES, SEMANTIC_PALETTE

    drop_steps(cfg, 'PhotoMetricDistortion')
    for part in (*steps(cfg), *dicts([cfg.model, cfg.get('data_preprocessor')]), cfg):
        if part.get('type') == 'RandomResize':
            part.ratio_range = (0.8, 1.25)
        for key in ('scale', 'crop_size', 'size', 'stride'):
            if isinstance(part.get(key), (tuple, list)):
                part[key] = tuple(side // DIVISOR for side in part[key])
    # Small maps of odd sizes are visibly displaced by upsampling.
    add_after_resize(cfg, LOADERS[1:], dict(type='ResizeToMultiple', size_divisor=32))
    if not embedded:
        return
    meta = dict(classes=SEMANTIC_CLASSES, palette=SEMANTIC_PALETTE)
    for name, split in SPLITS.items():
        cfg[name].dataset = dict(
            type='BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path=f'{split}2017', seg_map_path=f'semantic/{split}2017'),
            metainfo=meta,
            pipeline=pipeline(cfg[name].dataset),
        )
    for step in steps(cfg):
        if 'reduce_zero_label' in step:
            step.reduce_zero_label = False
    set_classes(cfg.model, len(SEMANTIC_CLASSES))


def our_concatenation(arch: str) -> list[nn.Module]:
    from mmhrnet.models import HRNet, HRNetV2

    backbone = HRNet(arch, upsample='bilinear')
    return [backbone, HRNetV2(backbone.out_channels)]


def their_concatenation(arch: str) -> list[nn.Module]:
    from mmseg.models.backbones import HRNet
    from mmseg.models.decode_heads import FCNHead

    from mmhrnet.models.archs import as_extra, resolve_stages

    class Concatenation(FCNHead):
        """The head without its classifier; its convolution has the name that ours has."""

        def __init__(self, channels: Sequence[int]) -> None:
            super().__init__(
                in_channels=list(channels),
                in_index=tuple(range(len(channels))),
                input_transform='resize_concat',
                channels=sum(channels),
                kernel_size=1,
                num_convs=1,
                concat_input=False,
                dropout_ratio=0,
                num_classes=2,
                norm_cfg=dict(type='BN'),
                align_corners=False,
            )
            self.conv = self.convs[0]
            del self.convs, self.conv_seg

        def forward(self, xs: Sequence[Tensor]) -> tuple[Tensor]:
            return (self.conv(self._transform_inputs(xs)),)

    channels = resolve_stages(arch)[-1].out_channels
    return [HRNet(extra=as_extra(arch)), Concatenation(channels)]


HOST = Host(
    name='mmseg',
    task='segmentation',
    task_name='Semantic Segmentation',
    title='Segmentation (mmseg)',
    pipeline_tag='image-segmentation',
    hub_data={'ADE20KDataset': 'zhoubolei/scene_parse_150'},
    distribution='mmsegmentation',
    floor='1.2.1',
    fork='onedl-mmsegmentation',
    network=dict(upsample='bilinear'),
    input_size=(512, 1024),
    input_steps={'RandomCrop': 'crop_size', 'SegDataPreProcessor': 'size'},
    input_loader='train_dataloader',  # a test takes whole images
    metrics={'mIoU': Metric('mIoU', hub='mean_iou')},
    class_metric=ClassMetric('IoU', 'IoU/(.+)'),
    class_reports={'IoUMetric': dict(type='mmhrnet.ClassIoU')},
    best_metric='mIoU',
    data={
        'ADE20KDataset': 'maps',
        'BaseSegDataset': 'maps',
        'CityscapesDataset': 'maps',
        'COCOStuffDataset': 'maps',
        'LIPDataset': 'maps',
        'PascalContextDataset': 'maps',
        'PascalContextDataset59': 'maps',
    },
    mini=Recipe(shrink, iterations=240, batch=8, lr=2e-3),
    visualizer='SegLocalVisualizer',
    build=build,
    describe=describe,
    enlarge=enlarge,
    draw=draw,
    whole=WHOLE,
    benchmarks={
        'seg': Comparison(
            'HRNetV2, backbone and concatenated representation',
            (512, 1024),
            our_concatenation,
            their_concatenation,
            neck_alone=True,
        )
    },
)
