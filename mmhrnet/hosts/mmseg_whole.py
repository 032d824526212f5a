"""Whole segmentors: from a picture to the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmhrnet.errors import ConfigError
from mmhrnet.hosts.whole import Decoder, Outputs, Step, Whole

if TYPE_CHECKING:
    from mmseg.structures import SegDataSample
    from torch import Tensor


def describe(model: Any, meta: Mapping[str, Any]) -> dict[str, object]:
    import numpy as np

    palette = meta.get('palette')
    return {
        'classes': list(meta.get('classes') or ()),
        'palette': np.asarray([] if palette is None else palette).tolist(),
        'align_corners': bool(model.align_corners),
    }


def decoder(model: Any) -> Decoder:
    """The resizing to the size of the input, as the host does it.

    Raises:
        ConfigError: The model works in windows, or has one class that is there or not.
    """
    mode = model.test_cfg.get('mode', 'whole')
    if mode != 'whole' or model.out_channels == 1:
        windows = ', or set --cfg-options model.test_cfg.mode=whole' if mode != 'whole' else ''
        raise ConfigError(
            'A whole segmentor is written for test_cfg.mode=whole and two classes or more; this '
            f'one has mode={mode} and out_channels={model.out_channels}: write its logits with '
            f'--raw{windows}'
        )
    return Decoder('labels', dict(align_corners=bool(model.align_corners)))


def predict(model: Any, images: Tensor) -> Outputs:
    import torch
    from mmseg.structures import SegDataSample

    size = images.shape[1:3]
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    samples = model.test_step(
        dict(
            inputs=list(images.flip(-1).permute(0, 3, 1, 2)),
            data_samples=[SegDataSample(metainfo=meta) for _ in images],
        )
    )
    logits = torch.stack([sample.seg_logits.data for sample in samples])
    labels = torch.cat([sample.pred_sem_seg.data for sample in samples])
    return {'labels': labels, 'probabilities': logits.softmax(1)}


def fill(model: Any, outputs: Outputs, samples: Sequence[SegDataSample]) -> Sequence[SegDataSample]:
    from mmseg.models.utils import resize

    size = outputs['labels'].shape[1:]
    logits = resize(outputs['logits'], size, mode='bilinear', align_corners=model.align_corners)
    return model.postprocess_result(logits, samples)


WHOLE = Whole(
    steps={
        'Resize': Step(
            dict(scale=None, keep_ratio=False), dict(interpolation='bilinear', backend='cv2')
        ),
        'ResizeToMultiple': Step(dict(size_divisor=32), dict(interpolation='bilinear')),
    },
    describe=describe,
    decoder=decoder,
    predict=predict,
    fill=fill,
)
