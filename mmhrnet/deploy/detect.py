"""From feature maps to objects, as part of a graph: fixed shapes, for any number of images.

Each decoder holds the heads of a detector, whose own code computes their tensors and decodes their
boxes. What selects among the boxes is written here, since the hosts go image by image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from mmhrnet.deploy.decode import Decoder, Maps

if TYPE_CHECKING:
    from mmcv.ops import RoIAlign
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
    from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor

Options = Mapping[str, Any]  # a test_cfg


class Candidates(NamedTuple):
    """Boxes among which suppression selects, K for each image.

    Attributes:
        boxes: (N, K, 4), left, top, right and bottom in pixels of the input.
        scores: (N, K).
        groups: (N, K), those of different groups never suppress one another.
        valid: (N, K), whether a box counts.
    """

    boxes: Tensor
    scores: Tensor
    groups: Tensor
    valid: Tensor


class Detector(Decoder):
    """The base of all: ``boxes`` (N, 100, 4) in pixels of the input, ``scores`` (N, 100) and
    ``labels`` (N, 100), by falling score. Where there are fewer, zeros fill up.
    """

    outputs: Sequence[str] = ('boxes', 'scores', 'labels')
    takes_head = False


class OneStage(Detector):
    """Detectors that mmdet's BaseDenseHead decodes, such as FCOS.

    Args:
        head: Their head.
        options: Its ``test_cfg``.
    """

    def __init__(self, head: BaseDenseHead, options: Options) -> None:
        super().__init__()
        self.head, self.options = head, options

    def forward(self, maps: Maps, size: Sequence[int]) -> Maps:
        found = propose(self.head, maps, size, self.options)
        scores, index = suppress(found, self.options)
        return _zero_missing(scores, pick(found.boxes, index), pick(found.groups, index))


class CenterNet(OneStage):
    """Objects as points (https://arxiv.org/abs/1904.07850), of mmdet's CenterNetHead."""

    def forward(self, maps: Maps, size: Sequence[int]) -> Maps:
        (heat,), (shape,), (offset,) = ([y.contiguous() for y in ys] for ys in self.head(maps))
        count, kernel = self.options['topk'], self.options['local_maximum_kernel']
        found, labels = self.head._decode_heatmap(
            heat, shape, offset, tuple(size), k=count, kernel=kernel
        )
        return (found[..., :4], found[..., 4], labels)


class TwoStage(Detector):
    """Faster, Mask, Cascade and Cascade Mask R-CNN and HTC, whose ``masks`` (N, 100, 28, 28) are
    the probabilities in each box.

    Args:
        rpn_head: Proposes regions.
        roi_head: Looks at each of them.
        proposals: The ``test_cfg`` of the first.
        options: The ``test_cfg`` of the second.
    """

    def __init__(
        self, rpn_head: BaseDenseHead, roi_head: BaseRoIHead, proposals: Options, options: Options
    ) -> None:
        super().__init__()
        self.rpn_head, self.roi_head = rpn_head, _pool_in_graph(roi_head)
        self.proposals, self.options = proposals, options
        self.cascaded = isinstance(roi_head.bbox_head, nn.ModuleList)
        self.box_heads = [*roi_head.bbox_head] if self.cascaded else [roi_head.bbox_head]
        self.semantic = bool(getattr(roi_head, 'with_semantic', False))
        if roi_head.with_mask:
            self.outputs = (*self.outputs, 'masks')

    def forward(self, maps: Maps, size: Sequence[int]) -> Maps:
        found = propose(self.rpn_head, maps, size, self.proposals, by_level=True)
        scores, index = suppress(found, self.proposals)
        more = {'semantic_feat': self.roi_head.semantic_head(maps)[1]} if self.semantic else {}
        objects = self.classify(maps, pick(found.boxes, index), scores > 0, size, more)
        scores, index = suppress(objects, self.options)
        results = scores, pick(objects.boxes, index), pick(objects.groups, index)
        boxes, scores, labels = _zero_missing(*results)
        if 'masks' not in self.outputs:
            return boxes, scores, labels
        masks = self.masks(maps, boxes, labels, more) * (scores > 0)[..., None, None]
        return boxes, scores, labels, masks

    def classify(
        self, maps: Maps, boxes: Tensor, valid: Tensor, size: Sequence[int], more: Options
    ) -> Candidates:
        """A candidate for each proposal (N, R) and class."""
        n, count = valid.shape
        regions, logits = _regions(boxes), []
        for stage, head in enumerate(self.box_heads):
            stages = (stage,) if self.cascaded else ()
            result = self.roi_head._bbox_forward(*stages, x=maps, rois=regions, **more)
            logits.append(result['cls_score'])
            if stage + 1 < len(self.box_heads):
                label = logits[-1][:, :-1].argmax(1)
                moved = head.regress_by_class(
                    regions[:, 1:], label, result['bbox_pred'], {'img_shape': tuple(size)}
                )
                regions = torch.cat([regions[:, :1], moved], 1)
        scores = (sum(logits) / float(len(logits))).softmax(-1)[:, :-1]
        classes = scores.shape[1]
        each = 1 if head.reg_class_agnostic else classes
        decoded = head.bbox_coder.decode(
            regions[:, 1:].repeat_interleave(each, 0),
            result['bbox_pred'].reshape(-1, head.bbox_coder.encode_size),
            max_shape=tuple(size),
        )
        decoded = decoded.reshape(n, count, each, 4).expand(-1, -1, classes, -1)
        scores = scores.reshape(n, count, classes)
        valid = (scores > self.options['score_thr']) & valid[..., None]
        groups = torch.arange(classes, device=scores.device).expand(n, count, -1)
        return Candidates(*(x.flatten(1, 2) for x in (decoded, scores, groups, valid)))

    def masks(self, maps: Maps, boxes: Tensor, labels: Tensor, more: Options) -> Tensor:
        """The probabilities of the class of each box, averaged over the stages of a cascade."""
        forward, regions = self.roi_head._mask_forward, _regions(boxes)
        if self.semantic:
            every = forward(-1, maps, regions, training=False, **more)['mask_preds']
        elif self.cascaded:
            every = [
                forward(stage, maps, regions)['mask_preds'] for stage in range(len(self.box_heads))
            ]
        else:
            every = [forward(maps, regions)['mask_preds']]
        mean = torch.stack([y.sigmoid() for y in every]).mean(0)  # (N * R, C or 1, 28, 28)
        which = labels.flatten() if mean.shape[1] > 1 else torch.zeros_like(labels).flatten()
        chosen = which[:, None, None, None].expand(-1, 1, *mean.shape[2:])
        return mean.gather(1, chosen).reshape(*labels.shape, *mean.shape[2:])


def propose(
    head: BaseDenseHead, maps: Maps, size: Sequence[int], options: Options, by_level: bool = False
) -> Candidates:
    """The best boxes of each level of a pyramid.

    Args:
        head: A BaseDenseHead.
        maps: The pyramid.
        size: Height and width of the input.
        options: The ``test_cfg`` of the head.
        by_level: The groups are levels instead of classes.
    """
    scores, deltas, *more = head(maps)
    sizes = [y.shape[2:] for y in scores]
    priors = head.prior_generator.grid_priors(sizes, scores[0].dtype, scores[0].device)
    levels = zip(scores, deltas, priors, *more)
    chosen = [_best_of_level(head, options, *level) for level in levels]
    if by_level:
        chosen = [(*level[:-1], torch.full_like(level[-1], i)) for i, level in enumerate(chosen)]
    kept, factors, near, moves, groups = (torch.cat(parts, 1) for parts in zip(*chosen))
    boxes = head.bbox_coder.decode(near.flatten(0, 1), moves.flatten(0, 1), max_shape=tuple(size))
    boxes = boxes.reshape(*kept.shape, 4)
    valid = kept > options.get('score_thr', 0)
    if options.get('min_bbox_size', -1) >= 0:
        valid = valid & ((boxes[..., 2:] - boxes[..., :2]) > options['min_bbox_size']).all(-1)
    return Candidates(boxes, kept * factors, groups, valid)


def _best_of_level(
    head: BaseDenseHead,
    options: Options,
    scores: Tensor,
    deltas: Tensor,
    priors: Tensor,
    *more: Tensor,
) -> tuple[Tensor, ...]:
    """Scores, their factors, priors, deltas and classes of the best places of a level.

    There are as many at each level, ``nms_pre``: those that a small map lacks have the score -1.
    """
    n, count = scores.shape[0], options['nms_pre']
    scores = _rows(scores, head.cls_out_channels)
    scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[..., :-1]
    classes = scores.shape[2]
    scores, index = F.pad(scores.flatten(1), (0, count), value=-1).topk(count)
    place = torch.div(index, classes, rounding_mode='floor').clamp(max=priors.shape[0] - 1)
    factors = [pick(_rows(y, 1), place)[..., 0].sigmoid() for y in more] or [scores.new_ones(1)]
    deltas = pick(_rows(deltas, head.bbox_coder.encode_size), place)
    priors = priors[place.flatten()].reshape(n, count, -1)
    return scores, factors[0].expand_as(scores), priors, deltas, index % classes


def suppress(found: Candidates, options: Options) -> tuple[Tensor, Tensor]:
    """The best boxes that no better one of their group covers.

    Returns:
        Scores (N, max_per_img) by falling score, with zeros where there are fewer, and indices.
    """
    image, place = found.valid.nonzero(as_tuple=True)
    boxes, scores = found.boxes[image, place], found.scores[image, place]
    group = found.groups[image, place]
    # Boxes of each group and image get a square of their own, at the places of mmcv's batched_nms
    # for the first image, so that IoUs are rounded as there. The groups of the next image are on
    # the next diagonal, which keeps coordinates small.
    span = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
    squares = found.groups.max() + 1 + found.boxes.shape[0]
    offset = torch.stack([group, (group + image) % squares], 1).to(boxes) * span
    kept = nms(boxes + offset.repeat(1, 2), scores, options['nms']['iou_threshold'])
    clean = torch.zeros_like(found.scores)
    clean = clean.index_put((image[kept], place[kept]), scores[kept])
    best, index = F.pad(clean, (0, options['max_per_img'])).topk(options['max_per_img'])
    return best, index.clamp(max=found.scores.shape[1] - 1)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Rows (N, K) or (N, K, C) of each image by their indices (N, R)."""
    if values.ndim == 2:
        return values.gather(1, index)
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _rows(maps: Tensor, channels: int) -> Tensor:
    """Maps (N, A * C, h, w) as rows (N, h * w * A, C)."""
    return maps.permute(0, 2, 3, 1).unflatten(3, (-1, channels)).flatten(1, 3)


def _regions(boxes: Tensor) -> Tensor:
    """Boxes (N, R, 4) as (N * R, 5), with the index of the image first."""
    image = torch.arange(boxes.shape[0], device=boxes.device).to(boxes)
    image = image[:, None, None].expand(-1, boxes.shape[1], 1)
    return torch.cat([image, boxes], 2).flatten(0, 1)


def _zero_missing(scores: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    there = scores > 0
    return boxes * there[..., None], scores, labels * there


class RoIPool(nn.Module):
    """mmdet's SingleRoIExtractor without branches that depend on the regions.

    Args:
        extractor: The host's.
    """

    def __init__(self, extractor: BaseRoIExtractor) -> None:
        super().__init__()
        self.extractor, self.num_inputs = extractor, extractor.num_inputs

    def forward(self, maps: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Features (R, C, s, s) of regions (R, 5), each from the map of its size."""
        layers = self.extractor.roi_layers
        if len(maps) == 1:
            return _align(layers[0], maps[0], regions)
        level = self.extractor.map_roi_levels(regions, len(maps))
        pooled = maps[0].new_zeros(regions.shape[0], maps[0].shape[1], *layers[0].output_size)
        for index, (layer, one) in enumerate(zip(layers, maps)):
            (place,) = (level == index).nonzero(as_tuple=True)
            pooled = pooled.index_put((place,), _align(layer, one, regions[place]))
        return pooled


def _align(layer: RoIAlign, features: Tensor, regions: Tensor) -> Tensor:
    return roi_align(
        features,
        regions,
        layer.output_size,
        layer.spatial_scale,
        layer.sampling_ratio,
        layer.aligned,
    )


def _pool_in_graph(roi_head: BaseRoIHead) -> BaseRoIHead:
    """A RoI head of the same modules, but with :class:`RoIPool`."""
    roi_head = copy(roi_head)
    roi_head._modules = dict(roi_head._modules)
    for name, part in list(roi_head.named_children()):
        if isinstance(part, nn.ModuleList) and name.endswith('roi_extractor'):
            roi_head._modules[name] = nn.ModuleList(RoIPool(one) for one in part)
        elif name.endswith('roi_extractor'):
            roi_head._modules[name] = RoIPool(part)
    return roi_head


DECODERS = {'one_stage': OneStage, 'center_net': CenterNet, 'two_stage': TwoStage}
