"""Files of lower precision: what is quantized, what stays in float, and what the gate lets out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mmhrnet import runtime
from mmhrnet.config.stored import make_config_for
from mmhrnet.deploy import load, precision
from mmhrnet.deploy.export import ExportError
from mmhrnet.deploy.from_config import export_config
from mmhrnet.deploy.precision import FLOAT32, Lower
from mmhrnet.deploy.quantize import _choose, choose_method, find_part, quantize
from mmhrnet.deploy.units import has_bf16
from mmhrnet.deploy.whole import draw_images
from mmhrnet.errors import ConfigError
from mmhrnet.models.archs import ARCHS

FEW = {'test_dataloader.dataset.indices': 8, 'train_dataloader.dataset.indices': 8}
CONFIG = 'configs/mmpretrain/hrnet-w18-small-v2_4xb64_in1k.py'
Write = Callable[..., Path]


@pytest.fixture(scope='module')
def write(untrained: Callable) -> Iterator[Write]:
    """Writes a classifier of one unit in each stage."""
    with pytest.MonkeyPatch.context() as patch:
        stages = ARCHS['w18_small_v2']
        shallow = tuple(s._replace(modules=1, blocks=(1,) * len(s.blocks)) for s in stages)
        patch.setitem(ARCHS, 'w18_small_v2', shallow)
        config, checkpoint = untrained(CONFIG)

        def call(out: Path, lower: Lower = FLOAT32, **options: object) -> Path:
            kind = 'onnx' if out.suffix == '.onnx' else 'pt2'
            options = dict(format=kind, static=True, batch=1, **options)
            edits = dict(FEW)
            return export_config(
                config, checkpoint, out=out, lower=lower, cfg_options=edits, **options
            )

        yield call


@pytest.fixture(scope='module')
def plain(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp('plain') / 'a.onnx')


@pytest.fixture(scope='module')
def int8(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated on training data and let out by its metrics."""
    return write(tmp_path_factory.mktemp('int8') / 'a.onnx', Lower('int8', 8, max_drop=100))


def test_eight_bits(int8: Path, plain: Path) -> None:
    assert int8.stat().st_size < 0.35 * plain.stat().st_size
    about = load(int8).metadata
    assert about['precision'] == 'int8'
    assert about['accuracy'] == 'at most 100 points below float32 on the validation data'
    image = draw_images(1, 64, 64)[0].numpy()[..., ::-1]
    models = [runtime.load(plain), *(runtime.load(int8, name) for name in runtime.BACKENDS)]
    expected, *found = (model.run(image[None, ..., ::-1])['probabilities'] for model in models)
    for one in found:
        assert 0 < np.abs(one - expected).max() < 0.1
    assert int8.with_suffix('.png').stat().st_size > 10_000


def test_layers_and_what_lies_between_are_quantized(int8: Path) -> None:
    model = onnx.load(int8)
    kinds = [node.op_type for node in model.graph.node]
    made = {output: node.op_type for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == 'Conv']
    quantized = [n for n in convolutions if made.get(n.input[0]) == 'DequantizeLinear']
    assert 0.7 * len(convolutions) < len(quantized)
    assert kinds.count('Add') > 10
    after = {name: node.op_type for node in model.graph.node for name in node.input}
    sums = [node for node in model.graph.node if node.op_type == 'Add']
    assert sum(after.get(n.output[0]) == 'QuantizeLinear' for n in sums) > len(sums) / 2


@pytest.mark.parametrize(
    ('errors', 'kept'),
    [
        ({'a': 1.0, 'b': 0.1, 'c': 0.001}, {'a', 'b'}),
        ({'large': 1.0, 'b': 0.1, 'c': 0.1}, {'b', 'c'}),
        ({'a': 1.0, 'b': 1.0, 'c': 1.0}, {'a', 'b'}),
    ],
)
def test_the_layers_that_hurt_stay_in_float(errors: dict[str, float], kept: set[str]) -> None:
    shares = {'a': 0.02, 'b': 0.02, 'c': 0.02, 'large': 0.5}
    layers = _choose(errors, shares)
    assert {one.name for one in layers if one.is_float} == kept
    assert [one.name for one in layers] == list(errors)


@pytest.mark.parametrize(
    ('percentile', 'taken'), [(0.5, 'MinMax'), (0.4, 'Percentile'), (2.0, 'MinMax')]
)
def test_peaks_are_clipped_only_where_that_is_much_better(percentile: float, taken: str) -> None:
    assert choose_method({'MinMax': 1.0, 'Percentile': percentile, 'Entropy': 3.0}) == taken


def head_of_bright_pixels(path: Path) -> Path:
    """A file whose only layer sees the bright pixels of a picture, of which there may be none."""
    made = onnx.helper.make_node
    nodes = [
        made('Cast', ['images'], ['float'], to=onnx.TensorProto.FLOAT),
        made('Reshape', ['float', 'rows'], ['pixels']),
        made('ReduceMax', ['pixels', 'axis'], ['brightest'], keepdims=0),
        made('Greater', ['brightest', 'limit'], ['is_bright']),
        made('Compress', ['pixels', 'is_bright'], ['bright'], axis=0),
        made('MatMul', ['bright', 'net.model.head.weight'], ['logits'], name='head'),
        made('Sigmoid', ['logits'], ['scores']),
    ]
    weight = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    constants = {
        'rows': np.array([-1, 3]),
        'axis': np.array([1]),
        'limit': np.float32(128),
        'net.model.head.weight': weight,
    }
    graph = onnx.helper.make_graph(
        nodes,
        'graph',
        [onnx.helper.make_tensor_value_info('images', onnx.TensorProto.UINT8, [1, 4, 4, 3])],
        [onnx.helper.make_tensor_value_info('scores', onnx.TensorProto.FLOAT, [None, 4])],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    ids = [onnx.helper.make_opsetid('', 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=ids, ir_version=8), path)
    return path


def test_images_in_which_a_head_has_nothing_to_do_are_left_out(tmp_path: Path) -> None:
    file, out = head_of_bright_pixels(tmp_path / 'a.onnx'), tmp_path / 'b.onnx'
    dark = [np.full((4, 4, 3), value, np.uint8) for value in (0, 10, 20, 30)]
    bright = [np.full((4, 4, 3), value, np.uint8) for value in (140, 160, 180, 200)]
    assert quantize(file, [*bright, *dark], out).error < 0.01
    with pytest.raises(ConfigError, match='has nothing to do in all images'):
        quantize(file, dark, out)


def test_decoding_is_not_quantized(whole_files: Mapping[str, Path]) -> None:
    part = find_part(onnx.load(whole_files['mmpose']))
    assert 'head.final_layer' in part.nodes
    assert not [name for name in part.nodes if 'decoder' in name]
    ends = {end for ends in part.ends.values() for end in ends}
    assert len(ends) == 1  # the heatmaps


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'near'), [('fp16', 1e-3), ('bf16', 1e-2)])
def test_half_precision(write: Write, plain: Path, tmp_path: Path, kind: str, near: float) -> None:
    path = write(tmp_path / 'a.pt2', Lower(kind, max_drop=None))
    about = load(path).metadata
    assert (about['precision'], about['accuracy']) == (kind, 'not measured')
    images = draw_images(1, 64, 64)
    (found,), (expected,) = (load(p)(images) for p in (path, plain))
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < near
    assert path.stat().st_size < 0.6 * plain.stat().st_size


@pytest.mark.slow
def test_openvino_computes_a_file_of_bf16_in_bf16(
    write: Write, plain: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / 'a.onnx', Lower('bf16', max_drop=100))
    images = draw_images(1, 64, 64)
    evaluated = precision._load(path)(images)[0]
    image = images.numpy()
    given, expected = (
        [runtime.load(one, name).run(image)['probabilities'] for name in runtime.BACKENDS]
        for one in (path, plain)
    )
    np.testing.assert_allclose(given[0], expected[0], atol=1e-6)
    np.testing.assert_array_equal(evaluated, given[1])
    assert np.abs(given[1] - expected[1]).max() < 1e-2
    if has_bf16():
        assert np.abs(given[1] - expected[1]).max() > 1e-6


@pytest.mark.parametrize('has', [True, False])
def test_a_cpu_without_the_instructions_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has: bool
) -> None:
    monkeypatch.setattr(precision, 'has_bf16', lambda: has)
    monkeypatch.setattr(precision.platform, 'machine', lambda: 'x86_64')
    precision._warn_of_cpu('bf16')
    assert ('no instructions for bf16' in caplog.text) == (not has)


def test_the_config_in_a_checkpoint_calibrates_too(untrained: Callable, plain: Path) -> None:
    cfg, _ = make_config_for(None, untrained(CONFIG).checkpoint, with_data=True)
    images = precision.calibration_images(cfg, plain, 3)
    assert [image.shape for image in images] == [(64, 64, 3)] * 3


def test_wrapped_training_data_calibrate_too(untrained: Callable, plain: Path) -> None:
    cfg, _ = make_config_for(*untrained(CONFIG), with_data=True)
    wrapped = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = wrapped
    assert len(precision.calibration_images(cfg, plain, 3)) == 3


def test_a_folder_calibrates_too(plain: Path, coco_mini: Path) -> None:
    folder = next(path.parent for path in coco_mini.rglob('*.jpg'))
    images = precision.calibration_images(None, plain, str(folder))
    assert len(images) == len([*folder.rglob('*.jpg')])
    assert {image.shape for image in images} == {(64, 64, 3)}


@pytest.mark.slow
def test_what_the_gate_refuses_does_not_appear(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r'falls by .* more than --max-drop -101; no file'):
        write(tmp_path / 'a.onnx', Lower('bf16', max_drop=-101))
    assert not list(tmp_path.iterdir())


def test_the_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / 'a.onnx'
    figures = iter([{'NME': 0.03, 'other': 1}, {'NME': 0.041, 'other': 0}] * 2)

    class Runner:
        def test(self) -> dict[str, float]:
            return next(figures)

    class PoseHost:
        from mmhrnet.hosts.mmpose import HOST

        metrics = HOST.metrics

    monkeypatch.setattr(precision, 'file_runner', lambda *_: Runner())
    monkeypatch.setattr(precision, 'host_of', lambda _: PoseHost)
    monkeypatch.setattr(precision, '_load', lambda _: None)
    precision.check_drop(None, out, out, 1.2)
    with pytest.raises(ExportError, match=r'NME falls by 1\.10 points, more than --max-drop 1;'):
        precision.check_drop(None, out, out, 1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lower=Lower('int8')), '--precision int8 needs --format onnx'),
        (dict(content='raw', lower=Lower('fp16')), '--precision is for whole models'),
        (dict(lower=Lower('int8', 1, None)), 'Quantizing needs two images or more, not 1'),
        pytest.param(
            dict(lower=Lower('int8', 'nowhere', None)), 'There is no image', marks=pytest.mark.slow
        ),
    ],
)
def test_mistakes(write: Write, tmp_path: Path, options: dict, message: str) -> None:
    is_pt2 = 'format' in message or 'whole' in message
    with pytest.raises(ConfigError, match=message):
        write(tmp_path / ('a.pt2' if is_pt2 else 'a.onnx'), **options)
    assert not list(tmp_path.iterdir())
