"""Checkpoints of the nine published forms: recognised, loaded exactly, converted there and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

import mmhrnet
from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p, checkpoints
from mmhrnet.checkpoints.convert import adapt_channels
from mmhrnet.checkpoints.names import FORMS, READ_ONLY, from_common, to_common
from mmhrnet.models import ARCHS

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
    with DefaultScope.overwrite_default_scope('mmseg'):
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
        'conv3x3_ocr.0': 'conv3x3_ocr.1',
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


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@every_form
def test_there_and_back_is_bit_equal(form: str, build: object, randomized: object) -> None:
    """What was published, and what was trained here, without what a conversion keeps beside it."""
    model, state = published(form, build, randomized)
    middle, folded, _ = checkpoints.convert(state, 'mmhrnet')
    assert_equal(checkpoints.convert(middle, form, folded)[0], state)
    there, _, _ = checkpoints.convert(model.state_dict(), form)
    assert_equal(checkpoints.convert(there, 'mmhrnet')[0], model.state_dict())


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


PREFIXES = (
    *('', 'module.', 'model.', 'encoder.', 'backbone.body.', 'module.module.'),
    *('_orig_mod.module.', '_forward_module._fsdp_wrapped_module.model.', 'student_of.deep.er.'),
)
KEYS = ('state_dict', 'model', 'module', 'params', 'model_ema', 'best_state_dict')


@pytest.mark.parametrize('prefix', PREFIXES)
@pytest.mark.parametrize('build', [segmentor, estimator], ids=['host', 'official'])
def test_prefixes_come_off(prefix: str, build: Callable[[], Net]) -> None:
    state = build().state_dict()
    if build is estimator:
        state = checkpoints.convert(state, 'official')[0]
    found = checkpoints.unwrap(prefixed(prefix, state) | {'loss.weight': torch.ones(1)})
    assert found.keys() - {'loss.weight'} == state.keys()
    assert not found.notes


@pytest.mark.parametrize('key', KEYS)
def test_dicts_come_off(key: str) -> None:
    state = HRNet(ARCH).state_dict()
    content = {'epoch': 3, 'arch': 'hrnet', key: prefixed('module.', state), 'optimizer': {}}
    assert checkpoints.unwrap(content).keys() == state.keys()
    assert checkpoints.unwrap({'run': {'last': content}}).keys() == state.keys()


def test_wrappers_inside_of_a_model_come_off() -> None:
    model = segmentor()
    inside = {
        name.replace('backbone.', 'backbone._orig_mod.').replace(
            'branches.', 'branches._checkpoint_wrapped_module.'
        ): tensor
        for name, tensor in model.state_dict().items()
    }
    assert checkpoints.unwrap(inside).keys() == model.state_dict().keys()


def test_our_own_compiled_model_comes_back() -> None:
    compiled = torch.compile(mmhrnet.create_model(f'hrnetv2_{ARCH}'))
    state = compiled.state_dict()
    assert next(iter(state)).startswith('_orig_mod.')
    other = mmhrnet.create_model(f'hrnetv2_{ARCH}')
    fitted, report = checkpoints.fit(checkpoints.unwrap(state), other)
    other.load_state_dict(fitted)
    assert not report.new


@pytest.mark.parametrize(
    ('content', 'places'),
    [
        (lambda a, b: prefixed('student.', a) | prefixed('teacher.', b), ('student.', 'teacher.')),
        (lambda a, b: {'state_dict': a, 'state_dict_ema': b}, ('state_dict', 'state_dict_ema')),
        (
            lambda a, b: {'model': prefixed('module.', a), 'ema': {'module': b}},
            ('model/module.', 'ema/module'),
        ),
    ],
)
def test_of_two_networks_both_are_named_and_one_is_chosen(
    content: Callable[..., dict], places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = HRNet(ARCH).state_dict(), HRNet(ARCH).state_dict()
    found = checkpoints.unwrap(content(a, b))
    assert torch.equal(found['conv1.weight'], a['conv1.weight'])
    _, report = checkpoints.fit(found, HRNet(ARCH))
    for text in (repr(places[0]), repr(places[1]), 'MMHRNET_WEIGHTS_AT'):
        assert text in str(report)
    second = checkpoints.unwrap(content(a, b), at=places[1])
    monkeypatch.setenv('MMHRNET_WEIGHTS_AT', places[1].rstrip('.'))
    for found in (second, checkpoints.unwrap(content(a, b))):
        assert torch.equal(found['conv1.weight'], b['conv1.weight'])
    with pytest.raises(checkpoints.CheckpointError, match=f"'nowhere'.*{places[0]}"):
        checkpoints.unwrap(content(a, b), at='nowhere')


def test_the_same_weights_twice_are_one_network() -> None:
    """The official pose training saves them so."""
    state = HRNet(ARCH).state_dict()
    content = {'state_dict': prefixed('module.', state), 'best_state_dict': dict(state)}
    assert not checkpoints.unwrap(content).notes


def test_a_dict_of_itself_is_searched_once() -> None:
    content: dict = {'state_dict': {'a': torch.ones(1)}}
    content['self'] = content
    with pytest.raises(checkpoints.CheckpointError, match=r'state_dict \(1 items, a\), self'):
        checkpoints.unwrap(content)


def norm(name: str) -> set[str]:
    kinds = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    return {f'{name}.{kind}' for kind in kinds}


def conv(name: str) -> set[str]:
    return {f'{name}.weight', f'{name}.bias'}


def projection(name: str) -> set[str]:
    return {f'{name}.0.weight'} | norm(f'{name}.1.0')


CONTEXT = 'ocr_distri_head.object_context_block'
# The names of the heads as the official code builds them, beside those of the body.
OFFICIAL_HEADS = {
    estimator: conv('final_layer'),
    landmarks: conv('head.0') | norm('head.1') | conv('head.3'),
    segmentor: conv('last_layer.0') | norm('last_layer.1') | conv('last_layer.3'),
    context: set.union(
        *(conv('aux_head.0'), norm('aux_head.1'), conv('aux_head.3'), conv('cls_head')),
        *(conv('conv3x3_ocr.0'), norm('conv3x3_ocr.1')),
        *(projection(f'{CONTEXT}.{name}') for name in ('f_pixel', 'f_object', 'f_down', 'f_up')),
        *({f'{CONTEXT}.{name}.2.weight'} for name in ('f_pixel', 'f_object')),
        *(norm(f'{CONTEXT}.{name}.3.0') for name in ('f_pixel', 'f_object')),
        projection('ocr_distri_head.conv_bn_dropout'),
    ),
    classifier: set.union(
        *(conv(f'downsamp_modules.{i}.0') | norm(f'downsamp_modules.{i}.1') for i in range(3)),
        *(conv('final_layer.0'), norm('final_layer.1'), conv('classifier')),
        *({f'incre_modules.{i}.0.downsample.0.weight'} for i in range(4)),
        *(norm(f'incre_modules.{i}.0.downsample.1') for i in range(4)),
        *({f'incre_modules.{i}.0.conv{k}.weight'} for i in range(4) for k in (1, 2, 3)),
        *(norm(f'incre_modules.{i}.0.bn{k}') for i in range(4) for k in (1, 2, 3)),
    ),
}


@pytest.mark.parametrize('build', OFFICIAL_HEADS)
def test_official_names_are_those_of_the_official_code(build: Callable[[], Net]) -> None:
    state, _, report = checkpoints.convert(build().state_dict(), 'official')
    body = HRNet(ARCH, multiscale_output=build is not estimator).state_dict()
    assert not report.left_out
    assert state.keys() == body.keys() | OFFICIAL_HEADS[build]


def test_what_was_trained_here_loads_strictly_into_timm(randomized: object) -> None:
    import timm

    model = randomized(classifier()).eval()
    state, _, _ = checkpoints.convert(model.state_dict(), 'timm')
    other = timm.create_model('hrnet_w18_small', num_classes=10).eval()
    other.load_state_dict(state, strict=True)
    x = torch.rand(SIZE)
    pooled = model.neck(model.backbone(x))[0].mean(dim=(2, 3))
    torch.testing.assert_close(other(x), model.head.fc(pooled))


WRITTEN = [
    (form, rule) for form, rules in FORMS.items() for rule in rules if READ_ONLY not in rule[2:]
]


@pytest.mark.parametrize(('form', 'rule'), WRITTEN, ids=[f'{f}: {r[0]}' for f, r in WRITTEN])
def test_every_rule_works_in_both_directions(form: str, rule: tuple[str, ...]) -> None:
    theirs, common, *beside = rule
    for ending in ('conv1.weight', 'layer1.0.bn1.bias', 'stage2.0.fuse_layers.0.1.1.running_mean'):
        name = theirs.replace('{}', '2') + ending
        parts = {*beside, common.split('.')[0]}
        assert to_common(name, form) is not None
        assert from_common(to_common(name, form), form, parts) == name


def as_inplace_abn(state: dict) -> dict:
    """As branch master of the official segmentation saves: any sign, and no counters."""
    flip = {n for n in state if n.endswith('running_var')}
    return {
        name: -tensor if name.replace('weight', 'running_var') in flip else tensor
        for name, tensor in state.items()
        if not name.endswith('num_batches_tracked')
    }


@pytest.mark.parametrize('build', [segmentor, context])
def test_inplace_abn_is_told_by_its_names(
    build: Callable[[], Net], randomized: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, state = published('official', build, randomized)
    saved, plain = as_inplace_abn(state), build()
    norms = [name for name in plain.state_dict() if name.endswith('running_var')]
    names = [name.replace('running_var', 'weight') for name in norms]
    fitted, report = checkpoints.fit(checkpoints.unwrap(saved), plain)
    weights, _ = checkpoints.fit(checkpoints.unwrap(state), build())
    for name in names:
        assert torch.equal(fitted[name], weights[name] + 1e-5)
    assert re.search(r'InPlaceABN.*\d+ were negative.*MMHRNET_INPLACE_ABN=0', str(report))
    monkeypatch.setenv('MMHRNET_INPLACE_ABN', '0')
    as_they_are, report = checkpoints.fit(checkpoints.unwrap(saved), plain)
    assert all(torch.equal(as_they_are[name], -weights[name]) for name in names)
    assert 'InPlaceABN' not in str(report)


def test_inplace_abn_is_there_and_back(randomized: object) -> None:
    saved = as_inplace_abn(published('official', segmentor, randomized)[1])
    middle, before, _ = checkpoints.convert(saved, 'mmhrnet')
    again, _, report = checkpoints.convert(middle, 'mmhrnet')
    assert 'InPlaceABN' not in str(report)  # it is not read so twice
    assert_equal(again, middle)
    assert_equal(checkpoints.convert(middle, 'official', before)[0], saved)
    unknown, _, _ = checkpoints.convert(middle, 'official')  # what a .safetensors leads to
    assert 'InPlaceABN' not in str(checkpoints.fit(unknown, segmentor())[1])


def test_other_weights_without_counters_are_no_inplace_abn(randomized: object) -> None:
    for form, build in (('official', classifier), ('official', estimator), ('mmseg', segmentor)):
        saved = as_inplace_abn(published(form, build, randomized)[1])
        assert 'InPlaceABN' not in str(checkpoints.fit(saved, build())[1])


@pytest.mark.parametrize(('classes', 'trained'), [(150, True), (171, True), (19, False), (5, None)])
@pytest.mark.parametrize('setting', [True, False])
def test_align_corners_of_official_weights_is_compared(
    classes: int, trained: bool | None, setting: bool
) -> None:
    def build(setting: bool) -> Net:
        head = nn.Module()
        head.conv_seg = nn.Conv2d(WIDTH, classes, 1)
        backbone = HRNet(ARCH, upsample='bilinear', align_corners=setting)
        return Net(
            backbone=backbone, neck=HRNetV2(CHANNELS, align_corners=setting), decode_head=head
        )

    state, _, _ = checkpoints.convert(build(False).state_dict(), 'official')
    notes = checkpoints.fit(state, build(setting))[1].notes
    if trained in (None, setting):
        assert not notes
    else:
        (note,) = notes
        assert f'with align_corners={trained}, unlike HRNet and HRNetV2 here' in note


def test_official_object_context_wants_align_corners() -> None:
    state, _, _ = checkpoints.convert(context().state_dict(), 'official')
    upsampling, corners = checkpoints.fit(state, context())[1].notes
    assert "with upsample='bilinear', unlike HRNet here" in upsampling
    assert 'with align_corners=True, unlike FCNHead and OCRHead here' in corners
    backbone = HRNet(ARCH, upsample='bilinear', align_corners=True)
    assert not checkpoints.fit(state, backbone)[1].notes
    mmseg, _, _ = checkpoints.convert(context().state_dict(), 'mmseg')
    assert not checkpoints.fit(mmseg, context())[1].notes


def test_weights_for_dense_maps_are_not_upsampled_by_nearest_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for form, build in (('official', segmentor), ('mmseg', segmentor), ('official', landmarks)):
        state, _, _ = checkpoints.convert(build().state_dict(), form)
        (note,) = checkpoints.fit(state, HRNet(ARCH))[1].notes
        assert "with upsample='bilinear', unlike HRNet here" in note
        assert not checkpoints.fit(state, HRNet(ARCH, upsample='bilinear'))[1].notes
    torch.save(state, tmp_path / 'a.pth')
    mmhrnet.create_model(f'hrnetv2_{ARCH}', checkpoint=tmp_path / 'a.pth')
    assert "upsample='bilinear'" in caplog.text
    for form, build in (('official', classifier), ('official', estimator)):
        state, _, _ = checkpoints.convert(build().state_dict(), form)
        model = HRNet(ARCH, upsample='bilinear', multiscale_output=build is classifier)
        assert not checkpoints.fit(state, model)[1].notes  # transfer, as everybody trains


@pytest.mark.parametrize(
    ('build', 'names'),
    [
        (estimator, conv('keypoint_head.final_layer')),
        (
            landmarks,
            conv('keypoint_head.final_layer.3')
            | norm('keypoint_head.final_layer.1')
            | {'keypoint_head.final_layer.0.weight'},
        ),
    ],
)
def test_names_of_mmpose_0_x(build: Callable[[], Net], names: set[str]) -> None:
    state, _, _ = checkpoints.convert(build().state_dict(), 'mmpose 0.x')
    assert {name for name in state if not name.startswith('backbone.')} == names


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
    assert_equal(backbone.state_dict(), model.backbone.state_dict())


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone'])
def test_init_cfg_with_a_prefix_has_the_same_check(
    prefix: str, tmp_path: Path, randomized: object
) -> None:
    model = randomized(segmentor())
    for name, content in {
        'a.pth': {'state_dict': model.state_dict()},
        'b.pth': {'model': prefixed('module.', model.state_dict())},
    }.items():
        torch.save(content, tmp_path / name)
        init = dict(type='Pretrained', checkpoint=str(tmp_path / name), prefix=prefix)
        backbone = HRNet(ARCH, init_cfg=init)
        backbone.init_weights()
        assert_equal(backbone.state_dict(), model.backbone.state_dict())
    with pytest.raises(checkpoints.CheckpointError, match='do not fit the network'):
        HRNet('w18_small_v2', init_cfg=init).init_weights()
    torch.save(model.backbone.state_dict(), tmp_path / 'b.pth')
    with pytest.raises(checkpoints.CheckpointError, match=r"'backbone\.'.*Leave the prefix out"):
        HRNet(ARCH, init_cfg=init).init_weights()


DOORS = {
    'load_from': lambda path: load_checkpoint(HRNet('w18'), path),
    'pretrained': lambda path: HRNet('w18', pretrained=path).init_weights(),
    'init_cfg': lambda path: HRNet(
        'w18', init_cfg=dict(type='Pretrained', checkpoint=path)
    ).init_weights(),
    'init_cfg with a prefix': lambda path: HRNet(
        'w18', init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    ).init_weights(),
}


@pytest.mark.parametrize('door', DOORS)
def test_no_door_lets_another_width_in(door: str, tmp_path: Path) -> None:
    """W18 and W32 have the same names: most tensors would be left out with a line in the log."""
    state, path = HRNet('w32').state_dict(), str(tmp_path / 'a.pth')
    torch.save(prefixed('backbone.', state) if 'prefix' in door else state, path)
    with pytest.raises(checkpoints.CheckpointError, match=r'\(32, 256, 3, 3\) in the file'):
        DOORS[door](path)


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
    assert_equal(other.state_dict(), teacher.state_dict())


@pytest.mark.parametrize('name', ['timm.pth', 'timm.safetensors'])
def test_weights_come_over_http(name: str, served: str, tmp_path: Path, randomized: object) -> None:
    _, state = published('timm', classifier, randomized)
    checkpoints.save({'state_dict': state}, tmp_path / name)
    backbone = HRNet(ARCH)
    load_checkpoint(backbone, f'{served}/{name}')
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


def test_another_arch_names_the_shapes_and_fits_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(checkpoints.CheckpointError, match=r'\(32, 64, .* in the file, \(64, 64,'):
        checkpoints.fit(HRNet(ARCH).state_dict(), HRNet('w18_small_v2'))
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


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        ({'a': torch.ones(2)}, r'Its keys: a \(2\)'),
        ({}, 'an empty dict'),
        ({'state_dict': {}, 'epoch': 3}, r'Its keys: state_dict \(0 items\), epoch \(int\)'),
        ({'model': {'stages.0.w': torch.ones(1)}}, r'model \(1 items, stages\.0\.w\)'),
        (dict.fromkeys(map(str, range(20)), 0), 'and 12 more'),
        ([1], 'content is of the type list'),
        (5, 'content is of the type int'),
    ],
)
def test_no_hrnet(content: object, says: str) -> None:
    with pytest.raises(checkpoints.CheckpointError, match=f'not weights of an HRNet.*{says}'):
        checkpoints.unwrap(content)


def test_the_tool_converts_and_reports(
    tmp_path: Path,
    randomized: object,
    run_tool: Callable[..., None],
    capsys: pytest.CaptureFixture,
) -> None:
    _, state = published('timm', classifier, randomized)
    torch.save(state, tmp_path / 'timm.pth')
    steps = [('timm.pth', 'ours.pth', 'mmhrnet'), ('ours.pth', 'pretrain.pth', 'mmpretrain')]
    steps.append(('pretrain.pth', 'back.pth', 'timm'))
    for src, dst, to in steps:
        run_tool('convert_checkpoint', tmp_path / src, tmp_path / dst, '--to', to)
        assert 'tensors loaded' in capsys.readouterr().out
    assert_equal(torch.load(tmp_path / 'back.pth', weights_only=True)['state_dict'], state)


def test_the_tool_says_errors_in_one_line(
    tmp_path: Path, run_tool: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'bad.pth').write_bytes(b'no checkpoint')
    for src in ('bad.pth', 'missing.pth'):
        with pytest.raises(SystemExit, match=r'^2$'):
            run_tool('convert_checkpoint', tmp_path / src, tmp_path / 'out.pth')
        assert re.fullmatch(rf'convert_checkpoint\.py: .*{src}.*\n', capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ['bad.pth']
