"""mmdet: objects by boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    give_meta,
    naming,
    run_inferencer,
)
from mmhrnet.hosts.mmdet_whole import WHOLE
from mmhrnet.hosts.shrink import add_after_resize, drop_steps, set_classes, steps
from mmhrnet.walk import LOADERS, datasets, dicts

if TYPE_CHECKING:
    import numpy as np
    from mmdet.structures import DetDataSample
    from mmengine.config import Config, ConfigDict
    from mmengine.infer import BaseInferencer
    from mmengine.visualization import Visualizer
    from torch import Tensor, nn

SCALE = (128, 96)  # of a mini training: (width, height) in pixels
SQUARE = (128, 128)  # of its crops, (height, width)
ANCHOR = 16  # side of its smallest anchor in pixels
WIDTH = 128  # channels of its pyramid and heads
PYRAMID = 256  # channels of the published ones
CHANNELS = (
    *('in_channels', 'out_channels', 'feat_channels'),
    *('fc_out_channels', 'conv_out_channels'),
)
CONFIGS = Path(__file__).resolve().parents[1] / '.mim' / 'configs'


def build(cfg: Config, weights: str | None, device: str) -> BaseInferencer:
    from mmdet.apis import DetInferencer

    return naming(DetInferencer)(cfg, weights, device, show_progress=False)


def run(predictor: Predicts, image: np.ndarray) -> DetDataSample:
    sample = run_inferencer(predictor, image)
    sample.pred_instances = sample.pred_instances[sample.pred_instances.scores >= predictor.score]
    return sample


def describe(predictor: Predicts, sample: DetDataSample) -> Found:
    import numpy as np

    instances = sample.pred_instances
    fields = (instances.labels.tolist(), instances.scores.tolist(), instances.bboxes.tolist())
    found: Things = [
        {'label': label, 'class': predictor.name(label), 'score': score, 'bbox': bbox}
        for label, score, bbox in zip(*fields)
    ]
    for thing, mask in zip(found, instances.get('masks', ())):
        thing['mask'] = _encode(np.asarray(mask))
    return found, None


def _encode(mask: np.ndarray) -> dict[str, object]:
    """The run-length code of a mask, (H, W), as in COCO."""
    import numpy as np
    from pycocotools import mask as mask_utils

    code = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(code['size']), 'counts': code['counts'].decode('ascii')}


def enlarge(sample: DetDataSample, factor: float, size: tuple[int, int]) -> DetDataSample:
    import numpy as np
    import torch
    from torch.nn import functional as F

    for key in ('gt_instances', 'pred_instances'):
        if key not in sample:
            continue
        instances = sample.get(key)
        instances.bboxes = instances.bboxes * factor
        if 'masks' in instances:
            masks = torch.as_tensor(np.asarray(getattr(instances.masks, 'masks', instances.masks)))
            scaled = F.interpolate(masks[:, None].float(), size)[:, 0]  # (K, factor H, factor W)
            instances.masks = (scaled > 0).numpy()
    return sample


def use_meta(visualizer: Visualizer, meta: Mapping[str, Any]) -> None:
    classes, palette = meta.get('classes') or (), meta.get('palette')
    if isinstance(palette, list) and len(palette) != len(classes):
        # It is COCO's, whose first colours can hardly be told apart.
        meta = {**meta, 'palette': _colours(len(classes))}
    give_meta(visualizer, meta)
    write = visualizer.draw_texts

    def write_in_one_size(*args: Any, **options: Any) -> Visualizer:
        return write(*args, **{**options, 'font_sizes': None})

    # mmdet's own size jumps with the area of the box. Without one, MMEngine takes the picture's.
    visualizer.draw_texts = write_in_one_size


def _colours(count: int) -> list[tuple[int, ...]]:
    """Colours, RGB, each far from those before it: their hues are a golden section apart."""
    from matplotlib import colormaps

    hues = [0.618 * index % 1 for index in range(count)]
    return [tuple(map(int, colour[:3])) for colour in colormaps['hsv'](hues, bytes=True)]


def draw(
    visualizer: Visualizer, image: np.ndarray, sample: DetDataSample, look: Look
) -> np.ndarray:
    from mmhrnet.hosts.captions import note

    picture = draw_sample(visualizer, image, sample, look, pred_score_thr=look.score)
    if look.truth or (sample.pred_instances.scores > look.score).any():
        return picture
    return note(picture, f'no object with a score above {look.score:g}')


def shrink(cfg: Config, _: Path, embedded: bool) -> None:
    from mmhrnet.datasets import OBJECT_CLASSES, OBJECT_PALETTE

    for step in steps(cfg):
        if step.type in ('Resize', 'RandomResize'):
            step.scale = SCALE
        if step.type == 'RandomChoiceResize':
            step.scales = [SCALE]
        if step.type == 'RandomCrop':
            step.crop_size = SQUARE
    for part in dicts([*steps(cfg), cfg.model]):
        if part.get('type') in ('Pad', 'BatchFixedSizePad') and 'size' in part:
            part.size = SQUARE
    for part in dicts(cfg.model):
        _narrow(part)
    if embedded:
        for dataset in datasets(cfg):
            dataset.metainfo = dict(classes=OBJECT_CLASSES, palette=[*OBJECT_PALETTE])
        set_classes(cfg.model, len(OBJECT_CLASSES))
    else:  # four of five objects of COCO are now smaller than any anchor: nothing to learn from
        drop_steps(cfg, 'RandomFlip')
        large = dict(type='FilterAnnotations', min_gt_bbox_wh=(ANCHOR, ANCHOR))
        add_after_resize(cfg, LOADERS[:1], large)


def _narrow(part: ConfigDict) -> None:
    for key in CHANNELS:
        if part.get(key) in (256, 1024):  # the widths of a pyramid and its heads
            part[key] = WIDTH
    if 'reg_class_agnostic' in part:
        part.reg_class_agnostic = True
    if 'nms_pre' in part:
        part.update(nms_pre=200, max_per_img=100)
    if part.get('type') == 'FCNMaskHead':
        part.class_agnostic = True
    if part.get('type') == 'RandomSampler':
        part.update(num=128 if part.add_gt_as_proposals else 64, pos_fraction=0.5)
    if part.get('type') == 'AnchorGenerator':
        part.scales = [ANCHOR // 4]  # in steps of the finest map


def our_pyramid(arch: str) -> list[nn.Module]:
    from mmhrnet.models import HRNet, HRNetV2p

    backbone = HRNet(arch)
    return [backbone, HRNetV2p(backbone.out_channels, PYRAMID)]


def their_pyramid(arch: str) -> list[nn.Module]:
    from mmdet.models.backbones import HRNet
    from mmdet.models.necks import HRFPN

    from mmhrnet.models.archs import as_extra, resolve_stages

    channels = resolve_stages(arch)[-1].out_channels
    return [HRNet(extra=as_extra(arch), norm_eval=False), HRFPN(list(channels), PYRAMID)]


def our_losses(arch: str) -> list[nn.Module]:
    return [_losses(_faster_rcnn(arch))]


def their_losses(arch: str) -> list[nn.Module]:
    from mmhrnet.models.archs import as_extra

    cfg = deepcopy(_faster_rcnn(arch))
    cfg.backbone = dict(type='HRNet', extra=as_extra(arch), norm_eval=False)
    cfg.neck.type = 'HRFPN'
    return [_losses(cfg)]


def _faster_rcnn(arch: str) -> ConfigDict:
    from mmengine.config import Config

    cfg = Config.fromfile(CONFIGS / 'mmdet' / f'faster_rcnn_hrnetv2p_{arch}.py').model
    cfg.backbone.update(init_cfg=None, norm_eval=False)
    return cfg


def _losses(cfg: ConfigDict) -> nn.Module:
    """A whole training iteration of a detector except the optimizer, on random boxes."""
    import torch
    from mmengine.registry import MODELS, init_default_scope
    from torch import nn

    class DetectorLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            init_default_scope('mmdet')
            self.detector = MODELS.build(cfg)

        def forward(self, images: Tensor) -> tuple[Tensor]:
            torch.manual_seed(0)  # the same samples for every contestant
            samples = [_boxes(images) for _ in images]
            return (self.detector.parse_losses(self.detector.loss(images, samples))[0],)

    return DetectorLoss()


def _boxes(images: Tensor, count: int = 8) -> DetDataSample:
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    height, width = images.shape[2:]
    size = torch.tensor([width, height, width, height])
    corner = torch.rand(count, 2)
    boxes = torch.cat([corner * 0.5, corner * 0.5 + 0.1 + torch.rand(count, 2) * 0.4], 1) * size
    instances = InstanceData(
        bboxes=boxes.to(images.device), labels=torch.arange(count, device=images.device)
    )
    meta = dict(img_shape=(height, width), pad_shape=(height, width), scale_factor=(1.0, 1.0))
    return DetDataSample(gt_instances=instances, metainfo=meta)


HOST = Host(
    name='mmdet',
    task='detection',
    task_name='Object Detection',
    title='Detection (mmdet, COCO val2017, 800x1333)',
    pipeline_tag='object-detection',
    hub_data={'CocoDataset': 'detection-datasets/coco'},
    distribution='mmdet',
    floor='3.2.0',
    fork='onedl-mmdetection',
    network=dict(norm_eval=True),
    input_size=(800, 1333),
    input_steps={'Resize': 'scale'},
    has_tensor_head=lambda _: False,
    metrics={'coco/bbox_mAP': Metric('box AP', 100), 'coco/segm_mAP': Metric('mask AP', 100)},
    data={'CocoDataset': 'boxes'},
    class_metric=ClassMetric('AP', 'coco/(.+)_precision'),  # of masks, if there are any
    class_reports={'CocoMetric': dict(classwise=True)},
    mini=Recipe(shrink, iterations=360, batch=4, lr=1e-3),
    visualizer='DetLocalVisualizer',
    build=build,
    run=run,
    describe=describe,
    has_boxes=True,
    shown_score=0.5,  # between 0.3 and this, four of five boxes of the mini training are wrong
    enlarge=enlarge,
    use_meta=use_meta,
    draw=draw,
    whole=WHOLE,
    benchmarks={
        'det': Comparison(
            'HRNetV2p, backbone and pyramid',
            (800, 1344),
            our_pyramid,
            their_pyramid,
            neck_alone=True,
        ),
        'faster-rcnn': Comparison(
            'Faster R-CNN, the losses of whole iterations',
            (800, 1344),
            our_losses,
            their_losses,
            only_training=True,
        ),
    },
)
