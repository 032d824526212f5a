"""The figure of the streams, and samples as the network gets them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from mmhrnet import HRNet
from mmhrnet.config.make import make_config
from mmhrnet.datasets import OBJECT_CLASSES, OBJECT_PALETTE
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import captions
from mmhrnet.inference.browse import browse
from mmhrnet.inference.pictures import Artist, draw_predictions
from mmhrnet.inference.stream_maps import plot_streams, record_streams
from mmhrnet.inference.streams import visualize_streams
from mmhrnet.training.evaluate import build_test_runner

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ('mmdet', 'mmpose', 'mmseg', 'mmpretrain')
DISTANCE = 60  # of two colours that are easily told apart, of 255


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


@pytest.mark.parametrize('host', HOSTS)
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


@pytest.mark.parametrize('host', HOSTS)
def test_truth_and_prediction_of_an_image_are_one_picture_with_captions(
    host: str, untrained: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, texts = [], []
    draw, write = Artist.__call__, Axes.text

    def spy(self: Artist, image: np.ndarray, sample: object, **options: bool) -> np.ndarray:
        drawn.append((image, sample))
        return draw(self, image, sample, **options)

    def read(self: Axes, x: float, y: float, text: str, **options: object) -> object:
        texts.append((text, options.get('size')))
        return write(self, x, y, text, **options)

    monkeypatch.setattr(Artist, '__call__', spy)
    monkeypatch.setattr(Axes, 'text', read)
    runner = build_test_runner(*untrained(host), work_dir=str(tmp_path / 'work'))
    draw_predictions(runner, runner.test_dataloader, tmp_path / 'out', count=4)
    names = sorted(path.stem for path in (tmp_path / 'out').iterdir())
    assert [name[:2] for name in names] == ['00', '01', '02', '03']
    assert len({name[3:] for name in names}) == 4  # each image once
    words = [text for text, _ in texts]
    assert words.count('ground truth') == words.count('prediction') == 4
    assert len({size for _, size in texts}) == 1
    assert not any(text[0].isdigit() for text in words)  # names, not indices
    first = cv2.imread(str(tmp_path / 'out' / f'{names[0]}.png'))
    image, sample = drawn[0]
    assert first.shape[0] > 480 / image.shape[1] * image.shape[0] + 15
    if host == 'mmpose':
        infos = map(runner.test_dataloader.dataset.get_data_info, range(9))
        same = [info for info in infos if info['img_path'] == sample.img_path]
        assert len(sample.gt_instances) == len(sample.pred_instances) == len(same)


def test_colours_of_classes_are_told_apart(untrained: object) -> None:
    cfg = make_config(untrained('mmdet').config)
    coco = {'classes': OBJECT_CLASSES, 'palette': [(0, 0, 142), (0, 0, 230)] * 40}
    for palette in (OBJECT_PALETTE, Artist(cfg, coco).visualizer.dataset_meta['palette']):
        colours = torch.tensor(palette, dtype=torch.float32)
        assert len(colours) == len(OBJECT_CLASSES)
        assert torch.pdist(colours).min() > DISTANCE


def test_a_legend_has_every_class_and_one_height() -> None:
    picture = np.zeros((90, 480, 3), np.uint8)
    entries = [('_background_', (200, 0, 0)), ('grass', (0, 200, 0))]  # the first as labelme has it
    two, one = (captions.legend(picture, some, 12, 20) for some in (entries, entries[:1]))
    assert two.shape == one.shape
    for _, colour in entries:
        assert (two == colour).all(-1).sum() > 50


def test_a_detector_is_sure_of_what_is_shown() -> None:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    cfg = make_config(ROOT / 'configs/mmdet/faster_rcnn_hrnetv2p_w18.py', mini=True)
    draw = Artist(cfg, dict(classes=OBJECT_CLASSES, palette=[*OBJECT_PALETTE]))
    image = np.zeros((480, 480, 3), np.uint8)

    def coloured(sure: float, **options: float) -> bool:
        found = InstanceData(
            bboxes=torch.tensor([[100.0, 100, 300, 300]]),
            labels=torch.tensor([0]),
            scores=torch.tensor([sure]),
        )
        drawn = draw(image, DetDataSample(pred_instances=found), **options)
        return bool((drawn[150:250, 98:103].max(-1) > 100).any())

    assert coloured(0.6)
    assert not coloured(0.4)
    assert coloured(0.4, score=0.3)  # what the demo asks for
