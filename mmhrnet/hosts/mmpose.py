"""mmpose: the joints of persons, and facial landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.errors import ConfigError
from mmhrnet.hosts.host import (
    Comparison,
    Found,
    Host,
    Look,
    Metric,
    Predicts,
    Recipe,
    draw_sample,
    give_meta,
)
from mmhrnet.hosts.mmpose_whole import WHOLE
from mmhrnet.hosts.shrink import drop_steps
from mmhrnet.walk import LOADERS, dicts

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.infer import BaseInferencer
    from mmengine.structures import InstanceData
    from mmengine.visualization import Visualizer
    from mmpose.structures import PoseDataSample
    from torch import nn

PERSON = 'person'
OVERLAP = 0.3  # of two boxes that are the same person, as in mmpose's demo
SIZE = (96, 128)  # of a mini training: (width, height) in pixels
FIELDS = {  # of the instances, with their names in plain data
    'keypoints': 'keypoints',
    'keypoint_scores': 'keypoint_scores',
    'bboxes': 'bbox',
    'bbox_scores': 'bbox_score',
}


def build(cfg: Config, weights: str | None, device: str) -> BaseInferencer:
    from mmpose.apis.inferencers import Pose2DInferencer

    inferencer = Pose2DInferencer(cfg, weights, device, det_model='whole_image')
    inferencer.model.test_cfg['output_heatmaps'] = True
    return inferencer


def run(predictor: Predicts, image: np.ndarray) -> PoseDataSample:
    import numpy as np
    from mmpose.apis import inference_bottomup, inference_topdown
    from mmpose.evaluation.functional import nms

    if predictor.cfg.get('data_mode') != 'topdown':
        return merge(inference_bottomup(predictor.model, image)).cpu()
    if predictor.detector is None:
        return merge(inference_topdown(predictor.model, image)).cpu()
    persons = [found for found in predictor.detector(image).found if found['class'] == PERSON]
    if not persons:
        return _nobody(predictor.model, image)
    boxes = np.array([person['bbox'] for person in persons], dtype=np.float32)
    scores = np.array([person['score'] for person in persons])
    kept = nms(np.column_stack([boxes, scores]), OVERLAP)
    sample = merge(inference_topdown(predictor.model, image, boxes[kept])).cpu()
    sample.pred_instances.bbox_scores = scores[kept]
    return sample


def _nobody(model: nn.Module, image: np.ndarray) -> PoseDataSample:
    """An empty result in the form of the others: the pictures of a video must have one size."""
    import torch
    from mmengine.structures import InstanceData, PixelData
    from mmpose.models.heads import HeatmapHead
    from mmpose.structures import PoseDataSample

    sample = PoseDataSample(pred_instances=InstanceData())
    if isinstance(model.head, HeatmapHead):
        sample.pred_fields = PixelData(heatmaps=torch.zeros(1, *image.shape[:2]))
    return sample


def merge(samples: Sequence[PoseDataSample]) -> PoseDataSample:
    from mmpose.structures import merge_data_samples

    return merge_data_samples(list(samples))


def describe(_: Predicts, sample: PoseDataSample) -> Found:
    import numpy as np

    instances = sample.pred_instances
    fields = {old: new for old, new in FIELDS.items() if old in instances}
    return [
        {new: np.asarray(instances[old][i]).tolist() for old, new in fields.items()}
        for i in range(len(instances))
    ], None


def enlarge(sample: PoseDataSample, factor: float, size: tuple[int, int]) -> PoseDataSample:
    import torch
    from mmengine.structures import PixelData
    from torch.nn import functional as F

    for key in ('gt_instances', 'pred_instances'):
        instances = sample.get(key, {})
        for field in ('keypoints', 'transformed_keypoints', 'bboxes'):
            if field in instances:
                instances.set_field(instances[field] * factor, field)
    for key in ('gt_fields', 'pred_fields'):
        if 'heatmaps' in sample.get(key, {}):  # the visualizer draws the maximum over the joints
            heat = torch.as_tensor(sample.get(key).heatmaps).amax(0)[None, None]
            heat = F.interpolate(heat, size, mode='bilinear')[0]  # (1, factor H, factor W)
            setattr(sample, key, PixelData(heatmaps=heat))
    return sample


def use_meta(visualizer: Visualizer, meta: Mapping[str, object]) -> None:
    visualizer.set_dataset_meta(meta)  # it keeps the colours of the skeleton elsewhere
    give_meta(visualizer, meta)


def draw(
    visualizer: Visualizer, image: np.ndarray, sample: PoseDataSample, look: Look
) -> np.ndarray:
    from mmhrnet.hosts.captions import note

    key = 'gt_instances' if look.truth else 'pred_instances'
    persons = sample.get(key, {})
    if 'bbox_scores' in persons:
        persons = persons[persons.bbox_scores >= look.score]
        sample.set_field(persons, key, dtype=type(persons))
    boxes = not look.truth or _has_boxes(persons)
    options = dict(draw_heatmap=look.heatmaps, draw_bbox=boxes, kpt_thr=look.score)
    picture = draw_sample(visualizer, image, sample, look, **options)
    return picture if len(persons) else note(picture, 'no person found')


def _has_boxes(persons: InstanceData) -> bool:
    """Whether there are boxes, (K, 4), in the same pixels as the joints."""
    boxes = persons.get('bboxes')
    return 'transformed_keypoints' not in persons and boxes is not None and boxes.ndim == 2


def shrink(cfg: Config, _: Path, embedded: bool) -> None:
    codec = cfg.get('codec') or {}
    own_data = embedded and cfg.get('dataset_type') != 'CocoDataset'
    if own_data or codec.get('type') != 'MSRAHeatmap':
        raise ConfigError(
            '--mini supports top-down heatmaps of COCO keypoints (td-hm_hrnet-*_coco-*), and of '
            f'other data with --data-root; this config has {cfg.get("dataset_type")} with '
            f'{codec.get("type")}'
        )
    drop_steps(cfg, 'RandomHalfBody', 'RandomBBoxTransform')
    width, height = SIZE
    sizes = dict(input_size=SIZE, heatmap_size=(width // 4, height // 4), sigma=1.5)
    for part in dicts([cfg.model, codec, *(cfg[name] for name in LOADERS)]):
        if part.get('type') == codec['type']:
            part.update(sizes)
        if part.get('type') == 'TopdownAffine':
            part.input_size = SIZE
        if 'bbox_file' in part:  # take the annotated persons, not those that a detector found
            part.bbox_file = None
    cfg.model.test_cfg.flip_test = False


def _is_topdown(cfg: Config) -> bool:
    return 'Bottomup' not in cfg.model.type


def our_backbone(arch: str) -> list[nn.Module]:
    from mmhrnet.models import HRNet

    return [HRNet(arch, multiscale_output=False)]


def their_backbone(arch: str) -> list[nn.Module]:
    from mmpose.models.backbones import HRNet

    from mmhrnet.models.archs import as_extra

    return [HRNet(extra=as_extra(arch))]


HOST = Host(
    name='mmpose',
    task='pose',
    task_name='2D Keypoint',
    title='Pose and facial landmarks (mmpose)',
    pipeline_tag='keypoint-detection',
    distribution='mmpose',
    floor='1.2.0',
    # It requires chumpy, which pip cannot build and nothing imports.
    install='pip install json_tricks munkres scipy && pip install --no-deps mmpose',
    network=dict(
        multiscale_output=False,
        init_cfg=[
            dict(type='Normal', std=0.001, layer=['Conv2d']),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ],
    ),
    switches_in_extra=True,
    input_size=(256, 192),
    input_steps={'TopdownAffine': 'input_size', 'BottomupResize': 'input_size'},
    fixed_size=_is_topdown,
    has_tensor_head=_is_topdown,
    metrics={
        'coco/AP': Metric('AP', percent=100),
        'PCK': Metric('PCKh', 0.01, percent=100),
        'NME': Metric('NME', 100, less_is_better=True),
    },
    data={
        'CocoDataset': 'joints',
        'AFLWDataset': 'joints',
        'COFWDataset': 'joints',
        'Face300WDataset': 'joints',
        'WFLWDataset': 'joints',
    },
    mini=Recipe(shrink, iterations=400, batch=16, lr=2e-3),
    visualizer='PoseLocalVisualizer',
    build=build,
    run=run,
    describe=describe,
    has_boxes=True,
    detectors='mmdet',
    enlarge=enlarge,
    use_meta=use_meta,
    merge=merge,
    draw=draw,
    whole=WHOLE,
    benchmarks={
        'pose': Comparison(
            'HRNetV1, the backbone of pose estimators', (256, 192), our_backbone, their_backbone
        )
    },
)
