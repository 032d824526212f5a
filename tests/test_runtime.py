"""The runtime without PyTorch: what it finds is what the demo writes, and it runs alone."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmhrnet import __version__, runtime
from mmhrnet.apis import Predictor, read_image
from mmhrnet.datasets.images import write_png
from mmhrnet.deploy.bundle import _describe
from mmhrnet.deploy.from_config import export_config
from mmhrnet.hosts.mmpretrain_whole import WHOLE
from mmhrnet.hosts.whole import read_steps
from mmhrnet.inference.demo import write_prediction
from mmhrnet.runtime import Model, ModelError, TopDown, load, main

TASKS = ('mmpose', 'mmseg', 'mmpretrain')
RESULTS = ('runtime', 'demo')
SOURCE = Path(runtime.__file__)


@pytest.fixture(scope='module')
def without_opencv() -> ModuleType:
    """The runtime as it is where OpenCV is missing."""
    spec = importlib.util.spec_from_file_location('runtime_without_opencv', SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'cv2', None)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def check_close(found: object, expected: object, digits: float) -> None:
    """Numbers differ by no more than a rounding; everything else is equal."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        for key, value in expected.items():
            check_close(found[key], value, 0.0101 if key == 'keypoints' else 1.01e-4)
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            check_close(a, b, digits)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=digits)
    else:
        assert found == expected


@pytest.mark.parametrize('backend', runtime.BACKENDS)
@pytest.mark.parametrize('host', TASKS)
def test_it_writes_what_the_demo_writes(
    host: str, backend: str, whole_files: dict, untrained: Callable, tmp_path: Path, scene: Path
) -> None:
    pytest.importorskip(backend)
    large = tmp_path / 'large.jpg'
    cv2.imwrite(str(large), cv2.resize(read_image(scene), (431, 317)))
    predictor = Predictor(checkpoint=untrained(host).checkpoint)
    for image in (scene, large):
        write_prediction(predictor, image, tmp_path / 'demo' / image.stem)
        folder = tmp_path / 'runtime'
        words = [whole_files[host], image, '--json', folder, '--draw', folder, '--backend', backend]
        assert main([*map(str, words), '--threads', '1']) == 0
        found, expected = (
            json.loads((tmp_path / of / f'{image.stem}.json').read_text()) for of in RESULTS
        )
        check_close(found, expected, 0)
        assert read_image(folder / f'{image.stem}.png').shape == read_image(image).shape
        if host == 'mmseg':
            maps = [
                cv2.imread(str(tmp_path / of / f'{image.stem}_labels.png'), 0) for of in RESULTS
            ]
            assert (maps[0] != maps[1]).mean() < 1e-4


@pytest.mark.parametrize('size', [(317, 431), (96, 300)])
def test_labels_of_aligned_corners_are_those_of_the_host(
    size: tuple[int, int], segmentors: Callable, scene: Path
) -> None:
    check_labels(segmentors('aligned'), cv2.resize(read_image(scene), size[::-1]))


# Smaller than a window in height, as large as one, and larger.
@pytest.mark.parametrize('size', [(50, 219), (80, 96), (158, 219)])
def test_labels_of_sliding_windows_are_those_of_the_host(
    size: tuple[int, int], segmentors: Callable, scene: Path
) -> None:
    check_labels(segmentors('sliding'), cv2.resize(read_image(scene), size[::-1]))


@pytest.mark.parametrize('count', [None, 3])
def test_windows_lie_where_the_host_has_them(count: int | None) -> None:
    from mmengine.config import ConfigDict
    from mmseg.models import EncoderDecoder

    def logits_of(windows: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(windows[0, 0].numel()).reshape(windows.shape[2:])
        return windows.float() * ramp

    def session(images: np.ndarray) -> list[np.ndarray]:
        return [logits_of(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()]

    windows = dict(crop_size=[20, 24], stride=[7, 24])
    about = dict(shape='free', fixed_size=False, outputs=['logits'], **windows)
    host = SimpleNamespace(
        test_cfg=ConfigDict(windows), out_channels=3, encode_decode=lambda x, _: logits_of(x)
    )
    rng = np.random.default_rng(0)
    for size in [(20, 24), (21, 25), (27, 48), (41, 71)] + [(9, 60), (60, 9), (9, 9)] * (not count):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        shape = [count, 20, 24, 3] if count else 'free'
        found = runtime.slide(Model({**about, 'shape': shape}, session), image)
        inputs = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()
        expected = EncoderDecoder.slide_inference(host, inputs, [{}])[0]
        np.testing.assert_array_equal(found, expected)


def check_labels(segmentor: Any, image: np.ndarray) -> None:
    """Compares the classes of the pixels with those of the host."""
    file, *model, options = segmentor
    predictor = Predictor(*model, cfg_options=options)
    expected = predictor(image).label_map
    found = load(file, threads=1)(image)['label_map']
    assert expected is not None
    assert len(np.unique(expected)) > 2
    assert (found != expected).mean() <= 1e-4


@pytest.mark.parametrize('size', [(65, 101), (37, 200), (17, 30), (1, 257)])
def test_corners_are_aligned_as_in_torch(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(17, 30)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size, mode='bilinear', align_corners=True
    )
    found = runtime.resize(image, size, aligned=True)
    np.testing.assert_allclose(found, expected[0, 0], rtol=0, atol=1e-5)


def test_importing_it_is_light() -> None:
    code = (
        'import sys, mmhrnet.runtime; '
        "print({'torch', 'mmengine', 'mmcv', 'onnxruntime', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'


def test_a_copy_runs_alone(whole_files: dict, tmp_path: Path, scene: Path) -> None:
    copy = tmp_path / 'a_copy.py'
    shutil.copy(SOURCE, copy)
    blocked = tmp_path / 'blocked.py'
    blocked.write_text(
        'import runpy, sys\n'
        "for name in ('torch', 'mmhrnet', 'mmengine', 'mmcv', 'mmpose'): sys.modules[name] = None\n"
        'sys.argv = sys.argv[1:]\n'
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [
        sys.executable,
        blocked,
        copy,
        whole_files['mmpose'],
        scene,
        '--json',
        tmp_path / 'out',
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert json.loads((tmp_path / 'out' / f'{scene.stem}.json').read_text())['found']


def test_persons_come_in_batches(whole_files: dict, scene: Path) -> None:
    model, image = load(whole_files['mmpose'], threads=1), read_image(scene)
    corners = np.random.default_rng(0).uniform(0, 60, (20, 2))
    boxes = np.hstack([corners, corners + 50])
    together = model(image, boxes)['found']
    assert len(together) == 20 > runtime.BATCH
    for box, person in zip(boxes[::7], together[::7]):
        (alone,) = model(image, box)['found']
        check_close(person, alone, 0.0101)
    assert model(image, np.zeros((0, 4)))['found'] == []


def fake(shape: object, fixed: bool = True) -> Model:
    """A classifier of 16 x 8 pixels that returns the first pixel."""
    about = dict(task='classification', shape=shape, size=[16, 8], fixed_size=fixed, steps=[])
    about |= dict(mmhrnet='1', classes=['a'], outputs=['probabilities'])
    return Model(about, lambda images: [images[:, 0, 0].astype(np.float32)])


def test_a_fixed_batch_is_filled_up() -> None:
    image = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)
    record = fake([4, 16, 8, 3])(image)
    assert record['found'][0] == {'label': 0, 'class': 'a', 'score': 2.0}  # RGB of BGR
    assert [thing['class'] for thing in record['found']] == ['a', '1', '2']


def test_videos(tmp_path: Path) -> None:
    video = tmp_path / 'a.mp4'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'mp4v'), 10, (64, 48))
    for shade in (0, 100, 200):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    model = fake('free', fixed=False)
    options = runtime.Namespace(draw=tmp_path / 'out', json=tmp_path / 'out')
    runtime.write_video(model, video, options)
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'a.jsonl', 'a.mp4'}
    about, *frames = map(json.loads, (tmp_path / 'out/a.jsonl').read_text().splitlines())
    assert (about['width'], about['height'], about['fps']) == (64, 48, 10)
    assert [frame['frame'] for frame in frames] == [0, 1, 2]
    assert cv2.VideoCapture(str(tmp_path / 'out/a.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 3


class Camera:
    """A camera with pictures of odd sides, until Ctrl-C or the end."""

    def __init__(self, count: int, end: type[BaseException] | None) -> None:
        self.left, self.end = count, end

    def get(self, _: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        if self.left >= 0:
            return True, np.full((47, 63, 3), self.left % 256, np.uint8)
        if self.end:
            raise self.end
        return False, None


@pytest.mark.parametrize('end', [None, KeyboardInterrupt])
def test_a_camera_runs_until_its_end(
    end: type[BaseException] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, '_capture', lambda _: Camera(3, end))
    out = tmp_path / 'out'
    options = runtime.Namespace(draw=out, json=out)
    runtime.write_video(fake('free', fixed=False), 0, options)
    about, *frames = map(json.loads, (out / 'camera0.jsonl').read_text().splitlines())
    assert list(about) == ['program', 'version', 'camera', 'fps', 'width', 'height']
    assert [frame['frame'] for frame in frames] == [0, 1, 2]
    assert {path.name for path in out.iterdir()} == {'camera0.jsonl', 'camera0.mp4'}
    assert cv2.VideoCapture(str(out / 'camera0.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_the_length_of_a_video_costs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = runtime.Namespace(draw=None, json=tmp_path)
    peaks = []
    for count in (50, 50, 1000):  # the first also imports and fills caches
        monkeypatch.setattr(runtime, '_capture', lambda _, count=count: Camera(count, None))
        tracemalloc.start()
        runtime.write_video(fake('free', fixed=False), 0, options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 50_000  # 50 bytes a frame, less than a number of each


def test_a_part_of_a_video_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, '_capture', lambda _: Camera(3, KeyboardInterrupt))
    options = runtime.Namespace(draw=tmp_path, json=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        runtime.write_video(fake('free', fixed=False), Path('a.mp4'), options)
    assert not list(tmp_path.iterdir())


def test_lines_are_printed_as_they_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(runtime, '_capture', lambda _: Camera(2, None))
    model, counts = fake('free', fixed=False), []

    def watch(images: np.ndarray) -> list[np.ndarray]:
        counts.append(capsys.readouterr().out.count('\n'))
        return model.session(images)

    watched = Model(model.about, watch)
    runtime.write_video(watched, 0, runtime.Namespace(draw=None, json=None))
    assert [*counts, capsys.readouterr().out.count('\n')] == [0, 2, 1]


def about_detection(**more: object) -> dict[str, object]:
    """What the file of a detector says about itself."""
    about: dict[str, object] = dict(task='detection', mmhrnet=__version__, shape='free', steps=[])
    about |= dict(size=[1, 1], fixed_size=False, classes=['cat', 'person'], palette=[[255, 0, 0]])
    return about | dict(outputs=['boxes', 'scores', 'labels', 'masks'], mask_threshold=0.5) | more


def fake_detector(objects: list[tuple], masks: bool = False, **more: object) -> Model:
    """A detector that finds the same (label, score, box) in each picture, with full masks."""
    outputs = [np.zeros((1, 100, *shape), np.float32) for shape in ((4,), (), (), (28, 28))]
    for i, (label, score, box) in enumerate(objects):
        for output, value in zip(outputs, (box, score, label, 1)):
            output[0, i] = value
    outputs[2] = outputs[2].astype(np.int64)
    names = ['boxes', 'scores', 'labels', 'masks'][: 4 if masks else 3]
    return Model(about_detection(**{'outputs': names, **more}), lambda _: outputs[: len(names)])


def host_detector(predictor: Predictor) -> Model:
    """The host's detector in the place of a file: from the input to boxes and what is in them."""
    from mmdet.structures import DetDataSample
    from mmengine.registry import DefaultScope

    model, masks = predictor.model, []
    model.roi_head.mask_head.register_forward_hook(lambda *call: masks.append(call[2]))

    def run(images: np.ndarray) -> list[np.ndarray]:
        size = images.shape[1:3]
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1, 1)))
        bgr = torch.from_numpy(images[0, ..., ::-1].copy()).permute(2, 0, 1)
        with torch.no_grad(), DefaultScope.overwrite_default_scope('mmdet'):
            (sample,) = model.test_step({'inputs': [bgr], 'data_samples': [sample]})
        found = sample.pred_instances
        fields = [found.bboxes, found.scores, found.labels, masks.pop()[:, 0].sigmoid()]
        missing = 100 - len(found)
        return [np.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)])[None] for x in fields]

    pipeline = predictor.cfg.test_dataloader.dataset.pipeline
    steps = [dict(step) for step in pipeline if step.type == 'Resize']
    meta = model.dataset_meta
    about = about_detection(classes=predictor.classes, palette=meta['palette'], steps=steps)
    return Model(about, run, predictor.score)


@pytest.fixture(scope='module')
def detector(untrained: Callable) -> Predictor:
    predictor = Predictor(checkpoint=untrained('mmdet').checkpoint)
    predictor.classes = ('disk', 'star', 'person')  # the last for what a random network finds
    return predictor


@pytest.fixture(params=[False, True], ids=['small', 'large'])
def picture(request: pytest.FixtureRequest, scene: Path, tmp_path: Path) -> Path:
    path = tmp_path / 'picture.png'
    image = read_image(scene)
    write_png(path, cv2.resize(image, (431, 317)) if request.param else image)
    return path


def check_record(model: Model | TopDown, predictor: Predictor, image: Path, out: Path) -> list:
    """Compares what is written for an image with what the demo writes; returns what is found."""
    write_prediction(predictor, image, out / 'demo')
    options = runtime.Namespace(draw=out, json=out)
    runtime.write_image(model, image, Path('runtime'), options)
    found, expected = (json.loads((out / f'{name}.json').read_text()) for name in RESULTS)
    check_close(found, expected, 0.0101)
    assert read_image(out / 'runtime.png').shape == read_image(image).shape
    return found['found']


def test_objects_are_those_of_the_demo(detector: Predictor, picture: Path, tmp_path: Path) -> None:
    model = host_detector(detector)
    found = check_record(model, detector, picture, tmp_path)
    assert len(found) > 50
    height, width = read_image(picture).shape[:2]
    assert {tuple(thing['mask']['size']) for thing in found} == {(height, width)}


def test_joints_of_persons_are_those_of_the_demo(
    detector: Predictor, picture: Path, whole_files: dict, untrained: Callable, tmp_path: Path
) -> None:
    model = TopDown(host_detector(detector), load(whole_files['mmpose'], threads=1))
    predictor = Predictor(checkpoint=untrained('mmpose').checkpoint, detector=detector)
    found = check_record(model, predictor, picture, tmp_path)
    assert len({person['bbox_score'] for person in found}) > 3


def test_boxes_go_back_as_in_the_host() -> None:
    from mmdet.structures.bbox import scale_boxes

    boxes = np.random.default_rng(0).uniform(0, 300, (9, 4)).astype(np.float32)
    step = dict(type='Resize', scale=[97, 61], keep_ratio=False)
    model = fake_detector([(0, 0.9, box) for box in boxes], steps=[step])
    image = np.zeros((113, 227, 3), np.uint8)
    expected = scale_boxes(torch.from_numpy(boxes), [1 / (97 / 227), 1 / (61 / 113)])
    np.testing.assert_array_equal(runtime.detect(model, image)['boxes'], expected)


@pytest.mark.parametrize('size', [(64, 96), (63, 127), (31, 100), (1, 257)])
@pytest.mark.parametrize(
    'mode', [('logical_or', 31, 1), ('logical_or', 127, 0), ('size_divisor', 32, 0)]
)
def test_pictures_are_padded_as_in_the_host(size: tuple[int, int], mode: tuple) -> None:
    from mmdet.datasets.transforms import RandomCenterCropPad

    *way, more = mode
    step = dict(test_pad_mode=way, test_pad_add_pix=more, mean=[10, 20, 30], to_rgb=True)
    unused = dict(ratios=None, border=None, std=[1, 1, 1], test_mode=True)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = RandomCenterCropPad(**step, **unused)({'img': image.astype(np.float32)})
    step['type'] = 'RandomCenterCropPad'
    np.testing.assert_array_equal(runtime.pad_around(image, step), expected['img'])
    box = np.array([10, 20, 30, 40], np.float32)
    found = runtime.detect(fake_detector([(0, 0.9, box)], steps=[step]), image)
    np.testing.assert_array_equal(found['boxes'][0], box - expected['border'][[2, 0, 2, 0]])


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('options', [dict(scale=(96, 64)), dict(scale=80)])
def test_pictures_of_classifiers_are_resized_as_in_the_host(backend: str, options: dict) -> None:
    import mmpretrain.datasets  # noqa: F401
    from mmpretrain.registry import TRANSFORMS

    image = np.random.default_rng(0).integers(0, 256, (50, 71, 3), np.uint8)
    step = dict(type='Resize', **options, backend=backend)
    expected = TRANSFORMS.build(step).transform({'img': image})['img']
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[step]))))
    (written,) = read_steps(cfg, WHOLE.steps)
    found = runtime.STEPS['Resize'](image, json.loads(json.dumps(written)))
    np.testing.assert_array_equal(found, expected)


def test_masks_are_pasted_as_in_the_host() -> None:
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    rng, size = np.random.default_rng(0), (120, 200)
    corners = rng.uniform(-5, 100, (40, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 110, (40, 2))]).astype(np.float32)
    boxes[0, 2] = boxes[0, 0]  # without an extent
    masks = np.stack([cv2.GaussianBlur(rng.random((28, 28)), (7, 7), 0) for _ in boxes])
    masks = masks.astype(np.float32)
    different = 0
    for mask, box in zip(masks, boxes):
        found = runtime.paste_mask(mask, box, size, 0.5)
        inside, place = _do_paste_mask(
            torch.from_numpy(mask[None, None]), torch.from_numpy(box[None]), *size
        )
        expected = np.zeros(size, bool)
        expected[place] = inside[0] >= 0.5
        different += (found != expected).sum()
    assert different <= 1e-4 * len(boxes) * size[0] * size[1]


def test_masks_are_coded_as_by_pycocotools() -> None:
    from pycocotools import mask as coco

    rng = np.random.default_rng(0)
    blobs = [cv2.GaussianBlur(rng.random((70, 90)), (0, 0), s) > 0.5 for s in (0.5, 1, 3, 9)]
    masks = [
        *blobs,
        rng.random((1, 400)) > 0.5,
        np.zeros((7, 5), bool),
        np.ones((3000, 2000), bool),
    ]
    masks += [rng.random(rng.integers(1, 50, 2)) > share for share in rng.random(50)]
    for mask in masks:
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        code = runtime.encode_mask(mask)
        assert code == {'size': expected['size'], 'counts': expected['counts'].decode()}
        np.testing.assert_array_equal(runtime.decode_mask(code), mask)


def test_doubles_are_dropped_as_in_the_host() -> None:
    from mmpose.evaluation.functional import nms

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (50, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 50, (50, 2))]).astype(np.float32)
    scores = rng.random(50)
    kept = runtime._drop_doubles(boxes, scores)
    assert kept == nms(np.column_stack([boxes, scores]), runtime.OVERLAP)
    assert 1 < len(kept) < 50


def test_objects_are_drawn(without_opencv: ModuleType) -> None:
    image = np.full((60, 200, 3), 100, np.uint8)
    objects = [
        (0, 0.9, [10, 10, 50, 50]),
        (1, 0.31, [120, 10, 190, 50]),
        (0, 0.29, [60, 0, 99, 59]),
    ]
    for module in (runtime, without_opencv):
        model = fake_detector(objects, masks=True)
        picture = module.draw(model, image, model(image))
        np.testing.assert_array_equal(picture[45, 30], [50, 50, 177])  # half of red, BGR
        assert (abs(picture[30, 50] - np.float32([0, 0, 255])) < 20).all()  # the edge
        assert (picture[:, 60:110] == 100).all()
        assert (image == 100).all()


def test_a_detector_finds_persons_for_a_pose_estimator(whole_files: dict, scene: Path) -> None:
    pose, image = load(whole_files['mmpose'], threads=1), read_image(scene)
    objects = [(1, 0.9, [5, 5, 60, 90]), (0, 0.8, [70, 5, 99, 50]), (1, 0.2, [70, 5, 99, 50])]
    for classes, box in (['cat', 'person'], objects[0][2]), ([], objects[1][2]):
        record = TopDown(fake_detector(objects, classes=classes), pose)(image)
        assert [person['bbox'] for person in record['found']] == [box]
    nobody = TopDown(fake_detector([]), pose)
    assert nobody(image) == record | {'found': []}
    assert runtime.draw(nobody, image, nobody(image)).shape == image.shape


def test_mistakes_about_detectors(whole_files: dict) -> None:
    detector, pose = fake_detector([]), load(whole_files['mmpose'], threads=1)
    for places, message in (
        ((pose, pose), 'The detector must be a file for detection, not for pose'),
        ((detector, detector), 'finds persons for a model for pose, not for detection'),
        ((fake_detector([], classes=['cat']), pose), "The detector has no class 'person'"),
    ):
        with pytest.raises(ModelError, match=message):
            TopDown(*places)
    with pytest.raises(ModelError, match=r'must be BGR, \(H, W, 3\) uint8'):
        TopDown(detector, pose)(np.zeros((4, 4)))
    static = fake_detector([], shape=[1, 32, 64, 3])
    with pytest.raises(ModelError, match='without --static takes any number and size'):
        static(np.zeros((32, 63, 3), np.uint8))


@pytest.mark.parametrize('size', [(97, 64), (256, 341), (30, 300), (97, 131)])
def test_it_resizes_as_pillow_does(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(runtime.smooth(image, size), expected)


def test_without_opencv_geometry_is_the_same_but_rounding(without_opencv: ModuleType) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (9, 9), 0)
    for size in ((60, 100), (240, 333)):
        pair = [module.resize(image, size).astype(int) for module in (runtime, without_opencv)]
        assert abs(pair[0] - pair[1]).max() <= 1
    box, size = (np.float32([90, 60]), np.float32([75, 100])), (96, 128)
    for name in ('_matrix', '_udp_matrix'):
        own, other = (getattr(module, name)(*box, size) for module in (runtime, without_opencv))
        np.testing.assert_allclose(own, other, atol=1e-5)
        pair = [m.warp(image, own, size).astype(int) for m in (runtime, without_opencv)]
        assert np.median(abs(pair[0] - pair[1])) <= 1
        assert abs(pair[0] - pair[1]).mean() < 1


def test_without_opencv_it_reads_and_draws(
    whole_files: dict, without_opencv: ModuleType, tmp_path: Path, scene: Path
) -> None:
    for host in TASKS:
        words = map(str, [whole_files[host], scene, '--json', tmp_path, '--draw', tmp_path])
        assert without_opencv.main(list(words)) == 0
        assert read_image(tmp_path / f'{scene.stem}.png').shape == read_image(scene).shape


def test_mistakes_are_one_line(
    whole_files: dict, tmp_path: Path, scene: Path, capsys: pytest.CaptureFixture
) -> None:
    text, cut = tmp_path / 'text.jpg', tmp_path / 'cut.onnx'
    text.write_text('text')
    cut.write_bytes(whole_files['mmpose'].read_bytes()[:100_000])
    (tmp_path / 'empty').mkdir()
    for words, message in (
        ((tmp_path / 'no.onnx', scene), 'There is no file'),
        ((cut, scene), 'is not an ONNX file, or it is truncated'),
        ((text, scene), 'is not an ONNX file, or it is truncated'),
        ((whole_files['mmpose'], text), 'is not an image that can be read'),
        (
            (whole_files['mmpose'], tmp_path / 'empty'),
            'There is no image, folder of images, video or camera',
        ),
        ((whole_files['mmpose'], tmp_path / 'no.mp4'), 'is not a video that OpenCV reads'),
        ((whole_files['mmpose'], 9), '9 is not a camera that OpenCV reads'),
        ((whole_files['mmpose'], scene, '--detector', tmp_path / 'no.onnx'), 'There is no file'),
        (
            (whole_files['mmpose'], scene, '--detector', whole_files['mmpose']),
            'The detector must be a file for detection, not for pose',
        ),
    ):
        assert main([*map(str, words), '--json', str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_mistakes_in_python(
    whole_files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((16, 8, 3), np.uint8)
    model = fake([2, 16, 8, 3])
    with pytest.raises(ModelError, match='Boxes are for pose; this file is for classification'):
        model(image, np.zeros((1, 4)))
    with pytest.raises(ModelError, match=r'must be BGR, \(H, W, 3\) uint8'):
        model(image.astype(np.float32))
    with pytest.raises(ModelError, match=r'takes images of the shape \(2, 16, 8, 3\), not \(3,'):
        model.run(np.zeros((3, 16, 8, 3), np.uint8))
    with pytest.raises(ModelError, match='There is no backend tensorrt: choose auto'):
        load(whole_files['mmpose'], 'tensorrt')
    for name in runtime.BACKENDS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelError, match='pip install onnxruntime'):
        load(whole_files['mmpose'])
    with pytest.raises(ModelError, match='pip install openvino'):
        load(whole_files['mmpose'], 'openvino')


def test_other_onnx_files_are_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in 'xy')
    graph = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'g', [x], [y])
    model = helper.make_model(graph)
    path = tmp_path / 'a.onnx'
    for metadata in ({}, {'mmhrnet.json': '{"config": "raw"}'}):
        helper.set_model_props(model, metadata)
        onnx.save(model, path)
        with pytest.raises(ModelError, match='is not a whole model: write one with mmhrnet export'):
            load(path)
    weight = TensorProto(name='w', data_type=TensorProto.FLOAT, dims=[4], data_location=1)
    weight.external_data.add(key='location', value='secret.bin')
    model.graph.initializer.append(weight)
    onnx.save(model, path)
    with pytest.raises(ModelError, match='points to data outside of itself'):
        load(path)


@pytest.fixture(scope='module')
def bundle(untrained: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bundle')
    checkpoint = untrained('mmpretrain').checkpoint
    export_config(checkpoint, format='onnx', bundle=folder, license='MIT')
    return folder


def test_a_bundle_has_all_that_it_needs(bundle: Path) -> None:
    name = 'hrnet-w18-small-v1_4xb64_in1k'
    names = {'README.md', 'example.json', 'example.png', f'{name}.onnx', 'runtime.py'}
    assert {path.name for path in bundle.iterdir()} == names
    text = (bundle / 'README.md').read_text()
    assert f'`python runtime.py {name}.onnx example.png' in text
    assert 'uint8 (N, 64, 64, 3)' in text
    assert 'Licence of the weights: MIT.' in text
    assert len(text.splitlines()) == 10
    assert json.loads((bundle / 'example.json').read_text())['image'] == 'example.png'


def test_a_bundle_tells_about_windows(segmentors: Callable) -> None:
    about = load(segmentors('sliding').file).about
    text = _describe('a', about, 'MIT')
    assert 'of one window: runtime.py cuts a picture into those of 80 x 96 pixels, 48 and' in text


@pytest.mark.slow
def test_a_bundle_runs_in_a_bare_environment(bundle: Path, tmp_path: Path) -> None:
    python = tmp_path / 'env/bin/python'
    subprocess.run([sys.executable, '-m', 'venv', tmp_path / 'env'], check=True)
    packages = ['numpy', 'opencv-python-headless', 'onnxruntime']
    installed = subprocess.run([python, '-m', 'pip', 'install', '-q', *packages])
    if installed.returncode:
        pytest.skip('pip cannot install here')
    command = re.search(r'`python (runtime.*?)`', (bundle / 'README.md').read_text())
    assert command is not None
    folder = tmp_path / 'copy'
    shutil.copytree(bundle, folder)
    subprocess.run([python, *command[1].split()], cwd=folder, check=True)
    found, expected = (
        json.loads(path.read_text())['found']
        for path in (folder / 'results/example.json', bundle / 'example.json')
    )
    check_close(found, expected, 0)
    code = 'import importlib.util; print(importlib.util.find_spec("torch"))'
    done = subprocess.run([python, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'None'
