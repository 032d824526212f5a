"""The runtime without PyTorch: what it finds is what the demo writes, and it runs alone."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from mmhrnet import runtime
from mmhrnet.apis import Predictor, read_image
from mmhrnet.deploy.from_config import export_config
from mmhrnet.inference.demo import write_prediction
from mmhrnet.runtime import Model, ModelError, load, main

TASKS = ('mmpose', 'mmseg', 'mmpretrain')
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
            json.loads((tmp_path / of / f'{image.stem}.json').read_text())
            for of in ('runtime', 'demo')
        )
        check_close(found, expected, 0)
        assert read_image(folder / f'{image.stem}.png').shape == read_image(image).shape
        if host == 'mmseg':
            maps = [
                cv2.imread(str(tmp_path / of / f'{image.stem}_labels.png'), 0)
                for of in ('runtime', 'demo')
            ]
            assert (maps[0] != maps[1]).mean() < 1e-4


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
    about, *frames = map(json.loads, (tmp_path / 'out/a.jsonl').read_text().splitlines())
    assert (about['width'], about['height'], about['fps']) == (64, 48, 10)
    assert [frame['frame'] for frame in frames] == [0, 1, 2]
    assert cv2.VideoCapture(str(tmp_path / 'out/a.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 3


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
            'There is no image, folder of images or video',
        ),
        ((whole_files['mmpose'], tmp_path / 'no.mp4'), 'is not a video that OpenCV reads'),
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
