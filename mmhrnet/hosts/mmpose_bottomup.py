"""Whole bottom-up pose estimators: from a picture to the joints of all its persons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmhrnet.errors import ConfigError
from mmhrnet.hosts.whole import Decoder, Outputs

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import ConfigDict
    from mmpose.models import BottomupPoseEstimator
    from mmpose.structures import PoseDataSample
    from torch import Tensor

LINKS = 'skeleton_links'
NAMES = ('keypoints', 'scores', 'instance_scores')


def describe(tests: Mapping[str, Any]) -> dict[str, object]:
    """How a ``test_cfg`` suppresses persons: the runtime does that."""
    return {
        'suppression': dict(
            distance=tests.get('nms_dist_thr', 0),
            near=tests.get('nms_joints_thr'),
            most=tests.get('max_num_people', 30),
        )
    }


def decoder(model: BottomupPoseEstimator) -> Decoder:
    """The decoding of DEKR, with the options of its codec.

    Raises:
        ConfigError: Another head or codec, or tests at several scales.
    """
    head, tests = model.head, model.test_cfg
    kinds = type(head).__name__, type(head.decoder).__name__
    if kinds != ('DEKRHead', 'SPR') or not head.decoder.generate_keypoint_heatmaps:
        raise ConfigError(
            'A whole bottom-up pose estimator is written for DEKRHead with the codec SPR and its '
            f'generate_keypoint_heatmaps, not for {" with ".join(kinds)} and these options: export '
            '--features'
        )
    if tests.get('multiscale_test'):
        raise ConfigError(
            'A whole pose estimator looks at a picture in one size: set '
            'model.test_cfg.multiscale_test=False with --cfg-options, or export --features'
        )
    codec = head.decoder
    options = dict(
        scale=tuple(map(float, codec.scale_factor)),
        kernel=codec.decode_nms_kernel,
        count=codec.decode_max_instances,
        threshold=codec.decode_thr,
        shift=bool(tests.get('shift_heatmap', False)),
    )
    links = _links(model) if head.rescore_net is not None else []
    if links:
        options |= dict(rescore=head.rescore_net, skeleton=links)
    return Decoder('dekr', options)


def _links(model: BottomupPoseEstimator) -> list[Any]:
    """The skeleton that its head sees; without one, it does not rescore."""
    packed = [step.get('meta_keys', ()) for step in model.cfg.test_dataloader.dataset.pipeline]
    seen = any(LINKS in keys for keys in packed)
    return list(model.dataset_meta.get(LINKS) or ()) if seen else []


def predict(model: BottomupPoseEstimator, images: Tensor, flips: Sequence[int]) -> Outputs:
    """What the host finds before it suppresses persons, filled up with zeros."""
    import torch

    with _all_persons(model) as count:
        found = [_predict_one(model, image, flips, count) for image in images]
    return dict(zip(NAMES, map(torch.stack, zip(*found))))


@contextmanager
def _all_persons(model: BottomupPoseEstimator) -> Iterator[int]:
    """Lets the host keep those that are near others, and the maps."""
    tests: ConfigDict = model.test_cfg
    model.test_cfg = type(tests)({**tests, 'nms_dist_thr': 0, 'output_heatmaps': True})
    try:
        yield model.head.decoder.decode_max_instances
    finally:
        model.test_cfg = tests


def _predict_one(
    model: BottomupPoseEstimator, image: Tensor, flips: Sequence[int], count: int
) -> tuple[Tensor, ...]:
    import numpy as np
    import torch
    from mmpose.structures import PoseDataSample

    size = np.array(image.shape[1::-1])
    meta = dict(input_size=size, input_center=size / 2, input_scale=size, flip_indices=flips)
    links = _links(model)
    sample = PoseDataSample(metainfo=meta | ({LINKS: links} if links else {}))
    (sample,) = model.test_step(
        dict(inputs=[image.flip(-1).permute(2, 0, 1)], data_samples=[sample])
    )
    found, maps = sample.pred_instances, sample.pred_fields
    values = model.head.decoder.decode(maps.heatmaps, maps.displacements)[1][1]
    parts = (*map(torch.as_tensor, (found.keypoints, found.keypoint_scores)), values.mean(1))
    return tuple(
        torch.cat([y.to(values), values.new_zeros(count - len(y), *y.shape[1:])]) for y in parts
    )


def fill(
    model: BottomupPoseEstimator, outputs: Outputs, samples: Sequence[PoseDataSample]
) -> Sequence[PoseDataSample]:
    from mmengine.structures import InstanceData

    found = []
    for joints, scores, ranks in zip(*(outputs[name].numpy() for name in NAMES)):
        kept = _suppress(joints[ranks != 0], ranks[ranks != 0], model.test_cfg)
        found.append(InstanceData(keypoints=joints[kept], keypoint_scores=scores[kept]))
    return model.add_pred_to_datasample(found, None, samples)


def _suppress(joints: np.ndarray, ranks: np.ndarray, tests: Mapping[str, Any]) -> list[int]:
    """Indices of the persons (P, K, 2) that the host keeps."""
    from mmpose.evaluation.functional import nearby_joints_nms

    if not len(joints) or not tests.get('nms_dist_thr', 0) > 0:
        return [*range(len(joints))]
    persons = [dict(keypoints=own, score=rank) for own, rank in zip(joints, ranks)]
    return nearby_joints_nms(
        persons,
        tests['nms_dist_thr'],
        tests.get('nms_joints_thr'),
        max_dets=tests.get('max_num_people', 30),
    )
