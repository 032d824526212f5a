"""Whole detectors: from a picture to boxes, and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmhrnet.errors import ConfigError
from mmhrnet.hosts.whole import Decoder, Outputs, Step, Whole

if TYPE_CHECKING:
    from mmdet.models.detectors import BaseDetector
    from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    from torch import Tensor, nn


def describe(model: BaseDetector, meta: Mapping[str, Any]) -> dict[str, object]:
    import numpy as np

    masks = _parts(getattr(model, 'roi_head', None), 'mask_head')
    return {
        'classes': list(meta.get('classes') or ()),
        'palette': np.asarray(meta.get('palette') or []).tolist(),
        **({'mask_threshold': model.roi_head.test_cfg.mask_thr_binary} if masks else {}),
    }


def decoder(model: BaseDetector) -> Decoder:
    """The selection of boxes, for heads that predict as mmdet's base classes do.

    Raises:
        ConfigError: A head with a prediction of its own, or soft suppression.
    """
    from mmdet.models.dense_heads import CenterNetHead, RPNHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    if hasattr(model, 'roi_head'):
        _check(model.rpn_head, '_predict_by_feat_single', RPNHead)
        _check_roi_head(model.roi_head)
        tests = model.test_cfg
        _check_tests(tests.rpn, 'nms_pre', 'max_per_img')
        _check_tests(tests.rcnn, 'max_per_img')
        heads = dict(rpn_head=model.rpn_head, roi_head=model.roi_head)
        return Decoder('two_stage', dict(heads, proposals=tests.rpn, options=tests.rcnn))
    head = model.bbox_head
    options = dict(head=head, options=head.test_cfg)
    if type(head) is CenterNetHead:
        return Decoder('center_net', options)
    _check(head, '_predict_by_feat_single', BaseDenseHead)
    _check_tests(head.test_cfg, 'nms_pre', 'max_per_img')
    return Decoder('one_stage', options)


def _check(head: nn.Module, method: str, *known: type[nn.Module]) -> None:
    if getattr(type(head), method) not in [getattr(kind, method) for kind in known]:
        raise ConfigError(
            f'A whole detector is written for parts that predict as '
            f'{" or ".join(kind.__name__ for kind in known)}, not for {type(head).__name__}: '
            'export --features'
        )


def _check_roi_head(roi_head: BaseRoIHead) -> None:
    from mmdet.models.roi_heads import CascadeRoIHead, HybridTaskCascadeRoIHead, StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    _check(roi_head, 'predict_bbox', StandardRoIHead, CascadeRoIHead)
    _check(roi_head, 'predict_mask', StandardRoIHead, CascadeRoIHead, HybridTaskCascadeRoIHead)
    for name, kind, method in (
        ('bbox_head', BBoxHead, '_predict_by_feat_single'),
        ('mask_head', FCNMaskHead, '_predict_by_feat_single'),
        ('bbox_roi_extractor', SingleRoIExtractor, 'forward'),
        ('mask_roi_extractor', SingleRoIExtractor, 'forward'),
    ):
        for part in _parts(roi_head, name):
            _check(part, method, kind)
    if any(head.custom_cls_channels for head in _parts(roi_head, 'bbox_head')):
        raise ConfigError('A whole detector is not written for class channels of a loss of its own')


def _parts(roi_head: BaseRoIHead, name: str) -> list[Any]:
    """One of each stage of a cascade; none if it is not there."""
    from torch import nn

    part = getattr(roi_head, name, None)
    if part is None:
        return []
    return [*part] if isinstance(part, nn.ModuleList) else [part]


def _check_tests(options: Mapping[str, Any], *numbers: str) -> None:
    """Raises a ConfigError for a ``test_cfg`` of another suppression, or of any number of boxes."""
    given = dict(type='nms') | dict(options['nms'])
    if given['type'] != 'nms' or given.keys() - {'type', 'iou_threshold'}:
        raise ConfigError(
            f'A whole detector is written for nms=dict(type="nms", iou_threshold=...), not for '
            f'{dict(given)}: set it with --cfg-options, or export --features'
        )
    for name in numbers:
        if options.get(name, -1) <= 0:
            raise ConfigError(
                f'A whole detector needs a positive {name} in its test_cfg: set it with '
                '--cfg-options, or export --features'
            )


def predict(model: BaseDetector, images: Tensor) -> Outputs:
    """Boxes, scores and labels, filled up with zeros, and the masks before they are pasted."""
    import torch
    from mmdet.structures import DetDataSample

    size = tuple(images.shape[1:3])
    meta = dict(ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0), border=[0.0] * 4)
    heads = _parts(getattr(model, 'roi_head', None), 'mask_head')
    for head in heads:
        head._predict_by_feat_single = _keep_small
    try:
        samples = model.test_step(
            dict(
                inputs=list(images.flip(-1).permute(0, 3, 1, 2)),
                data_samples=[DetDataSample(metainfo=meta) for _ in images],
            )
        )
    finally:
        for head in heads:
            del head._predict_by_feat_single
    found = [sample.pred_instances for sample in samples]
    names = dict(boxes='bboxes', scores='scores', labels='labels')
    if heads and any(map(len, found)):
        side = max((one.masks for one in found), key=len).shape[1:]
        for one in found:
            one.masks = one.masks if len(one) else one.bboxes.new_zeros(0, *side)
        names['masks'] = 'masks'
    count = _count(model)
    return {
        own: torch.stack([_fill_up(one[name], count) for one in found])
        for own, name in names.items()
    }


def _count(model: BaseDetector) -> int:
    """The largest number of objects in a picture."""
    tests = model.roi_head.test_cfg if hasattr(model, 'roi_head') else model.bbox_head.test_cfg
    return int(tests.get('topk') or tests.max_per_img)


def _keep_small(
    mask_preds: Tensor, labels: Tensor, activate_map: bool = False, **_: object
) -> Tensor:
    """What FCNMaskHead would paste into the picture, (R, 28, 28)."""
    masks = mask_preds if activate_map else mask_preds.sigmoid()
    return masks[range(len(masks)), labels if masks.shape[1] > 1 else 0]


def _fill_up(rows: Tensor, count: int) -> Tensor:
    """Rows with zeros after them."""
    import torch

    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])


def fill(
    model: BaseDetector, outputs: Outputs, samples: Sequence[DetDataSample]
) -> Sequence[DetDataSample]:
    from mmengine.structures import InstanceData

    for index, sample in enumerate(samples):
        there = outputs['scores'][index] > 0
        one = {name: values[index][there] for name, values in outputs.items()}
        found = InstanceData(bboxes=one['boxes'], scores=one['scores'], labels=one['labels'])
        sample.pred_instances = _to_picture(model, found, one.get('masks'), sample.metainfo)
    return samples


def _to_picture(
    model: BaseDetector, found: InstanceData, masks: Tensor | None, meta: Mapping[str, Any]
) -> InstanceData:
    """Boxes, and masks (R, 28, 28), from pixels of the input to those of the picture."""
    if masks is not None:
        head = _parts(model.roi_head, 'mask_head')[-1]
        channels = 1 if head.class_agnostic else head.num_classes
        (found,) = head.predict_by_feat(
            [masks[:, None].expand(-1, channels, -1, -1)],
            [found],
            [meta],
            model.roi_head.test_cfg,
            rescale=True,
            activate_map=True,
        )
        return found
    top, _, left, _ = meta.get('border', (0, 0, 0, 0))
    found.bboxes = found.bboxes - found.bboxes.new_tensor([left, top, left, top])
    scale = meta.get('scale_factor', (1, 1))
    found.bboxes = found.bboxes / found.bboxes.new_tensor([*scale, *scale])
    return found


WHOLE = Whole(
    steps={
        'Resize': Step(
            dict(scale=None, keep_ratio=False), dict(interpolation='bilinear', backend='cv2')
        ),
        'RandomCenterCropPad': Step(
            dict(test_pad_mode=None, test_pad_add_pix=0, mean=None, std=None, to_rgb=None),
            dict(test_mode=True, ratios=None, border=None, crop_size=None),
        ),
    },
    describe=describe,
    decoder=decoder,
    predict=predict,
    fill=fill,
)
