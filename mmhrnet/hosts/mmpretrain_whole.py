"""Whole classifiers: from a picture to the probability of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmhrnet.hosts.whole import Decoder, Outputs, Step, Whole

if TYPE_CHECKING:
    from mmpretrain.models import ImageClassifier
    from mmpretrain.structures import DataSample
    from torch import Tensor


def describe(_: ImageClassifier, meta: Mapping[str, Any]) -> dict[str, object]:
    return {'classes': list(meta.get('classes') or ())}


def decoder(_: ImageClassifier) -> Decoder:
    return Decoder('probabilities', {})


def predict(model: ImageClassifier, images: Tensor) -> Outputs:
    import torch

    bgr = images.flip(-1).permute(0, 3, 1, 2)
    samples = model.test_step(dict(inputs=bgr))
    return {'probabilities': torch.stack([sample.pred_score for sample in samples])}


def fill(
    _: ImageClassifier, outputs: Outputs, samples: Sequence[DataSample]
) -> Sequence[DataSample]:
    for sample, scores in zip(samples, outputs['probabilities']):
        sample.set_pred_score(scores).set_pred_label(scores.argmax())
    return samples


WHOLE = Whole(
    steps={
        'ResizeEdge': Step(
            dict(scale=256, backend='cv2'), dict(edge='short', interpolation='bilinear')
        ),
        'CenterCrop': Step(dict(crop_size=224), {}),
        'Resize': Step(
            dict(scale=None, keep_ratio=False, backend='cv2'), dict(interpolation='bilinear')
        ),
    },
    describe=describe,
    decoder=decoder,
    predict=predict,
    fill=fill,
)
