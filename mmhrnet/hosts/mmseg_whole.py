"""Whole segmentors: from a picture to the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmhrnet.errors import ConfigError
from mmhrnet.hosts.whole import Decoder, File, Outputs, Step, Whole

if TYPE_CHECKING:
    from mmseg.models import EncoderDecoder
    from mmseg.structures import SegDataSample
    from torch import Tensor


WINDOWS = ('crop_size', 'stride')


def describe(model: EncoderDecoder, meta: Mapping[str, Any]) -> dict[str, object]:
    import numpy as np

    palette = meta.get('palette')
    return {
        'classes': list(meta.get('classes') or ()),
        'palette': np.asarray([] if palette is None else palette).tolist(),
        'align_corners': bool(model.align_corners),
        **_windows(model.test_cfg),
    }


def _windows(test_cfg: Mapping[str, Any]) -> dict[str, object]:
    """The sides of the windows that a model works in and their distances; nothing without them."""
    if test_cfg.get('mode') != 'slide':
        return {}
    return {key: list(test_cfg[key]) for key in WINDOWS}


def decoder(model: EncoderDecoder) -> Decoder:
    """The resizing to the size of the input, as the host does it.

    Raises:
        ConfigError: The model has one class that is there or not.
    """
    if model.out_channels == 1:
        raise ConfigError(
            'A whole segmentor is written for two classes or more; this one has out_channels=1: '
            'write its logits with --raw'
        )
    return Decoder('labels', dict(align_corners=bool(model.align_corners)))


def predict(model: EncoderDecoder, images: Tensor) -> Outputs:
    """What the host makes of one window, which may be the whole picture."""
    from mmseg.structures import SegDataSample

    size = images.shape[1:3]
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    data = model.data_preprocessor(
        dict(
            inputs=list(images.flip(-1).permute(0, 3, 1, 2)),
            data_samples=[SegDataSample(metainfo=meta) for _ in images],
        )
    )
    metas = [sample.metainfo for sample in data['data_samples']]
    logits = model.encode_decode(data['inputs'], metas)
    return {'labels': logits.argmax(1), 'probabilities': logits.softmax(1)}


def run(model: EncoderDecoder, about: Mapping[str, Any], file: File, images: Tensor) -> Outputs:
    """Lets the host work with the file in place of its network, in windows if the file says so."""
    from mmseg.models.utils import resize

    aligned = about.get('align_corners', False)  # older files do not say it

    def encode_decode(windows: Tensor, _: object) -> Tensor:
        logits = file(windows.byte())['logits'].to(windows.device)
        size = windows.shape[2:]
        return resize(logits, size, mode='bilinear', align_corners=aligned, warning=False)

    given = {key: about[key] for key in WINDOWS if key in about}
    model.test_cfg.update(mode='slide' if given else 'whole', **given)
    model.encode_decode, model.align_corners = encode_decode, aligned
    metas = [dict(ori_shape=images.shape[2:]) for _ in images]
    return {'logits': model.inference(images.float(), metas)}


def fill(
    model: EncoderDecoder, outputs: Outputs, samples: Sequence[SegDataSample]
) -> Sequence[SegDataSample]:
    return model.postprocess_result(outputs['logits'], samples)


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
    run=run,
)
