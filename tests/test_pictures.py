"""The figure of the streams, and samples as the network gets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmhrnet import HRNet
from mmhrnet.errors import ConfigError
from mmhrnet.inference.browse import browse
from mmhrnet.inference.pictures import Artist
from mmhrnet.inference.stream_maps import plot_streams, record_streams
from mmhrnet.inference.streams import visualize_streams

ROOT = Path(__file__).resolve().parents[1]


def test_streams_are_those_of_the_network() -> None:
    network = HRNet('w18_small_v1').eval()
    images = torch.rand(2, 3, 64, 96)
    with record_streams(torch.nn.Sequential(network)) as streams, torch.no_grad():
        outputs = network(images)
        network(images.flip(-1))  # the second pass of a test with flips is not recorded
    assert streams.image is not None
    assert streams.image.equal(images[0])
    assert [len(maps) for _, maps in streams.columns] == [1, 2, 2, 3, 3, 4, 4]
    for recorded, output in zip(streams.columns[-1][1], outputs):
        assert recorded.equal(output[0])
    assert streams.columns[1][0] == 'stage 2\nbefore fusion'
    assert not any(module._forward_hooks for module in network.modules())


def test_hrnetv1_ends_in_one_stream() -> None:
    network = HRNet('w18_small_v1', multiscale_output=False).eval()
    with record_streams(network) as streams, torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    assert [len(maps) for _, maps in streams.columns][-2:] == [4, 1]


def test_streams_need_an_hrnet() -> None:
    with (
        pytest.raises(ValueError, match=r'Linear has no mmhrnet\.HRNet'),
        record_streams(torch.nn.Linear(1, 1)),
    ):
        pass


def test_the_figure_shows_every_map(tmp_path: Path) -> None:
    network = HRNet('w18_small_v1').eval()
    with record_streams(network) as streams, torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    path = plot_streams(streams, np.zeros((64, 64, 3), np.uint8), tmp_path / 'streams.png')
    pixels = np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3)
    coloured = (np.ptp(pixels, axis=1) > 30).mean()  # the maps; axes, text and input are grey
    assert coloured > 0.15


def test_visualize_streams_writes_a_figure(untrained: object, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'streams.png'
    visualize_streams(scene, *untrained('mmpose'), out=out)
    assert out.stat().st_size > 50_000
    assert [path.name for path in out.parent.iterdir()] == ['streams.png']


@pytest.mark.parametrize('host', ['mmdet', 'mmpose', 'mmseg', 'mmpretrain'])
def test_browse_draws_the_targets_of_what_is_fed(
    host: str, untrained: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    original = Artist.__call__

    def spy(self: Artist, image: np.ndarray, sample: object, **options: bool) -> np.ndarray:
        picture = original(self, image, sample, **options)
        plain = np.asarray(Image.fromarray(image).resize(picture.shape[1::-1][:2]))
        drawn.append((image, picture[: plain.shape[0]], plain))
        return picture

    monkeypatch.setattr(Artist, '__call__', spy)
    pictures = browse(untrained(host).config, out_dir=tmp_path, number=3)
    assert len(pictures) == 3
    assert all(path.stat().st_size > 1000 for path in pictures)
    for image, picture, plain in drawn:
        assert image.std() > 10  # un-normalized to an image one can see
        assert np.abs(picture.astype(int) - plain).mean() > 0.5  # something is drawn on it


def test_browse_names_what_is_missing(tmp_path: Path) -> None:
    config = ROOT / 'configs/mmdet/faster_rcnn_hrnetv2p_w32.py'
    with pytest.raises(ConfigError, match='instances_train2017'):
        browse(config, data_root=str(tmp_path))
