"""Networks that go to folders and to the Hugging Face Hub, and come back as they were."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import TOKEN, Hub
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save_file
from torch import nn

import mmhrnet
from mmhrnet.checkpoints import CheckpointError, fetching
from mmhrnet.errors import ConfigError
from mmhrnet.models.archs import as_extra

SMALL = 'w18_small_v1'
NARROW = as_extra(SMALL) | {
    'stage4': dict(
        num_modules=1,
        num_branches=4,
        block='BASIC',
        num_blocks=(1, 1, 1, 1),
        num_channels=(8, 16, 32, 64),
    )
}
GROUPS = dict(type='GN', num_groups=2, eps=1e-3)
NETWORKS: dict[str, dict[str, Any]] = {
    'plain': dict(arch=SMALL),
    'V1': dict(arch=SMALL, multiscale_output=False),
    'described': dict(extra=NARROW, in_channels=4),
    'arch is described': dict(arch=NARROW),
    'of mmpose': dict(
        extra={
            **NARROW,
            'upsample': dict(mode='bilinear', align_corners=True),
            'stage4': {**NARROW['stage4'], 'multiscale_output': False},
        }
    ),
    'norms': dict(arch=SMALL, norm_cfg=GROUPS, zero_init_residual=True),
    'upsampling': dict(arch=SMALL, upsample='bilinear', align_corners=True),
    'training': dict(arch=SMALL, norm_eval=True, with_cp=True, frozen_stages=2),
    'fast': dict(arch=SMALL, memory_format='channels_last'),
    'initialized': dict(arch=SMALL, pretrained='/home/me/private.pth'),
}
MODELS: dict[str, dict[str, Any]] = {
    'classifier': dict(name=f'hrnet_{SMALL}', num_classes=7, in_chans=4, drop_rate=0.2),
    'features of a classifier': dict(name=f'hrnet_{SMALL}', num_classes=0),
    "timm's name": dict(name='hrnet_w18_small.ms_in1k', num_classes=3, norm_cfg=GROUPS),
    'V1': dict(name=f'hrnetv1_{SMALL}', upsample='bilinear'),
    'V2': dict(name=f'hrnetv2_{SMALL}', in_channels=2),
    'V2p': dict(name=f'hrnetv2p_{SMALL}'),
    'maps': dict(name=f'hrnet_{SMALL}', features_only=True, out_indices=(0, 2)),
    'raised maps': dict(name=f'hrnet_{SMALL}', features_only=True, feature_location='incre'),
}
ALL = [*(('HRNet', name) for name in NETWORKS), *(('create_model', name) for name in MODELS)]
Randomize = Callable[[nn.Module], nn.Module]


def make(door: str, name: str) -> Any:
    options = (NETWORKS if door == 'HRNet' else MODELS)[name]
    return getattr(mmhrnet, door)(**copy.deepcopy(options))


def channels(network: Any) -> int:
    return getattr(network, 'backbone', network).in_channels


@torch.no_grad()
def assert_same(first: Any, second: Any) -> None:
    """The same outputs, bit for bit; where one gives a tuple of one map, the other may give it."""
    x = torch.rand(1, channels(first), 64, 96, dtype=next(first.parameters()).dtype)
    one, two = (
        y if isinstance(y, tuple) else (y,) for y in (net.eval()(x) for net in (first, second))
    )
    assert len(one) == len(two)
    assert all(torch.equal(a, b) for a, b in zip(one, two))


@pytest.mark.parametrize(('door', 'name'), ALL)
def test_a_folder_gives_back_the_same_network(
    door: str, name: str, tmp_path: Path, randomized: Randomize
) -> None:
    network = randomized(make(door, name))
    assert isinstance(network, PyTorchModelHubMixin)
    assert network.save_pretrained(tmp_path) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *('README.md', 'config.json', 'model.safetensors'),
    ]
    again = type(network).from_pretrained(tmp_path)
    assert_same(network, again)
    assert again.hub_config == network.hub_config
    assert again.out_channels == network.out_channels
    assert getattr(again, 'default_cfg', None) == getattr(network, 'default_cfg', None)
    assert not again.training
    assert 'private' not in (tmp_path / 'config.json').read_text()
    if name == 'training':
        assert (again.norm_eval, again.frozen_stages) == (True, 2)
        assert not again.conv1.weight.requires_grad


@pytest.mark.parametrize(
    ('door', 'name'),
    [
        *(('HRNet', name) for name in ('plain', 'of mmpose', 'norms', 'training')),
        *(('create_model', name) for name in ('classifier', 'V1', 'V2p', 'maps', 'raised maps')),
    ],
)
def test_the_hub_gives_back_the_same_network_without_its_name(
    door: str, name: str, hub: Hub, randomized: Randomize
) -> None:
    network = randomized(make(door, name))
    url = network.push_to_hub('user/net', token=TOKEN)
    assert url.startswith(f'{hub.endpoint}/user/net/')
    assert_same(network, type(network).from_pretrained('user/net'))
    again = mmhrnet.create_model('hf://user/net')
    assert_same(network, again)
    assert again.default_cfg['mean'] == (0.485, 0.456, 0.406)
    if door == 'create_model':
        assert type(again) is type(network)
        assert again.hub_config.keys() == network.hub_config.keys()


def test_the_card_of_a_network_is_one_of_the_hub(tmp_path: Path) -> None:
    make('create_model', 'classifier').save_pretrained(tmp_path)
    data = ModelCard.load(tmp_path / 'README.md').data
    assert (data.library_name, data.pipeline_tag) == ('mmhrnet', 'image-classification')
    assert 'hrnet' in data.tags


@pytest.mark.parametrize('name', ['user/net', 'net'])
def test_the_card_names_its_repository(name: str, hub: Hub, tmp_path: Path) -> None:
    network = make('HRNet', 'plain')
    network.push_to_hub(name, token=TOKEN)
    card = hub.repositories['user/net'].files['README.md'].decode()
    assert "create_model('hf://user/net')" in card
    network.save_pretrained(tmp_path)
    assert "create_model('hf://USER/MODEL')" in (tmp_path / 'README.md').read_text()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_the_type_of_the_numbers_stays(dtype: torch.dtype, hub: Hub, randomized: Randomize) -> None:
    network = randomized(make('create_model', 'V1')).to(dtype)
    network.push_to_hub('user/net', token=TOKEN)
    for again in (type(network).from_pretrained('user/net'), mmhrnet.create_model('hf://user/net')):
        assert again.backbone.conv1.weight.dtype == dtype
        assert_same(network, again)


def test_a_new_classifier_is_part_of_the_config(tmp_path: Path) -> None:
    network = make('create_model', 'classifier')
    network.reset_classifier(3, 'max')
    network.save_pretrained(tmp_path)
    assert_same(network, type(network).from_pretrained(tmp_path))


def test_a_network_that_its_arguments_do_not_describe_is_refused(hub: Hub, tmp_path: Path) -> None:
    pruned = make('create_model', 'V2')
    pruned.backbone.stage4[-1].fuse_layers = pruned.backbone.stage4[-1].fuse_layers[:2]
    calm = make('create_model', 'V2')
    calm.backbone.relu = nn.SiLU()
    odd = mmhrnet.HRNet(SMALL, norm_cfg=dict(type=nn.BatchNorm2d))
    inside = mmhrnet.hub.representations.Representation('hrnetv2', odd)
    for network, message in (
        (pruned, 'was changed after it was built'),
        (calm, 'was changed after it was built'),
        (odd, 'no form for norm_cfg'),
        (inside, 'no form for norm_cfg'),
    ):
        with pytest.raises(ConfigError, match=message):
            network.save_pretrained(tmp_path / 'out')
        with pytest.raises(ConfigError, match=message):
            network.push_to_hub('user/net', token=TOKEN)
    assert not (tmp_path / 'out').exists()
    assert not hub.requests


def test_norms_of_a_distributed_training_are_described(
    tmp_path: Path, randomized: Randomize
) -> None:
    network = randomized(make('create_model', 'V1'))
    nn.SyncBatchNorm.convert_sync_batchnorm(network).save_pretrained(tmp_path)
    assert_same(network, type(network).from_pretrained(tmp_path))


def test_a_public_repository_gets_nothing_private(hub: Hub) -> None:
    network = make('HRNet', 'plain')
    hub.push('user/net', {'a': b''})
    with pytest.raises(ConfigError, match='user/net is a public repository: make it private in'):
        network.push_to_hub('user/net', token=TOKEN, private=True)
    assert hub.repositories['user/net'].files == {'a': b''}
    for _ in range(2):
        network.push_to_hub('user/mine', token=TOKEN, private=True)
    assert hub.repositories['user/mine'].private


def test_copies_and_pickles_keep_their_config(tmp_path: Path) -> None:
    network = make('create_model', 'classifier')
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    for again in (copy.deepcopy(network), torch.load(buffer, weights_only=False)):
        assert again.hub_config == network.hub_config
        again.save_pretrained(tmp_path)


def test_arguments_change_the_network_of_a_repository(hub: Hub, randomized: Randomize) -> None:
    network = randomized(make('create_model', 'classifier'))
    network.push_to_hub('user/net', token=TOKEN)
    name = 'hf://user/net'
    other = mmhrnet.create_model(name, num_classes=3, in_channels=3)
    assert (other.head.fc.out_features, other.backbone.in_channels) == (3, 3)
    assert torch.equal(
        other.backbone.layer1[0].conv1.weight, network.backbone.layer1[0].conv1.weight
    )
    maps = mmhrnet.create_model(name, features_only=True, out_indices=(1, 4)).eval()
    x = torch.rand(1, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(maps(x)[1], network.eval().backbone(x)[3])
    assert mmhrnet.create_model(name, num_classes=1000).head.fc.out_features == 1000
    fresh = mmhrnet.create_model(name, pretrained=False)
    assert fresh.head.fc.weight.shape == network.head.fc.weight.shape
    assert not torch.equal(fresh.head.fc.weight, network.head.fc.weight)
    for options, message in (
        ({'checkpoint': 'a.pth'}, 'Give either checkpoint or hf://user/net'),
        ({'out_indices': (1,)}, 'out_indices=.* is for features_only=True'),
        ({'arch': 'w32'}, 'arch cannot be given'),
    ):
        with pytest.raises(ConfigError, match=message):
            mmhrnet.create_model(name, **options)


def test_a_revision_is_that_of_weights_and_config(hub: Hub, randomized: Randomize) -> None:
    first, second = (
        randomized(mmhrnet.create_model(f'hrnetv1_{SMALL}', in_channels=n)) for n in (2, 3)
    )
    first.push_to_hub('user/net', token=TOKEN)
    repository = hub.repositories['user/net']
    repository.refs['v1'] = commit = repository.refs['main']
    second.push_to_hub('user/net', token=TOKEN)
    assert_same(second, mmhrnet.create_model('hf://user/net'))
    for revision in ('v1', commit):
        assert_same(first, mmhrnet.create_model(f'hf://user/net@{revision}'))


def test_a_repository_of_timm_is_one_of_its_names(hub: Hub, tmp_path: Path) -> None:
    timm = pytest.importorskip('timm')
    theirs = timm.create_model('hrnet_w18_small', num_classes=5).eval()
    save_file(theirs.state_dict(), tmp_path / 'a.safetensors')
    config = {
        'architecture': 'hrnet_w18_small',
        'num_classes': 5,
        'pretrained_cfg': {'mean': [0.5]},
    }
    files = {'config.json': json.dumps(config).encode()}
    hub.push('user/net', files | {'model.safetensors': (tmp_path / 'a.safetensors').read_bytes()})
    ours = mmhrnet.create_model('hf://user/net').eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    assert ours.default_cfg['mean'] == (0.5,)


def classifier_config(**changed: object) -> dict[str, object]:
    return {'class': 'Classifier', 'backbone': {'arch': SMALL, **changed}, 'num_classes': 2}


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            None,
            r'does not say what its network is \(config.json: .*\): name it, as in create_model',
        ),
        (b'{', 'does not say what its network is'),
        ([], 'config.json is a list, not a dict'),
        ({'class': 'Popen'}, 'hf://user/net is a Popen, which mmhrnet does not know'),
        (
            {'architecture': 'resnet50'},
            "no network of mmhrnet or timm: .* 'resnet50'",
        ),
        (classifier_config(norm_cfg={'type': 'subprocess.Popen'}), "type='subprocess.Popen'"),
        (classifier_config(norm_cfg={'type': 'os'}), "type='os', which is not a registered layer"),
        (classifier_config(norm_cfg={'type': ['BN']}), r"type=\['BN'\], which is not a registered"),
        ({'class': 'Classifier', 'backbone': 3}, 'backbone=3, which must be a dict'),
        (classifier_config() | {'default_cfg': [1]}, r'default_cfg=\[1\], which must be a dict'),
        ({'class': 'Representation', 'backbone': {}}, "kind='' is unknown: It must be"),
        (classifier_config(norm_cfg={'type': 3}), 'type=3, which is not a registered layer'),
        (classifier_config() | {'dtype': 'torch.float16'}, "dtype='torch.float16', which is no"),
        (classifier_config() | {'dtype': 'save'}, "dtype='save', which is no floating-point type"),
        (classifier_config() | {'dtype': 'int8'}, "dtype='int8', which is no floating-point type"),
        (
            classifier_config() | {'dtype': ['half']},
            r"dtype=\['half'\], which is no floating",
        ),
        (classifier_config(arch='w99'), "arch='w99' is unknown"),
        (classifier_config(typo=1), "does not take 'typo'"),
    ],
)
def test_what_a_repository_says_is_checked(config: object, message: str, hub: Hub) -> None:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    hub.push('user/net', {'a': b''} if config is None else {'config.json': text})
    with pytest.raises(ConfigError, match=message) as error:
        mmhrnet.create_model('hf://user/net')
    assert '\n' not in str(error.value)


def test_a_repository_that_cannot_be_fetched_is_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    for name, reason in (('user/none', '.*401'), ('user/net@v9', '.*404')):
        hub.push('user/net', {'a': b''})
        with pytest.raises(CheckpointError, match=f'hf://{name} cannot be fetched: {reason}'):
            mmhrnet.create_model(f'hf://{name}')
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(hub.endpoint, 'http://127.0.0.1:9')
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(fetching, 'SILENT', {})
    with pytest.raises(CheckpointError, match=r'hf://user/net cannot be fetched: .*refused'):
        mmhrnet.create_model('hf://user/net')


def test_types_of_a_config_are_not_imported_by_from_pretrained(hub: Hub) -> None:
    config = {'class': 'HRNet', 'arch': SMALL, 'norm_cfg': {'type': 'subprocess.Popen'}}
    hub.push('user/net', {'config.json': json.dumps(config).encode()})
    with pytest.raises(ConfigError, match='not a registered layer'):
        mmhrnet.HRNet.from_pretrained('user/net')


def test_another_class_and_other_weights_are_named(hub: Hub, tmp_path: Path) -> None:
    network = make('create_model', 'classifier')
    network.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match='is a Classifier, not a HRNet: on the Hub, mmhrnet'):
        mmhrnet.HRNet.from_pretrained(tmp_path)
    state = load_file(tmp_path / 'model.safetensors')
    save_file({k: v for k, v in state.items() if 'neck' not in k}, tmp_path / 'model.safetensors')
    with pytest.raises(RuntimeError, match='Missing key'):
        type(network).from_pretrained(tmp_path)
    hub.push('user/net', {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    message = r'of hf://user/net are not those of the network in its config.json: neck.0 \(\d+\)'
    with pytest.raises(CheckpointError, match=message):
        mmhrnet.create_model('hf://user/net')


def test_a_wrong_token_pushes_nothing(hub: Hub) -> None:
    with pytest.raises(HfHubHTTPError, match='401'):
        make('HRNet', 'plain').push_to_hub('user/net', token='hf_wrong')  # noqa: S106
    assert not hub.repositories
