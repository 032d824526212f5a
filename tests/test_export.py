"""Exported files do what the model does, and none appears that does not."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import nn
from torch.torch_version import TorchVersion

from mmhrnet import HRNet, HRNetV2p
from mmhrnet.deploy import ExportError, export, load
from mmhrnet.deploy.export import FORMATS, compiler_problem
from mmhrnet.deploy.from_config import export_config
from mmhrnet.errors import ConfigError

COMBINED = {
    'model.head.decoder.type': 'UDPHeatmap',
    'model.head.decoder.heatmap_type': 'combined',
}
ONE_CLASS = {'model.decode_head.num_classes': 2, 'model.decode_head.out_channels': 1}
CHANNELS = (16, 32, 64, 128)
POSE = 'mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192.py'
SIMCC = 'mmpose/simcc_hrnet-w32_8xb64-210e_coco-256x192.py'
RLE = 'mmpose/td-reg_hrnet-w32_rle-8xb64-210e_coco-256x192.py'
UDP = 'mmpose/td-hm_hrnet-w32_udp-4xb32-210e_coco-256x192.py'
DARK = 'mmpose/td-hm_hrnet-w32_dark-4xb32-210e_coco-256x192.py'
SEGMENTATION = 'mmseg/fcn_hr18sv1_4xb3-120k_cityscapes-512x1024.py'
CLASSIFICATION = 'mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
DETECTION = 'mmdet/faster_rcnn_hrnetv2p_w18.py'
CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


def needs_torch(format: str, dynamic: bool = True) -> pytest.MarkDecorator:
    since = FORMATS[format].torch_free if dynamic else FORMATS[format].torch
    return pytest.mark.skipif(torch.__version__ < since, reason=f'needs torch {since}')


def cases(configs: Sequence[str], quick: set[tuple[str, str]]) -> list[ParameterSet]:
    return [
        pytest.param(
            *case, marks=[needs_torch(case[1]), *([] if case in quick else [pytest.mark.slow])]
        )
        for case in product(configs, ('pt2', 'onnx'))
    ]


TENSORS = cases((POSE, SEGMENTATION, CLASSIFICATION, DETECTION, SIMCC), {(CLASSIFICATION, 'pt2')})
WHOLE = cases(
    (POSE, SEGMENTATION, CLASSIFICATION, DETECTION, SIMCC, RLE, UDP, DARK),
    {(POSE, 'onnx'), (CLASSIFICATION, 'pt2')},
)
LOAD = 'import sys, torch; x, y = torch.load(sys.argv[2]);'
STAND_ALONE = {  # what who has the file alone writes
    'pt2': f'{LOAD} (z,) = torch.export.load(sys.argv[1]).module()(x)',
    'aoti': f'{LOAD} (z,) = torch._inductor.aoti_load_package(sys.argv[1])(x)',
    'onnx': f'import onnxruntime; {LOAD} '
    "(z,) = onnxruntime.InferenceSession(sys.argv[1]).run(None, {'images': x.numpy()})",
}
needs_compiler = pytest.mark.skipif(compiler_problem() is not None, reason=str(compiler_problem()))


@pytest.fixture(scope='module')
def net(randomized: object) -> nn.Module:
    torch.manual_seed(0)
    return randomized(HRNet('w18_small_v1', multiscale_output=False)).eval()


@pytest.fixture(scope='module')
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96)


@pytest.mark.parametrize(('config', 'format'), TENSORS)
def test_tensors_of_every_task(
    root: Path, tmp_path: Path, config: str, format: str, capsys: pytest.CaptureFixture
) -> None:
    static = config == SIMCC  # its classifier fixes the size
    shape = (256, 192) if static else (128, 160)
    out = tmp_path / f'model.{format}'
    content = 'features' if config == DETECTION else 'raw'
    made = export_config(
        root / 'configs' / config,
        format=format,
        out=out,
        content=content,
        shape=shape,
        static=static,
    )
    assert made == out
    assert list(tmp_path.iterdir()) == [out]
    assert capsys.readouterr().out.count('e-0') == (1 if static else 3)
    metadata = load(out).metadata
    assert metadata['config'] == Path(config).stem
    assert metadata['channels'] == 'RGB'
    assert metadata['mean'][0] == 123.675
    assert metadata['shape'] == ([2, 3, 256, 192] if static else 'free')


OPTIONS = {
    SEGMENTATION: dict(shape=(128, 160), probabilities=True),
    CLASSIFICATION: {},
    DETECTION: dict(shape=(128, 160)),
}
SMALL = {'model.backbone.arch': 'w18_small_v1'}


@pytest.mark.parametrize(('config', 'format'), WHOLE)
def test_whole_models_do_what_the_host_does(
    root: Path, tmp_path: Path, config: str, format: str, capsys: pytest.CaptureFixture
) -> None:
    options = OPTIONS.get(config, dict(flip_test=True))
    if config in (SIMCC, UDP, DARK):
        options = options | dict(cfg_options={**SMALL, 'model.head.in_channels': 16})
    if config == RLE:
        options = options | dict(cfg_options={**SMALL, 'model.neck.in_channels': CHANNELS})
    if format == 'onnx' and config in (POSE, UDP, DARK):
        options = options | dict(opset=17)  # of TensorRT 8
    out = tmp_path / f'model.{format}'
    export_config(root / 'configs' / config, format=format, out=out, **options)
    assert capsys.readouterr().out.count('x3 ') == 3  # comparisons
    whole = load(out)
    about = whole.metadata
    task = {'mmdet': 'detection', 'mmseg': 'segmentation', 'mmpretrain': 'classification'}
    assert about['task'] == task.get(config.partition('/')[0], 'pose')
    height, width = about['size']
    outputs = whole(torch.zeros(3, height, width, 3, dtype=torch.uint8))
    shapes = {name: tuple(y.shape) for name, y in zip(about['outputs'], outputs)}
    assert (
        shapes
        == {
            'pose': {'keypoints': (3, 17, 2), 'scores': (3, 17)},
            'classification': {'probabilities': (3, 1000)},
            'detection': {'boxes': (3, 100, 4), 'scores': (3, 100), 'labels': (3, 100)},
            'segmentation': {
                'labels': (3, 128, 160),
                'logits': (3, 19, 32, 40),
                'probabilities': (3, 19, 128, 160),
            },
        }[about['task']]
    )


def test_a_file_for_sliding_windows_is_of_one(root: Path, tmp_path: Path) -> None:
    windows = dict(crop_size=(48, 64), stride=(32, 48))
    options = dict(shape=(64, 96), cfg_options={'model.test_cfg': dict(mode='slide', **windows)})
    out = export_config(
        root / 'configs' / SEGMENTATION, out=tmp_path / 'a.pt2', static=True, **options
    )
    about = load(out).metadata
    assert (about['crop_size'], about['stride'], about['size']) == ([48, 64], [32, 48], [64, 96])
    labels, logits = load(out)(torch.zeros(2, 64, 96, 3, dtype=torch.uint8))
    assert (labels.shape, logits.shape) == ((2, 64, 96), (2, 19, 16, 24))


@pytest.mark.parametrize(
    'format',
    [
        'pt2',
        pytest.param('onnx', marks=needs_torch('onnx', dynamic=False)),
        pytest.param(
            'aoti', marks=[needs_compiler, needs_torch('aoti', dynamic=False), pytest.mark.slow]
        ),
    ],
)
def test_files_take_any_memory_format_and_stand_alone(
    net: nn.Module, images: torch.Tensor, tmp_path: Path, format: str
) -> None:
    path = tmp_path / ('a.onnx' if format == 'onnx' else 'a.pt2')
    (check,) = export(net, images, path, format=format, dynamic=False, metadata={'a': 'ü'})
    assert check.error < 1e-5
    shipped = load(path)
    assert shipped.metadata == {'a': 'ü'}
    assert b'mmhrnet/deploy/' not in path.read_bytes()  # a path of the machine that wrote it
    with torch.no_grad():
        (expected,) = net(images)
    for x in (images, images.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(shipped(x)[0], expected, rtol=1e-4, atol=1e-5)
    torch.save((images, expected), tmp_path / 'io.pth')
    code = STAND_ALONE[format] + (
        '\ntorch.testing.assert_close(torch.as_tensor(z), y, rtol=1e-4, atol=1e-5)'
        "\nprint('mmhrnet' in sys.modules)"
    )
    command = [sys.executable, '-c', code, str(path), str(tmp_path / 'io.pth')]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == 'False'


def detector(**options: str) -> nn.Module:
    return nn.Sequential(HRNet('w18_small_v1'), HRNetV2p(CHANNELS, 16, **options))


class Rectifier(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x.relu(),)


class Classifier(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.fc = net, nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.fc(self.net(x)[0].mean((2, 3))),)


@pytest.mark.parametrize(
    ('opset', 'dynamic'),
    [
        pytest.param(17, False, marks=needs_torch('onnx', dynamic=False)),
        *(
            pytest.param(o, True, marks=[pytest.mark.slow, needs_torch('onnx')])
            for o in (None, 15, 17)
        ),
    ],
)
def test_onnx_files_of_an_opset_can_be_quantized(
    net: nn.Module, images: torch.Tensor, tmp_path: Path, opset: int | None, dynamic: bool
) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, quantized = tmp_path / 'a.onnx', tmp_path / 'b.onnx'
    options = dict(format='onnx', opset=opset, dynamic=dynamic, metadata={'a': 1})
    checks = export(Classifier(net), images, path, **options)
    assert len(checks) == (3 if dynamic else 1)
    assert all(check.error < 1e-5 for check in checks)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    versions = {system.domain: system.version for system in model.opset_import}
    assert opset is None or (versions, model.ir_version) == ({'': opset}, 8)
    quantize_dynamic(path, quantized, weight_type=QuantType.QUInt8)
    assert quantized.stat().st_size < path.stat().st_size / 2
    shipped, small = load(path), load(quantized)
    assert shipped.metadata == {'a': 1}
    (expected,), (found,) = shipped(images), small(images)
    assert (found - expected).norm() < 0.1 * expected.norm()


@needs_torch('onnx', dynamic=False)
def test_an_opset_that_lacks_an_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module('mmhrnet.deploy.export')
    monkeypatch.setattr(module, 'optimize', lambda model, _: model)  # nothing of it is ours
    x, path = torch.rand(2, 3, 64, 64), tmp_path / 'a.onnx'
    with pytest.raises(ExportError, match=r'cannot be written in ONNX opset 13: .*14 for Relu$'):
        export(Rectifier(), x, path, format='onnx', opset=13, dynamic=False)
    assert not list(tmp_path.iterdir())


@needs_compiler
@needs_torch('aoti')
@pytest.mark.slow
@pytest.mark.parametrize('config', [POSE, SEGMENTATION, CLASSIFICATION, DETECTION])
def test_compiled_packages_of_every_task_have_free_sizes(
    root: Path, tmp_path: Path, config: str
) -> None:
    out = tmp_path / 'model.pt2'
    shape = None if config in (POSE, CLASSIFICATION) else (128, 160)
    export_config(root / 'configs' / config, format='aoti', out=out, shape=shape)
    package = load(out)
    for n in (1, 4):
        images = torch.zeros(n, *package.metadata['size'], 3, dtype=torch.uint8)
        assert package(images)[0].shape[0] == n


@pytest.mark.parametrize('format', [pytest.param(f, marks=needs_torch(f)) for f in ('pt2', 'onnx')])
def test_a_pyramid_of_free_size(tmp_path: Path, format: str) -> None:
    net = detector()
    checks = export(net, torch.rand(2, 3, 128, 160), tmp_path / f'a.{format}', format=format)
    assert [check.shape for check in checks] == [
        (2, 3, 128, 160),
        (1, 3, 128, 128),
        (3, 3, 161, 225),
    ]
    assert all(check.error < 1e-5 for check in checks)


class OtherWhenTraced(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(y * (2 if torch.compiler.is_compiling() else 1) for y in self.net(x))


def test_a_file_that_differs_does_not_appear(
    net: nn.Module, images: torch.Tensor, tmp_path: Path
) -> None:
    old = tmp_path / 'a.pt2'
    old.write_bytes(b'before')
    with pytest.raises(ExportError, match=r'differs from the model by .* no file is written'):
        export(OtherWhenTraced(net), images, old, dynamic=False)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [('a.pt2', b'before')]


class OtherWhenWide(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x.relu() if x.shape[3] > 160 else x.tanh(),)


@needs_torch('pt2')
def test_a_graph_of_one_size_cannot_be_exported_with_free_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module('mmhrnet.deploy.export')
    monkeypatch.setattr(module, 'optimize', lambda model, _: model)  # nothing of it is ours
    net, images = OtherWhenWide(), torch.rand(2, 3, 128, 192)
    with pytest.raises(ExportError, match=r'cannot be exported with free sizes: .*--static'):
        export(net, images, tmp_path / 'a.pt2')
    assert export(net, images, tmp_path / 'a.pt2', dynamic=False)


@pytest.mark.skipif(
    torch.__version__[:3] == '2.5', reason='torch 2.5 cannot load the graph of a pyramid'
)
def test_max_pooling(tmp_path: Path) -> None:
    net = detector(pooling_type='MAX')
    (check,) = export(net, torch.rand(2, 3, 128, 192), tmp_path / 'a.pt2', dynamic=False)
    assert check.error < 1e-5


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(format='tensorrt'), "unknown: .*'pt2' or 'aoti' or 'onnx'"),
        (dict(out='a.onnx'), 'must end in .pt2'),
        (dict(opset=17), 'is for the format onnx, not for pt2'),
        (dict(opset=0, format='onnx', out='a.onnx'), 'must be a positive number'),
        (dict(checkpoint='nowhere.pth', static=True), 'The weights nowhere.pth cannot be loaded'),
        (dict(device='cuda', static=True), 'needs a GPU'),
        pytest.param(
            dict(shape=[32], content='raw'),
            'needs an example of 2 images or more with sides of 33 or more',
            marks=needs_torch('pt2'),
        ),
        pytest.param(dict(batch=1), 'needs an example of 2 images', marks=needs_torch('pt2')),
        (dict(config='nowhere.py', static=True), 'There is no config nowhere.py'),
        (dict(shape=[64], static=True), 'takes pictures of 256 x 192: leave --shape out'),
        (dict(content='raw', flip_test=True, static=True), 'are for whole models'),
        (dict(bundle='folder'), '--bundle needs --format onnx, and neither --out'),
        (dict(probabilities=True, static=True), '--probabilities is for segmentation'),
        (
            dict(config=CONFIGS / DETECTION, content='raw', static=True),
            'head of FasterRCNN does depends on the image',
        ),
        (
            dict(cfg_options=COMBINED, static=True),
            'not for UDPHeatmap with these options',
        ),
        (
            dict(config=CONFIGS / SEGMENTATION, cfg_options=ONE_CLASS, static=True),
            'this one has out_channels=1: write its logits with --raw$',
        ),
        (
            dict(config=CONFIGS / CLASSIFICATION, flip_test=True, static=True),
            'tests no mirror images: leave --flip-test out',
        ),
    ],
)
def test_mistakes(root: Path, tmp_path: Path, arguments: dict, message: str) -> None:
    if arguments.get('device') == 'cuda' and torch.cuda.is_available():
        pytest.skip('there is a GPU')
    given = dict(config=root / 'configs' / POSE, out=tmp_path / 'a.pt2') | arguments
    with pytest.raises((ConfigError, ExportError), match=message):
        export_config(given.pop('config'), **given)
    assert not list(tmp_path.iterdir())


@needs_torch('aoti')
def test_aoti_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ExportError, match=r'install g\+\+, or use pt2 or onnx'):
        export(nn.Identity(), torch.rand(1), tmp_path / 'a.pt2', format='aoti')


@needs_torch('aoti')
def test_aoti_needs_a_path_that_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr('shutil.which', lambda name: name)
    monkeypatch.setattr(torch, '__file__', '/a folder/torch/__init__.py')
    with pytest.raises(ExportError, match='a path with a space'):
        export(nn.Identity(), torch.rand(1), tmp_path / 'a.pt2', format='aoti')


@pytest.mark.parametrize(
    ('version', 'format', 'dynamic', 'message'),
    [
        ('2.4.1+cpu', 'pt2', True, r'free sizes needs torch 2\.6 or newer, or .*--static'),
        ('2.4.1+cpu', 'onnx', False, r'The format onnx needs torch 2\.7 or newer; this is 2\.4\.1'),
        ('2.6.0', 'onnx', True, r'with free sizes needs torch 2\.7 or newer; this is 2\.6'),
        ('2.5.1', 'aoti', False, r'needs torch 2\.6 or newer; this is 2\.5\.1'),
    ],
)
def test_a_torch_that_is_too_old(
    version: str, format: str, dynamic: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, '__version__', TorchVersion(version))
    path = 'a' + FORMATS[format].suffix
    with pytest.raises(ExportError, match=message):
        export(nn.Identity(), torch.rand(1), path, format=format, dynamic=dynamic)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / 'a.pt2'
    with pytest.raises(ExportError, match='There is no file'):
        load(path)
    path.write_bytes(b'text')
    with pytest.raises(ExportError, match=r'neither \.onnx nor a \.pt2 archive'):
        load(path)


def test_the_example_of_a_small_detector_is_large_enough_for_free_sizes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    module = importlib.import_module('mmhrnet.deploy.from_config')
    monkeypatch.setattr(module, 'export', lambda _, images, *__, **___: shapes.append(images.shape))
    monkeypatch.setattr(module, '_print', lambda *_: None)
    small = {'test_dataloader.dataset.pipeline.1.scale': (128, 96)}
    for static in (False, True):
        config = root / 'configs/mmdet/faster_rcnn_hrnetv2p_w18.py'
        export_config(config, out=tmp_path / 'a.pt2', static=static, cfg_options=small)
    assert shapes == [(2, 128, 128, 3), (2, 96, 128, 3)]
