"""Whole pose estimators: from the picture of a person to its joints.

Those of ``mmpose_bottomup`` find the joints of all persons in a picture at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmhrnet.errors import ConfigError
from mmhrnet.hosts import mmpose_bottomup
from mmhrnet.hosts.whole import Decoder, Outputs, Step, Whole

if TYPE_CHECKING:
    from mmpose.models.pose_estimators.base import BasePoseEstimator
    from mmpose.structures import PoseDataSample
    from torch import Tensor

PADDING = 1.25  # of GetBBoxCenterScale


def finds_persons(model: BasePoseEstimator) -> bool:
    """Whether it finds the joints of all persons in a picture."""
    return type(model).__name__ == 'BottomupPoseEstimator'


def describe(model: BasePoseEstimator, meta: Mapping[str, Any]) -> dict[str, object]:
    import numpy as np

    return {
        'keypoints': list((meta.get('keypoint_id2name') or {}).values()),
        'skeleton': np.asarray(meta.get('skeleton_links') or []).tolist(),
        'palette': np.asarray(meta.get('keypoint_colors', [])).tolist(),
        'skeleton_palette': np.asarray(meta.get('skeleton_link_colors', [])).tolist(),
        **(mmpose_bottomup.describe(model.test_cfg) if finds_persons(model) else {}),
    }


def flips(meta: Mapping[str, Any]) -> Sequence[int]:
    return [int(index) for index in meta.get('flip_indices') or ()]


def decoder(model: BasePoseEstimator) -> Decoder:
    """The decoding of heatmaps, SimCC, regression and DEKR, with the options of the codec.

    Raises:
        ConfigError: A codec that no graph decodes.
    """
    if finds_persons(model):
        return mmpose_bottomup.decoder(model)
    codec, test_cfg = model.head.decoder, model.test_cfg
    kind = type(codec).__name__
    shift = bool(test_cfg.get('shift_heatmap', False))
    sizes = dict(size=tuple(codec.input_size))
    if kind == 'MSRAHeatmap':
        kernel = codec.blur_kernel_size if codec.unbiased else None
        return Decoder('heatmaps', dict(sizes, shift=shift, kernel=kernel))
    if kind == 'UDPHeatmap' and codec.heatmap_type == 'gaussian':
        return Decoder('udp_heatmaps', dict(sizes, shift=shift, kernel=codec.blur_kernel_size))
    if kind == 'SimCCLabel' and not codec.use_dark:
        return Decoder('simcc', dict(ratio=codec.simcc_split_ratio))
    if kind == 'RegressionLabel':
        return Decoder('regression', dict(sizes, shift=bool(test_cfg.get('shift_coords', True))))
    raise ConfigError(
        f'A whole pose estimator is written for MSRAHeatmap, UDPHeatmap (gaussian), SimCCLabel '
        f'and RegressionLabel, not for {kind} with these options: write what its head returns '
        'with --raw'
    )


def predict(model: BasePoseEstimator, images: Tensor) -> Outputs:
    import numpy as np
    import torch
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    if finds_persons(model):
        return mmpose_bottomup.predict(model, images, flips(model.dataset_meta))
    height, width = images.shape[1:3]
    size = np.array([width, height])
    meta = dict(
        input_size=(width, height),
        input_center=size / 2,
        input_scale=size,
        flip_indices=flips(model.dataset_meta),
    )
    one = InstanceData(bboxes=np.zeros((1, 4)), bbox_scores=np.ones(1))
    samples = model.test_step(
        dict(
            inputs=list(images.flip(-1).permute(0, 3, 1, 2)),
            data_samples=[PoseDataSample(metainfo=meta, gt_instances=one) for _ in images],
        )
    )
    found = [sample.pred_instances for sample in samples]
    return {
        'keypoints': torch.as_tensor(np.concatenate([f.keypoints for f in found])),
        'scores': torch.as_tensor(np.concatenate([f.keypoint_scores for f in found])),
    }


def fill(
    model: BasePoseEstimator, outputs: Outputs, samples: Sequence[PoseDataSample]
) -> Sequence[PoseDataSample]:
    from mmengine.structures import InstanceData

    if finds_persons(model):
        return mmpose_bottomup.fill(model, outputs, samples)
    found = [
        InstanceData(keypoints=keypoints[None].numpy(), keypoint_scores=scores[None].numpy())
        for keypoints, scores in zip(outputs['keypoints'], outputs['scores'])
    ]
    return model.add_pred_to_datasample(found, None, samples)


WHOLE = Whole(
    steps={
        'GetBBoxCenterScale': Step(dict(padding=PADDING), {}),
        'TopdownAffine': Step(dict(input_size=None, use_udp=False), {}),
        'BottomupResize': Step(
            dict(input_size=None, size_factor=32, resize_mode='fit', use_udp=False),
            dict(aug_scales=None, pad_val=(0, 0, 0)),
        ),
    },
    describe=describe,
    decoder=decoder,
    predict=predict,
    fill=fill,
    flips=flips,
)
