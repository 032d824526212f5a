"""Checkpoints of the nine published forms: recognised, loaded exactly, converted there and back."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p, checkpoints
from mmhrnet.checkpoints.convert import adapt_channels
from mmhrnet.models import ARCHS

ROOT = Path(__file__).resolve().parents[1]
ARCH = 'w18_small_v1'
CHANNELS = ARCHS[ARCH][-1].out_channels
WIDTH = sum(CHANNELS)
SIZE = (1, 3, 64, 64)


class Net(nn.Module):
    """Backbone, neck and head under the names of a host's model."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def classifier() -> Net:
    head = nn.Module()
    head.fc = nn.Linear(2048, 10)
    return Net(backbone=HRNet(ARCH), neck=nn.Sequential(HRNetC(CHANNELS)), head=head)


def segmentor() -> Net:
    head = nn.Module()
    head.conv_seg = nn.Conv2d(WIDTH, 5, 1)
    return Net(backbone=HRNet(ARCH, upsample='bilinear'), neck=HRNetV2(CHANNELS), decode_head=head)


def estimator() -> Net:
    head = nn.Module()
    head.final_layer = nn.Conv2d(CHANNELS[0], 17, 1)
    return Net(backbone=HRNet(ARCH, multiscale_output=False), head=head)


def landmarks() -> Net:
    head = nn.Module()
    head.final_layer = nn.Conv2d(WIDTH, 98, 1)
    return Net(backbone=HRNet(ARCH), neck=HRNetV2(CHANNELS), head=head)


def detector() -> Net:
    return Net(backbone=HRNet(ARCH), neck=HRNetV2p(CHANNELS, 16))


def context() -> Net:
    from mmseg.models.decode_heads import FCNHead, OCRHead

    common = dict(num_classes=5, in_channels=CHANNELS, in_index=(0, 1, 2, 3), dropout_ratio=-1)
    common |= dict(input_transform='resize_concat', norm_cfg=dict(type='BN'))
    fcn = FCNHead(channels=WIDTH, kernel_size=1, num_convs=1, concat_input=False, **common)
    heads = nn.ModuleList([fcn, OCRHead(channels=32, ocr_channels=16, **common)])
    return Net(backbone=HRNet(ARCH), decode_head=heads)


# The nine published forms and their variants: our model of the same network.
PUBLISHED = {
    ('official', 'classification'): classifier,
    ('timm', 'classification'): classifier,
    ('mmpretrain', 'classification'): classifier,
    ('official', 'pose'): estimator,
    ('mmpose', 'pose'): estimator,
    ('mmpose 0.x', 'pose'): estimator,
    ('official', 'landmarks'): landmarks,
    ('mmpose', 'landmarks'): landmarks,
    ('mmpose 0.x', 'landmarks'): landmarks,
    ('official', 'segmentation'): segmentor,
    ('mmseg', 'segmentation'): segmentor,
    ('official', 'context'): context,
    ('mmseg', 'context'): context,
    ('official detection', 'detection'): detector,
    ('mmdet', 'detection'): detector,
}
every_form = pytest.mark.parametrize(
    ('form', 'build'),
    [(form, build) for (form, _), build in PUBLISHED.items()],
    ids=[f'{form}-{task}' for form, task in PUBLISHED],
)


def published(form: str, build: object, randomized: object) -> tuple[Net, dict]:
    """Our model with random weights, and the same weights as ``form`` would have published them."""
    torch.manual_seed(1)
    model = randomized(build())
    state, _, report = checkpoints.convert(model.state_dict(), form)
    assert not report.left_out
    if form in ('official', 'timm') and build is not estimator:
        add_biases(state)
    return model, state


def add_biases(state: dict) -> None:
    """The official heads have biases before their norms; the means move along."""
    pairs = {
        **{f'downsamp_modules.{i}.0': f'downsamp_modules.{i}.1' for i in range(3)},
        'final_layer.0': 'final_layer.1',
        'last_layer.0': 'last_layer.1',
        'head.0': 'head.1',
        'aux_head.0': 'aux_head.1',
        'conv3x3_ocr.0': 'conv3x3_ocr.1.0',
    }
    for conv, norm in pairs.items():
        if f'{conv}.weight' in state:
            state[f'{conv}.bias'] = torch.randn(len(state[f'{conv}.weight']))
            state[f'{norm}.running_mean'] = state[f'{norm}.running_mean'] + state[f'{conv}.bias']


@every_form
def test_recognised_and_loaded_exactly(form: str, build: object, randomized: object) -> None:
    model, state = published(form, build, randomized)
    other = randomized(build())
    fitted, report = checkpoints.fit(checkpoints.unwrap(state), other)
    assert form in report.form.split(' (')[0].split(' or ')
    assert not report.new
    assert not report.left_out
    assert report.loaded == len(model.state_dict())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(fitted[name], tensor, rtol=1e-5, atol=1e-6)


@every_form
def test_there_and_back_is_bit_equal(form: str, build: object, randomized: object) -> None:
    _, state = published(form, build, randomized)
    middle, folded, _ = checkpoints.convert(state, 'mmhrnet')
    back, _, _ = checkpoints.convert(middle, form, folded)
    assert sorted(back) == sorted(state)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: {'state_dict': state, 'meta': {}, 'optimizer': {}},
        lambda state: {'model': {f'module.{k}': v for k, v in state.items()}, 'epoch': 3},
        lambda state: {f'model.{k}': v for k, v in state.items()},
        lambda state: {**{f'model.{k}': v for k, v in state.items()}, 'loss.weight': torch.ones(1)},
    ],
)
def test_wrappers_come_off(wrap: object, randomized: object) -> None:
    _, state = published('official', context, randomized)
    assert checkpoints.unwrap(wrap(state)).keys() == state.keys()


def test_official_object_context_names() -> None:
    """As the official repository builds it: convolutions, and norms with their ReLU in pairs."""
    state, _, _ = checkpoints.convert(context().state_dict(), 'official')
    block = 'ocr_distri_head.object_context_block'
    for name in (
        'aux_head.0.weight',
        'aux_head.1.running_mean',
        'aux_head.3.bias',
        'conv3x3_ocr.0.weight',
        'conv3x3_ocr.1.0.running_var',
        f'{block}.f_pixel.0.weight',
        f'{block}.f_pixel.1.0.weight',
        f'{block}.f_pixel.2.weight',
        f'{block}.f_object.3.0.bias',
        f'{block}.f_down.1.0.weight',
        f'{block}.f_up.0.weight',
        'ocr_distri_head.conv_bn_dropout.1.0.running_mean',
        'cls_head.weight',
    ):
        assert name in state


def host_model(scope: str, cfg: dict) -> nn.Module:
    init_default_scope(scope)
    return MODELS.build(cfg)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_init_cfg_takes_any_form(suffix: str, tmp_path: Path, randomized: object) -> None:
    model, state = published('timm', classifier, randomized)
    path = tmp_path / f'timm{suffix}'
    checkpoints.save({'state_dict': state}, path)
    init = dict(type='Pretrained', checkpoint=str(path))
    backbone = host_model('mmdet', dict(type='mmhrnet.HRNet', arch=ARCH, init_cfg=init))
    backbone.init_weights()
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], tensor), name


def test_load_from_takes_any_form(tmp_path: Path, randomized: object) -> None:
    model, state = published('official', segmentor, randomized)
    torch.save({'state_dict': {f'model.{k}': v for k, v in state.items()}}, tmp_path / 'a.pth')
    other = randomized(segmentor())
    load_checkpoint(other, str(tmp_path / 'a.pth'))
    for net in (model, other):
        net.eval()
    x = torch.rand(SIZE)
    torch.testing.assert_close(*(net.neck(net.backbone(x))[0] for net in (model, other)))


def test_a_network_inside_something_else_loads_by_its_own_names(tmp_path: Path) -> None:
    teacher, other = (Net(teacher=HRNet(ARCH)) for _ in range(2))
    torch.save(teacher.state_dict(), tmp_path / 'a.pth')
    load_checkpoint(other, str(tmp_path / 'a.pth'))
    state = {**teacher.state_dict(), 'epoch': torch.ones(1)}
    torch.save(state, tmp_path / 'b.pth')
    load_checkpoint(other, str(tmp_path / 'b.pth'))
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


@pytest.mark.parametrize('name', ['timm.pth', 'timm.safetensors'])
def test_weights_come_over_http(
    name: str, tmp_path: Path, randomized: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    _, state = published('timm', classifier, randomized)
    checkpoints.save({'state_dict': state}, tmp_path / name)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        backbone = HRNet(ARCH)
        load_checkpoint(backbone, f'http://127.0.0.1:{server.server_port}/{name}')
        server.shutdown()
    assert torch.equal(backbone.conv1.weight, state['conv1.weight'])


def test_v1_is_taken_from_v2_and_not_the_reverse(randomized: object) -> None:
    v2 = randomized(HRNet(ARCH)).eval()
    v1 = HRNet(ARCH, multiscale_output=False).eval()
    fitted, report = checkpoints.fit(v2.state_dict(), v1)
    v1.load_state_dict(fitted)
    x = torch.rand(SIZE)
    assert torch.equal(v1(x)[0], v2(x)[0])
    assert len(report.left_out) == 1
    with pytest.raises(checkpoints.CheckpointError, match='HRNetV1 weights for HRNetV2'):
        checkpoints.fit(v1.state_dict(), v2)
    fitted, report = checkpoints.fit(v1.state_dict(), v2, partial=True)
    rows = [name for name in v2.state_dict() if name not in v1.state_dict()]
    assert report.new == [name for name in rows if not name.endswith('num_batches_tracked')]


def test_another_arch_is_an_error_and_names_the_shapes() -> None:
    with pytest.raises(checkpoints.CheckpointError, match=r'\(32, 64, .* in the file, \(64, 64,'):
        checkpoints.fit(HRNet(ARCH).state_dict(), HRNet('w18_small_v2'))


def test_partial_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMHRNET_PARTIAL_WEIGHTS', '1')
    fitted, report = checkpoints.fit(HRNet(ARCH).state_dict(), HRNet('w18_small_v2'))
    assert fitted
    assert report.new


def test_other_classes_are_reported_and_left_new(randomized: object) -> None:
    model, other = classifier(), classifier()
    other.head.fc = nn.Linear(2048, 3)
    fitted, report = checkpoints.fit(model.state_dict(), other)
    assert report.new == ['head.fc.weight', 'head.fc.bias']
    assert 'head.fc.weight' not in fitted
    assert '(10, 2048) in the file, (3, 2048) here' in str(report)


def test_detector_from_imagenet_weights(randomized: object) -> None:
    _, state = published('official', classifier, randomized)
    net = detector()
    fitted, report = checkpoints.fit(state, net)
    assert {name.split('.')[0] for name in fitted} == {'backbone'}
    assert {name.split('.')[0] for name in report.new} == {'neck'}
    assert 'ImageNet classification' in str(report)
    assert 'the network has no ImageNet classification: incre_modules.0 (' in str(report)


def test_what_a_backbone_leaves_of_a_detector(randomized: object) -> None:
    state = detector().state_dict() | {'rpn_head.rpn_conv.weight': torch.ones(1)}
    _, report = checkpoints.fit(state, HRNet(ARCH))
    assert 'the network has no feature pyramid: neck.reduction_conv (2)' in str(report)
    assert 'the network has no such part: rpn_head.rpn_conv (1)' in str(report)


@pytest.mark.parametrize('channels', [1, 2, 4, 5, 6])
def test_first_convolution_keeps_its_sum(channels: int) -> None:
    weight = torch.randn(8, 3, 3, 3, dtype=torch.float64)
    adapted = adapt_channels(weight, channels)
    assert adapted.shape == (8, channels, 3, 3)
    torch.testing.assert_close(adapted.sum(1), weight.sum(1), rtol=1e-12, atol=1e-12)


def test_other_input_channels_load(randomized: object) -> None:
    grey = HRNet(ARCH, in_channels=1).eval()
    colour = randomized(HRNet(ARCH)).eval()
    fitted, report = checkpoints.fit(colour.state_dict(), grey)
    grey.load_state_dict(fitted)
    assert 'from 3 to 1 input channels' in str(report)
    x = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(grey(x)[0], colour(x.expand(-1, 3, -1, -1))[0])


def test_group_norms_by_type(randomized: object) -> None:
    norm = dict(type='GN', num_groups=2)
    model, other = (HRNet(ARCH, norm_cfg=norm) for _ in range(2))
    state = {name.replace('gn', 'bn'): t for name, t in model.state_dict().items()}
    fitted, _ = checkpoints.fit(state, other)
    assert fitted.keys() == other.state_dict().keys()


@pytest.mark.parametrize('content', [{'a': torch.ones(2)}, {}, {'state_dict': {}}])
def test_no_hrnet(content: dict) -> None:
    with pytest.raises(checkpoints.CheckpointError, match='no weights of an HRNet'):
        checkpoints.unwrap(content)


def test_the_tool_converts_and_reports(tmp_path: Path, randomized: object) -> None:
    _, state = published('timm', classifier, randomized)
    for name, tensor in (('timm.pth', state),):
        torch.save(tensor, tmp_path / name)
    steps = [('timm.pth', 'ours.pth', 'mmhrnet'), ('ours.pth', 'pretrain.pth', 'mmpretrain')]
    steps.append(('pretrain.pth', 'back.pth', 'timm'))
    for src, dst, to in steps:
        done = run_tool(tmp_path / src, tmp_path / dst, '--to', to)
        assert done.returncode == 0, done.stderr
        assert 'tensors loaded' in done.stdout
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['state_dict']
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_the_tool_says_errors_in_one_line(tmp_path: Path) -> None:
    (tmp_path / 'bad.pth').write_bytes(b'no checkpoint')
    for src in ('bad.pth', 'missing.pth'):
        done = run_tool(tmp_path / src, tmp_path / 'out.pth')
        assert done.returncode == 1
        assert src in done.stderr.splitlines()[-1]
        assert 'Traceback' not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['bad.pth']


def run_tool(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / 'tools/convert_checkpoint.py'), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)
