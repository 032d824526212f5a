"""The decoders of whole models compute what mmpose's codecs do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mmpose.codecs import MSRAHeatmap, RegressionLabel, SimCCLabel, UDPHeatmap

from mmhrnet.deploy.decode import DECODERS

SIZE, HEATMAP = (96, 128), (24, 32)  # width and height
SIZES = dict(input_size=SIZE, heatmap_size=HEATMAP)


def heatmaps() -> torch.Tensor:
    """Bumps in the middle, at the border and outside, with noise, and one that is nowhere."""
    x, y = torch.arange(HEATMAP[0]), torch.arange(HEATMAP[1])[:, None]
    centres = [*torch.rand(40, 2).mul(torch.tensor(HEATMAP) + 4.0).sub(2), *torch.rand(24, 2) * 3]
    bumps = [(-((x - cx) ** 2 + (y - cy) ** 2) / 8).exp() for cx, cy in centres]
    maps = torch.stack(bumps) + 0.01 * torch.randn(64, *HEATMAP[::-1])
    maps[-1] = -maps[-1].abs()
    return maps.reshape(2, 32, *HEATMAP[::-1])


@pytest.mark.parametrize(
    ('name', 'codec', 'options'),
    [
        ('heatmaps', MSRAHeatmap(sigma=2, **SIZES), {}),
        ('heatmaps', MSRAHeatmap(sigma=2, unbiased=True, **SIZES), dict(kernel=11)),
        (
            'heatmaps',
            MSRAHeatmap(sigma=2, unbiased=True, blur_kernel_size=5, **SIZES),
            dict(kernel=5),
        ),
        ('udp_heatmaps', UDPHeatmap(sigma=2, **SIZES), dict(kernel=11)),
    ],
)
def test_heatmaps(name: str, codec: MSRAHeatmap, options: dict) -> None:
    maps = heatmaps()
    keypoints, scores = DECODERS[name](size=SIZE, **options)((maps,), SIZE)
    for index, own in enumerate(maps.numpy()):
        expected, values = codec.decode(own)
        near = np.abs(keypoints[index].numpy() - expected[0]).max(-1) < 0.01
        assert near.all(), (keypoints[index].numpy() - expected[0])[~near]
        np.testing.assert_array_equal(scores[index], values[0])


def test_vectors_and_coordinates() -> None:
    x, y = torch.randn(2, 17, 192), torch.randn(2, 17, 256)
    y[0, 0] = -1
    codec = SimCCLabel(SIZE, simcc_split_ratio=2.0)
    found = DECODERS['simcc'](ratio=2.0)((x, y), SIZE)
    expected = codec.decode(x.numpy(), y.numpy())
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    joints = torch.randn(2, 17, 4)
    found = DECODERS['regression'](size=SIZE)((joints,), SIZE)
    joints = torch.cat([joints[..., :2], joints[..., 2:].sigmoid()], -1)
    expected = RegressionLabel(SIZE).decode(joints.numpy())
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_labels_and_probabilities() -> None:
    logits = torch.randn(2, 5, 8, 12)
    decode: Callable = DECODERS['labels'](probabilities=True)
    labels, small, probabilities = decode((logits,), (32, 48))
    assert labels.dtype == torch.uint8
    assert small is logits
    assert torch.equal(probabilities.argmax(1), labels.long())
    many, _ = DECODERS['labels']()((torch.randn(1, 300, 2, 2),), (2, 2))
    assert many.dtype == torch.int32
