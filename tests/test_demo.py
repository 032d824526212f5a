"""Pictures and JSON of images, folders and videos; what is drawn is what the test would count."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from pycocotools import mask as mask_utils
from torchvision.ops import box_iou

import mmhrnet
from mmhrnet import apis, checkpoints
from mmhrnet.config.build import normalization
from mmhrnet.config.weights import find_weights
from mmhrnet.datasets.images import ImageError, read_image
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import captions
from mmhrnet.inference.demo import demo
from mmhrnet.inference.predict import Predictor
from mmhrnet.runtime import round_numbers

ROOT = Path(__file__).resolve().parents[1]
W32 = ROOT / 'configs/mmdet/faster_rcnn_hrnetv2p_w32.py'
HOSTS = ('mmdet', 'mmpose', 'mmseg', 'mmpretrain')
ALL = 0.0  # the score threshold that lets everything of a random network pass


@pytest.mark.parametrize('host', HOSTS)
def test_a_folder_becomes_pictures_and_json_and_a_bad_image_costs_only_itself(
    host: str, untrained: object, scene: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / 'in', tmp_path / 'out'
    (source / 'sub').mkdir(parents=True)
    (source / 'good.jpg').write_bytes(scene.read_bytes())
    (source / 'sub' / 'good.jpg').write_bytes(scene.read_bytes())
    (source / 'cut.jpg').write_bytes(scene.read_bytes()[:1500])
    (source / 'empty.png').touch()
    config, checkpoint = untrained(host)
    with pytest.raises(ConfigError, match='2 of 4 were left out') as info:
        demo(source, config, checkpoint, out_dir=out, score_thr=ALL)
    assert 'cut.jpg' in str(info.value)
    assert 'empty.png' in str(info.value)
    height, width = cv2.imread(str(scene)).shape[:2]
    for name in ('good', 'sub/good'):
        text = (out / f'{name}.json').read_text()
        content = json.loads(text)
        check_found(host, content['found'], height, width)
        assert (content['program'], content['version']) == ('mmhrnet', mmhrnet.__version__)
        assert (content['width'], content['height']) == (width, height)
        assert content.get('bbox_format') == ('xyxy' if host in ('mmdet', 'mmpose') else None)
        assert len(content.get('keypoint_names', ())) == (17 if host == 'mmpose' else 0)
        things = text[text.index('"found"') :].splitlines()[1:-2]
        assert [json.loads(line.rstrip(',')) for line in things] == content['found']
        picture = cv2.imread(str(out / f'{name}.png'))
        assert picture.shape[1] == 480  # a small image is enlarged
        if host == 'mmseg':
            labels = cv2.imread(str(out / Path(name).parent / content['label_map']), -1)
            assert labels.shape == (height, width)
    assert not list(out.rglob('.*'))  # nothing half-written


def check_found(host: str, found: list[dict], height: int, width: int) -> None:
    assert found
    first = found[0]
    if host == 'mmdet':
        left, top, right, bottom = first['bbox']
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
        assert mask_utils.decode(first['mask']).shape == (height, width)
        assert first['class'] in ('person', 'disk', 'square', 'triangle', 'star')
    elif host == 'mmpose':
        assert len(first['keypoints']) == len(first['keypoint_scores']) == 17
    elif host == 'mmseg':
        assert sum(one['share'] for one in found) == pytest.approx(1, abs=1e-3)
    else:
        scores = [one['score'] for one in found]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-3)  # four classes, all among the first five


def test_numbers_are_rounded_to_what_they_mean() -> None:
    third, code = 100 / 3, {'size': [4, 6], 'counts': 'abc'}
    thing = {'label': 3, 'class': 'star', 'score': third, 'bbox': [third] * 4, 'mask': code}
    (rounded,) = round_numbers([thing])
    assert rounded == thing | {'score': 33.3333, 'bbox': [33.33] * 4}
    person = {'keypoints': [[third, third]], 'keypoint_scores': [third]}
    assert round_numbers([person]) == [{'keypoints': [[33.33] * 2], 'keypoint_scores': [33.3333]}]


@pytest.mark.parametrize('host', ['mmdet', 'mmseg', 'mmpretrain'])
def test_the_demo_sees_what_the_test_sees(host: str, untrained: object, tmp_path: Path) -> None:
    """The same image through the data set's pipeline: sizes, channel order, weights, all of it."""
    config, checkpoint = untrained(host)
    cfg = apis.make_config(config, work_dir=str(tmp_path))
    cfg.load_from = str(checkpoint)
    with DefaultScope.overwrite_default_scope(host):
        runner = Runner.from_cfg(cfg)
        runner.load_or_resume()
        runner.model.eval()
        batch = next(iter(runner.test_dataloader))
        with torch.no_grad():
            expected = runner.model.test_step(batch)[0]
    predictor = Predictor(config, checkpoint, score=ALL)
    prediction = predictor(cv2.imread(expected.img_path))
    if host == 'mmdet':
        torch.testing.assert_close(
            torch.tensor([one['bbox'] for one in prediction.found]), expected.pred_instances.bboxes
        )
    elif host == 'mmseg':
        assert (prediction.label_map == expected.pred_sem_seg.data[0].numpy()).all()
    else:
        found = {one['label']: one['score'] for one in prediction.found}
        assert [found[i] for i in range(len(found))] == pytest.approx(expected.pred_score.tolist())


@pytest.mark.parametrize('host', HOSTS)
def test_normalization_is_undone_exactly(host: str, untrained: object) -> None:
    cfg = apis.make_config(untrained(host).config)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)  # BGR, as the pipelines load
    steps = normalization(cfg)
    x = image.flip(0) if steps.channels == 'RGB' else image
    x = (x.float() - torch.tensor(steps.mean)[:, None, None]) / torch.tensor(steps.std)[
        :, None, None
    ]
    assert (steps.undo(x) == image.flip(0).permute(1, 2, 0).numpy()).all()
    assert steps.channels == 'RGB'  # every HRNet was trained so


def test_every_person_that_the_detector_finds_gets_joints_once(
    untrained: object, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Predictor(*untrained('mmdet'), score=ALL)
    detector.classes = ('person',) * len(detector.classes)  # whatever a random network says
    image = read_image(scene)
    persons = detector(np.dstack((image, image[..., :1]))).found  # with transparency
    pose = Predictor(*untrained('mmpose'), detector=detector)
    some = pose(image)
    scores = [one['bbox_score'] for one in some.found]
    assert set(scores) <= {one['score'] for one in persons}
    assert max(scores) == max(one['score'] for one in persons)
    boxes = torch.tensor([one['bbox'] for one in some.found])
    assert (box_iou(boxes, boxes).triu(1) < 0.31).all()  # nobody twice
    detector.score = 2  # nobody
    texts = []
    monkeypatch.setattr(captions, 'note', lambda picture, text: texts.append(text) or picture)
    nobody = pose(image)
    assert nobody.found == []
    assert nobody.picture.shape == some.picture.shape  # as the frames of a video must be
    assert texts[-1] == 'no person found'


def test_a_video_becomes_a_video(untrained: object, scene: Path, tmp_path: Path) -> None:
    image, source = cv2.imread(str(scene)), tmp_path / 'clip.mp4'
    height, width = image.shape[:2]
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*'mp4v'), 5, (width, height))
    for _ in range(3):
        writer.write(image)
    writer.release()
    (video,) = demo(source, *untrained('mmpretrain'), out_dir=tmp_path / 'out')
    lines = video.with_suffix('.jsonl').read_text().splitlines()
    about, *frames = map(json.loads, lines)
    assert (about['width'], about['height'], about['fps']) == (width - width % 2, height, 5)
    assert [frame['frame'] for frame in frames] == [0, 1, 2]
    reader = cv2.VideoCapture(str(video))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert reader.get(cv2.CAP_PROP_FPS) == 5
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(ImageError, match=r'text\.mp4 is not a video'):
        demo(tmp_path / 'text.mp4', *untrained('mmpretrain'), out_dir=tmp_path / 'out')


def test_images_that_differ_by_their_suffix_keep_it(
    untrained: object, scene: Path, tmp_path: Path
) -> None:
    image = cv2.imread(str(scene))
    for name in ('a.jpg', 'a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), image)
    out = tmp_path / 'out'
    demo(tmp_path, *untrained('mmpretrain'), out_dir=out)
    assert {path.name for path in out.glob('*.json')} == {'a.jpg.json', 'a.png.json', 'b.json'}


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'I;16', 'P', '1', 'CMYK'])
def test_images_of_any_kind_are_read_as_three_channels(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ('image.jpg' if mode == 'CMYK' else 'image.png')
    Image.new(mode, (40, 30)).save(path)
    image = read_image(path)
    assert image.shape == (30, 40, 3)
    assert image.dtype == np.uint8


def test_images_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    Image.new('RGB', (40, 30)).save(tmp_path / 'turned.jpg', exif=exif)
    assert read_image(tmp_path / 'turned.jpg').shape == (40, 30, 3)


def test_images_that_cannot_be_read_are_named_with_the_reason(
    tmp_path: Path, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match=r'There is no image .*no\.png'):
        read_image(tmp_path / 'no.png')
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(ImageError, match=r'text\.png is not a readable image'):
        read_image(tmp_path / 'text.png')
    with pytest.raises(ImageError, match='more than 100'):
        read_image(scene, max_pixels=100)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)  # Pillow takes it for a bomb
    with pytest.raises(ImageError, match=f'{scene.name} is not a readable image.*Image size'):
        read_image(scene)


def test_weights_that_leave_a_head_random_are_refused(untrained: object, tmp_path: Path) -> None:
    config, checkpoint = untrained('mmpretrain')
    content = checkpoints.load(checkpoint)
    content['state_dict'] = {
        name: t for name, t in content['state_dict'].items() if not name.startswith('head')
    }
    checkpoints.save(content, tmp_path / 'headless.pth')
    with pytest.raises(ConfigError, match=r'leave parts of this model random: head\.fc \(2\)'):
        Predictor(config, tmp_path / 'headless.pth')


@pytest.mark.parametrize('host', ['mmdet', 'mmseg'])
def test_weights_that_name_no_classes_have_those_of_the_data_set(
    host: str, untrained: object, tmp_path: Path
) -> None:
    config, checkpoint = untrained(host)
    torch.save(checkpoints.load(checkpoint)['state_dict'], tmp_path / 'bare.pth')
    bare, named = Predictor(config, tmp_path / 'bare.pth'), Predictor(config, checkpoint)
    assert bare.classes == named.classes
    assert bare.model.dataset_meta['palette'] == named.model.dataset_meta['palette']


def test_weights_that_are_not_given_are_the_published_ones() -> None:
    assert find_weights(W32, None).startswith('https://')
    with pytest.raises(ConfigError, match=r'No weights are published for .*w18s'):
        find_weights(ROOT / 'configs/mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192.py', None)
    with pytest.raises(ConfigError, match=r'There is no checkpoint no\.pth'):
        find_weights(W32, 'no.pth')


def test_arguments_that_cannot_work(untrained: object, scene: Path, tmp_path: Path) -> None:
    config, checkpoint = untrained('mmpretrain')
    with pytest.raises(ConfigError, match='not a device of torch'):
        Predictor(config, checkpoint, device='gpu')
    with pytest.raises(ConfigError, match='is of mmpretrain, which uses no detector'):
        Predictor(config, checkpoint, detector=Predictor(config, checkpoint))
    with pytest.raises(ConfigError, match='There is no checkpoint a'):
        demo(scene, config, checkpoint, det_checkpoint='a.pth')
    with pytest.raises(ConfigError, match='has no images'):
        demo(tmp_path, config, checkpoint)
    with pytest.raises(ConfigError, match='There is no image, folder or video'):
        demo(tmp_path / 'no', config, checkpoint)
