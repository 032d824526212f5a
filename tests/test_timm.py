"""For people who come from timm: its contract with models, its names, its registry, and smp."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import mmhrnet
from mmhrnet.checkpoints import CheckpointError
from mmhrnet.deploy import optimize
from mmhrnet.hub.features import FeatureInfo
from mmhrnet.hub.names import TIMM_NAMES, default_cfg
from mmhrnet.models import ARCHS

timm = pytest.importorskip('timm')

NAMES = mmhrnet.register_timm()
TAGGED = [f'{name}.{tag}' for name, (_, tags) in TIMM_NAMES.items() for tag in tags]
SMALL = 'hrnet_w18_small'
MAKERS = {  # timm's own keeps what is asked here honest: it passes too
    'timm': partial(timm.create_model, SMALL),
    'mmhrnet': partial(mmhrnet.create_model, SMALL),
    'registered': partial(timm.create_model, 'mmhrnet_w18_small_v1'),
}
Make = Callable[..., Any]


# The contract: each as timm's tests/test_models.py asks it of every model.


def forward(make: Make) -> None:
    assert make().eval()(torch.randn(1, 3, 64, 64)).isfinite().all()


def other_input_channels(make: Make) -> None:
    for channels in (1, 4):
        assert make(in_chans=channels).eval()(torch.randn(1, channels, 64, 64)).shape == (1, 1000)


def backward(make: Make) -> None:
    model = make(num_classes=42).train()
    outputs = model(torch.randn(2, 3, 64, 64))
    outputs.mean().backward()
    assert outputs.shape == (2, 42)
    assert all(parameter.grad is not None for parameter in model.parameters())


def sizes_are_those_of_default_cfg(make: Make) -> None:
    model = make().eval()
    size, cfg = model.default_cfg['input_size'], model.default_cfg
    features = model.forward_features(torch.randn(1, *size))
    assert features.shape[1:] == (model.num_features, *cfg['pool_size'])
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (1, model.head_hidden_size)
    assert model.pretrained_cfg == cfg


def names_are_those_of_default_cfg(make: Make) -> None:
    model = make()
    state, cfg = model.state_dict(), model.default_cfg
    assert f'{cfg["first_conv"]}.weight' in state
    assert state[f'{cfg["classifier"]}.weight'].shape == (cfg['num_classes'], model.num_features)
    assert model.get_submodule(cfg['classifier']) is model.get_classifier()


def classifier_is_removed(make: Make) -> None:
    model, x = make().eval(), torch.randn(1, 3, 64, 64)
    model.reset_classifier(0)
    assert (model.num_classes, model(x).shape) == (0, (1, model.head_hidden_size))
    model.reset_classifier(0, '')
    assert model(x).shape == (1, model.num_features, 2, 2)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert make(num_classes=0, global_pool='').eval()(x).shape == (1, model.num_features, 2, 2)


def classifier_is_replaced(make: Make) -> None:
    model, x = make(drop_rate=0.5).eval(), torch.randn(1, 3, 64, 64)
    model.reset_classifier(7, 'max')
    assert (model(x).shape, model.num_classes) == ((1, 7), 7)
    largest = model.forward_features(x).amax(dim=(2, 3))
    torch.testing.assert_close(model.forward_head(model.forward_features(x), True), largest)
    assert not model.training
    assert not model.get_classifier().training


def features_only(make: Make) -> None:
    for indices in ((1, 2, 3, 4), (0, 1, 2, 3, 4), (1, 2, 3), (0, 2)):
        model = make(features_only=True, out_indices=indices, feature_location='').eval()
        maps = model(torch.randn(1, 3, 96, 64))
        wanted = zip(model.feature_info.channels(), model.feature_info.reduction(), strict=True)
        assert [(m.shape[1], 96 // m.shape[2]) for m in maps] == list(wanted)
        assert model.feature_info.reduction() == [(2, 4, 8, 16, 32)[index] for index in indices]


def features_of_the_classifier(make: Make) -> None:
    model = make(features_only=True, out_indices=(1, 2, 3, 4), feature_location='incre').eval()
    assert [m.shape[1] for m in model(torch.randn(1, 3, 64, 64))] == [128, 256, 512, 1024]
    assert model.feature_info.channels() == [128, 256, 512, 1024]


def intermediates_are_described(model: Any) -> None:
    info = timm.models.FeatureInfo(model.feature_info, len(model.feature_info))
    maps = model.forward_intermediates(torch.randn(1, 3, 96, 96), intermediates_only=True)
    wanted = zip(info.channels(), info.reduction(), strict=True)
    assert [(m.shape[1], 96 // m.shape[2]) for m in maps] == list(wanted)


def intermediates(make: Make) -> None:
    model, x = make().eval(), torch.randn(1, 3, 96, 96)
    intermediates_are_described(model)
    last, maps = model.forward_intermediates(x)
    torch.testing.assert_close(last, model.forward_features(x))
    two = model.forward_intermediates(x, indices=[0, -1], intermediates_only=True)
    assert torch.equal(two[0], maps[0])
    assert torch.equal(two[1], maps[-1])
    assert len(model.forward_intermediates(x, 2, intermediates_only=True)) == 2


def pruned_to_intermediates(make: Make) -> None:
    model, x = make().eval(), torch.randn(1, 3, 64, 64)
    wanted = model.forward_intermediates(x, [0, 2], intermediates_only=True)
    count = sum(parameter.numel() for parameter in model.parameters())
    indices = model.prune_intermediate_layers([0, 2])
    maps = model.forward_intermediates(x, indices, intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(maps, wanted, strict=True))
    assert sum(parameter.numel() for parameter in model.parameters()) < count
    assert model.num_classes == 0


def traced_by_fx(make: Make) -> None:
    model, x = make(num_classes=3).eval(), torch.randn(2, 3, 64, 64)
    node = get_graph_node_names(model)[1][-1]
    traced = create_feature_extractor(model, [node])
    assert torch.equal(traced(x)[node], model(x))
    traced.train()(x)[node].mean().backward()
    assert all(parameter.grad is not None for parameter in traced.parameters())


CONTRACT = [
    forward,
    other_input_channels,
    backward,
    sizes_are_those_of_default_cfg,
    names_are_those_of_default_cfg,
    classifier_is_removed,
    classifier_is_replaced,
    features_only,
    features_of_the_classifier,
    intermediates,
    pruned_to_intermediates,
    traced_by_fx,
]


@pytest.mark.parametrize('contract', CONTRACT, ids=lambda contract: contract.__name__)
@pytest.mark.parametrize('make', MAKERS.values(), ids=MAKERS)
def test_contract_of_timm(make: Make, contract: Callable[[Make], None]) -> None:
    contract(make)


@pytest.mark.parametrize('name', mmhrnet.list_models('hrnet_*'))
def test_every_classifier_keeps_the_contract_in_shapes(name: str) -> None:
    with torch.device('meta'):
        model = mmhrnet.create_model(name).eval()
        sizes_are_those_of_default_cfg(lambda: model)
        names_are_those_of_default_cfg(lambda: model)
        intermediates_are_described(model)


@pytest.mark.parametrize('name', mmhrnet.list_models('*_w18_small_v1'))
def test_every_kind_describes_its_maps(name: str) -> None:
    with torch.device('meta'):
        model = mmhrnet.create_model(name, in_chans=4)
        features = mmhrnet.create_model(name, features_only=True, out_indices=5, in_chans=4)
    info = FeatureInfo(model.feature_info, range(len(model.feature_info)))
    for part, told in ((model, info), (features, features.feature_info)):
        parts = {of for of, _ in part.named_modules()}
        assert set(told.module_name()) <= parts
        first_conv = part.default_cfg['first_conv']
        assert part.get_submodule(first_conv).in_channels == 4
    if not name.startswith('hrnet_'):
        assert info.channels() == list(model.out_channels)
        assert info.reduction() == list(model.out_strides)
        assert (model.default_cfg['num_classes'], model.default_cfg['classifier']) == (0, None)


@pytest.mark.parametrize('name', TIMM_NAMES)
def test_names_of_timm_are_its_networks(name: str) -> None:
    """That equal descriptions are equal networks, tests/test_parity.py shows."""
    theirs = timm.models.hrnet.cfg_cls[name.removesuffix('_ssld')]
    ours = ARCHS[TIMM_NAMES[name][0]]
    for index, stage in enumerate(ours, start=1):
        cfg = theirs[f'stage{index}']
        assert stage.modules == cfg['num_modules']
        assert stage.block == cfg['block_type']
        assert (stage.blocks, stage.channels) == (cfg['num_blocks'], cfg['num_channels'])


def test_tags_are_all_of_timm_and_no_names_are_listed_twice() -> None:
    assert sorted(TAGGED) == sorted(timm.list_pretrained('hrnet*'))
    assert not set(TAGGED) & set(mmhrnet.list_models())
    first = [timm.get_pretrained_cfg(name).tag for name in TIMM_NAMES]
    assert first == [tags[0] for _, tags in TIMM_NAMES.values()]


@pytest.mark.parametrize('name', TAGGED)
def test_inputs_are_prepared_as_timm_does(name: str) -> None:
    theirs = timm.get_pretrained_cfg(name).to_dict()
    ours = default_cfg(name.partition('.')[2], classifier='head.fc')
    same = ours.keys() - {'first_conv', 'classifier'}
    assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}
    assert {key for key in theirs if key.startswith('test_')} <= same


@pytest.mark.parametrize(
    ('name', 'method'), [('hrnet_w18_small', 'bicubic'), ('hrnet_w18_small.ms_in1k', 'bilinear')]
)
def test_a_model_has_the_config_of_its_tag(name: str, method: str) -> None:
    with torch.device('meta'):
        cfg = mmhrnet.create_model(name).default_cfg
    assert (cfg['interpolation'], cfg['architecture']) == (method, SMALL)


@torch.no_grad()
@pytest.mark.parametrize('location', ['', 'incre'])
def test_maps_are_those_of_timm_from_its_state_dict(location: str, randomized: Any) -> None:
    options = dict(features_only=True, feature_location=location, out_indices=(0, 1, 2, 3, 4))
    theirs = randomized(timm.create_model(SMALL, **options)).eval()
    ours = timm.create_model('mmhrnet_w18_small_v1', **options).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(1, 3, 96, 64)
    assert type(ours(x)) is type(theirs(x)) is list
    for a, b in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], Path]:
    state = timm.create_model(SMALL).state_dict()
    path = tmp_path_factory.mktemp('timm') / 'model.safetensors'
    save_file(state, path)
    return state, path


@pytest.mark.parametrize('options', [{}, {'features_only': True}, {'num_classes': 5}])
def test_a_tag_fetches_the_weights_of_timm(
    weights: tuple, options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        'huggingface_hub.hf_hub_download', lambda *args, **_: asked.append(args) or str(weights[1])
    )
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for name in (f'{SMALL}.ms_in1k', SMALL):
        model = mmhrnet.create_model(name, pretrained=True, **options)
        conv = getattr(model, 'backbone', model).conv1
        assert torch.equal(conv.weight, weights[0]['conv1.weight'])
    assert asked == [
        ('timm/hrnet_w18_small.ms_in1k', 'model.safetensors'),
        ('timm/hrnet_w18_small.gluon_in1k', 'model.safetensors'),
    ]


def test_weights_of_timm_that_cannot_be_downloaded_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str, **__: object) -> str:
        raise FileNotFoundError('no network\nand more')

    monkeypatch.setattr('huggingface_hub.hf_hub_download', fail)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    message = r'hf://timm/hrnet_w18\.ms_in1k: no network\. Set MMHRNET_WEIGHTS to a folder'
    with pytest.raises(CheckpointError, match=message) as error:
        mmhrnet.create_model('hrnet_w18.ms_in1k', pretrained=True)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'options',
    [
        dict(in_chans=1, num_classes=5),
        dict(features_only=True, in_chans=4),
        dict(features_only=True, feature_cls='getter', out_indices=(1, 2)),
        dict(features_only=True, feature_location='incre'),
    ],
)
def test_registered_models_take_weights_of_any_form(weights: tuple, options: dict) -> None:
    overlay = dict(file=str(weights[1]))
    name = 'mmhrnet_w18_small_v1'
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    state = model.state_dict()
    own = [key for key in state if key.endswith('stage4.0.branches.0.0.conv1.weight')]
    assert torch.equal(state[own[0]], weights[0]['stage4.0.branches.0.0.conv1.weight'])
    if options.get('feature_location'):
        key = 'incre_modules.3.0.conv3.weight'
        assert torch.equal(state[key], weights[0][key])


def test_registering_again_changes_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert mmhrnet.register_timm() == NAMES
    assert timm.list_models('mmhrnet*') == sorted(NAMES, key=timm.list_models('mmhrnet*').index)
    pretrained = {name.replace('mmhrnet', 'hrnet') for name in timm.list_pretrained('mmhrnet*')}
    assert pretrained == set(mmhrnet.list_models('hrnet_*', pretrained=True))


def test_without_timm_registering_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm.models', None)
    with pytest.raises(ImportError, match='pip install timm'):
        mmhrnet.register_timm()


@pytest.mark.parametrize('options', [{}, {'features_only': True, 'out_indices': (0, 1, 2, 3)}])
def test_checkpointing_changes_neither_maps_nor_gradients(options: dict) -> None:
    model = mmhrnet.create_model(SMALL, **options).train()
    x = torch.randn(2, 3, 64, 64)
    results = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        y = model(x)
        sum(m.square().mean() for m in (y if isinstance(y, tuple) else (y,))).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        results.append([parameter.grad.clone() for parameter in model.parameters()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_groups_of_parameters_go_from_the_input_to_the_output() -> None:
    with torch.device('meta'):
        model = mmhrnet.create_model('hrnet_w18')
    for coarse in (False, True):
        groups = timm.models.group_parameters(model, model.group_matcher(coarse), reverse=True)
        order = [
            'backbone.bn2.bias',
            'backbone.layer1.0.conv1.weight',
            'backbone.stage2.0.branches.0.0.conv1.weight',
            'backbone.stage3.0.branches.0.0.conv1.weight',
            'backbone.stage4.2.branches.0.0.conv1.weight',
            'head.fc.weight',
        ]
        places = [groups[name] for name in order]
        assert places == sorted(set(places))
        assert groups['backbone.conv1.weight'] == 0
        assert groups['backbone.transition2.2.0.0.weight'] <= groups[order[3]]


@torch.no_grad()
def test_features_have_a_fast_form() -> None:
    options = dict(features_only=True, feature_location='incre', out_indices=(0, 1, 4))
    model = mmhrnet.create_model(SMALL, **options).eval()
    x = torch.randn(1, 3, 64, 96)
    for a, b in zip(optimize(model)(x), model(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_feature_info_is_that_of_timm() -> None:
    model = mmhrnet.create_model(SMALL, features_only=True, out_indices=(0, 3))
    theirs = timm.models.FeatureInfo([dict(entry) for entry in model.feature_info], (0, 3))
    ours: FeatureInfo = model.feature_info
    for method in ('channels', 'reduction', 'module_name'):
        for idx in (None, 2, [1, 4]):
            assert getattr(ours, method)(idx) == getattr(theirs, method)(idx)
    assert ours.get_dicts() == theirs.get_dicts()
    assert ours.get_dicts(['num_chs'], [1]) == theirs.get_dicts(['num_chs'], [1])
    assert ours.from_other(2).channels() == theirs.from_other(2).channels()
    assert (len(ours), ours[4]) == (len(theirs), theirs[4])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_chans=4, in_channels=4), 'either in_channels or in_chans'),
        (dict(output_stride=16), 'output_stride=16 cannot be built'),
        (dict(out_indices=(1, 2)), r'out_indices=\(1, 2\) is for features_only=True'),
        (dict(feature_location='incre'), 'feature_location=incre is for features_only=True'),
        (dict(features_only=True, drop_rate=0.1), r'drop_rate=0.1 is for hrnet_\*'),
        (dict(num_classes=-1), 'num_classes=-1'),
        (dict(name='hrnet_w18_small_v1', pretrained=True), 'only for w18, w30, w32'),
        (dict(features_only=True, out_indices=(5,)), r'indices \[5\] must be .* 0 to 4'),
        (dict(features_only=True, out_indices=0), r'indices \[\] must be one or more'),
        (dict(features_only=True, feature_location='stem'), "feature_location='stem' is unknown"),
        (dict(global_pool='catavgmax'), "global_pool='catavgmax' is unknown.*'avg' or 'max' or ''"),
        (dict(global_pool=''), "global_pool='' is for num_classes=0"),
        (
            dict(name='hrnet_w18.ms_in22k'),
            'timm has hrnet_w18.ms_aug_in1k, hrnet_w18.ms_in1k and hrnet_w18_ssld.paddle_in1k',
        ),
        (dict(name='hrnet_w18_smal'), "did you mean 'hrnet_w18_small'"),
        (
            dict(name='hrnet_w18_small_v2', pretrained=True),
            'timm has hrnet_w18_small_v2.gluon_in1k and hrnet_w18_small_v2.ms_in1k',
        ),
    ],
)
def test_bad_arguments_are_one_clear_line(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mmhrnet.create_model(**{'name': SMALL, **options})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(pretrained=True), 'no published weights for mmhrnet_w18_small_v1.*file=PATH'),
        (dict(cache_dir='folder'), 'TORCH_HOME'),
        (dict(output_stride=16), 'output_stride=16 cannot be built'),
    ],
)
def test_bad_arguments_through_timm_too(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timm.create_model('mmhrnet_w18_small_v1', **options)


def test_methods_refuse_what_they_cannot_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'compile', lambda call, **_: call)  # whose import takes seconds
    model = mmhrnet.create_model(SMALL)
    with pytest.raises(ValueError, match="output_fmt='NHWC'"):
        model.forward_intermediates(torch.rand(1, 3, 64, 64), output_fmt='NHWC')
    model.backbone.compile_modules()
    with pytest.raises(ValueError, match='set_grad_checkpointing or compile'):
        model.set_grad_checkpointing()


@pytest.mark.parametrize('depth', [5, 4])
def test_unet_of_segmentation_models_trains_a_step_on_our_encoder(depth: int) -> None:
    smp = pytest.importorskip('segmentation_models_pytorch')
    unet = smp.Unet(
        'tu-mmhrnet_w18',
        encoder_weights=None,
        encoder_depth=depth,
        decoder_channels=(64, 32, 16, 16, 8)[:depth],
        in_channels=4,
        classes=3,
    )
    optimizer = torch.optim.SGD(unet.parameters(), lr=0.01)
    x, target = torch.rand(2, 4, 64, 64), torch.randint(3, (2, 64, 64))
    stem = unet.encoder.model.conv1.weight
    before = stem.detach().clone()
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(unet(x), target)
        loss.backward()
        assert all(parameter.grad is not None for parameter in unet.parameters())
        optimizer.step()
        losses.append(loss.item())
    print(f'depth {depth}: loss {losses[0]:.4f}, then {losses[1]:.4f}', unet.encoder.out_channels)
    assert all(map(math.isfinite, losses))
    assert stem.grad.abs().max() > 0
    assert not torch.equal(before, stem)
