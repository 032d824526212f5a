"""HRNets by name in plain PyTorch: beside timm, by their promises, and without a host."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import mmhrnet
from mmhrnet.checkpoints import CheckpointError, convert
from mmhrnet.hub.models import imagenet_weights
from mmhrnet.models import ARCHS

ROOT = Path(__file__).resolve().parents[1]
ARCH = 'w18_small_v1'
NAMES = mmhrnet.list_models()
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('mmdet', 'mmpose', 'mmseg', 'mmpretrain', 'timm'):
            raise ImportError(f'{name} is blocked')
import mmhrnet
assert 'torch' not in sys.modules, 'the import is not light'
sys.meta_path.insert(0, Block())  # after the bridges have looked for the hosts
import torch
model = mmhrnet.create_model('hrnet_w18_small_v1', num_classes=7).eval()
assert model(torch.rand(1, 3, 64, 64)).shape == (1, 7)
assert 'hrnetv2_w64' in mmhrnet.list_models(pretrained=True)
"""


@pytest.fixture(scope='module')
def of_timm(tmp_path_factory: pytest.TempPathFactory, randomized: object) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = randomized(timm.create_model('hrnet_w18_small_v2', pretrained=False)).eval()
    path = tmp_path_factory.mktemp('timm') / 'w18_small_v2.pth'
    torch.save(model.state_dict(), path)
    return model, path


@torch.no_grad()
def test_logits_and_pooled_features_are_those_of_timm(of_timm: tuple) -> None:
    theirs, path = of_timm
    ours = mmhrnet.create_model('hrnet_w18_small_v2', checkpoint=path).eval()
    x = torch.rand(2, 3, 96, 64)
    logits = theirs(x)
    assert (ours(x) - logits).abs().max() < 1e-5 * logits.abs().max()
    maps = ours.forward_features(x)
    their_maps = theirs.forward_features(x)
    assert (maps - their_maps).abs().max() < 1e-5 * their_maps.abs().max()
    assert (maps.shape[1], 96 // maps.shape[2]) == (*ours.out_channels, *ours.out_strides)
    pooled = theirs.forward_head(maps, pre_logits=True)
    torch.testing.assert_close(ours.forward_head(maps, pre_logits=True), pooled)


def test_weights_under_the_names_of_mmpretrain_load_as_they_are(of_timm: tuple) -> None:
    state, _, report = convert(of_timm[0].state_dict(), 'mmpretrain')
    assert not report.left_out
    mmhrnet.create_model('hrnet_w18_small_v2').load_state_dict(state, strict=True)


@pytest.mark.parametrize('kind', ['hrnetv1', 'hrnetv2', 'hrnetv2p'])
def test_representations_take_the_backbone_of_a_classifier(kind: str, of_timm: tuple) -> None:
    theirs, path = of_timm[0].state_dict(), of_timm[1]
    ours = mmhrnet.create_model(f'{kind}_w18_small_v2', checkpoint=path).backbone.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize('name', NAMES)
def test_every_name_builds_on_the_meta_device(name: str) -> None:
    with torch.device('meta'):
        model = mmhrnet.create_model(name)
    arch = name.partition('_')[2]
    assert next(model.parameters()).is_meta
    channels = ARCHS[arch][-1].out_channels
    expected = {
        'hrnet': ((2048,), (32,)),
        'hrnetv1': (channels[:1], (4,)),
        'hrnetv2': ((sum(channels),), (4,)),
        'hrnetv2p': ((256,) * 5, (4, 8, 16, 32, 64)),
    }
    assert (model.out_channels, model.out_strides) == expected[name.partition('_')[0]]


@torch.no_grad()
@pytest.mark.parametrize('features_only', [False, True])
@pytest.mark.parametrize('kind', ['hrnet', 'hrnetv1', 'hrnetv2', 'hrnetv2p'])
def test_outputs_keep_the_promise_of_channels_and_strides(kind: str, features_only: bool) -> None:
    model = mmhrnet.create_model(f'{kind}_{ARCH}', features_only=features_only, in_channels=4)
    run = model.forward_features if kind == 'hrnet' and not features_only else model
    y = run(torch.rand(1, 4, 128, 64))
    several = features_only or kind == 'hrnetv2p'
    assert isinstance(y, tuple if several else torch.Tensor)
    maps = y if several else (y,)
    assert tuple(m.shape[1] for m in maps) == model.out_channels
    assert tuple(128 // m.shape[2] for m in maps) == model.out_strides
    assert tuple(64 // m.shape[3] for m in maps) == model.out_strides
    assert len(maps) == (4 if features_only else len(model.out_channels))


def test_other_classes_and_channels_take_the_rest_of_the_weights(of_timm: tuple) -> None:
    theirs, path = of_timm
    model = mmhrnet.create_model(
        'hrnet_w18_small_v2', num_classes=3, in_channels=1, checkpoint=path
    )
    assert model.head.fc.out_features == 3
    gray = theirs.state_dict()['conv1.weight'].sum(dim=1, keepdim=True)
    torch.testing.assert_close(model.backbone.conv1.weight.detach(), gray)


def test_fresh_blocks_start_as_the_identity_where_asked() -> None:
    model = mmhrnet.create_model(f'hrnet_{ARCH}', zero_init_residual=True)
    assert not model.backbone.layer1[0].bn3.weight.any()
    assert model.neck[0].increase_layers[0][0].bn3.weight.all()


def test_names_are_filtered_by_pattern_and_by_weights() -> None:
    assert mmhrnet.list_models('*w32*') == [
        f'{k}_w32' for k in ('hrnet', 'hrnetv1', 'hrnetv2', 'hrnetv2p')
    ]
    assert len(NAMES) == 4 * len(ARCHS)
    pretrained = mmhrnet.list_models('hrnet_*', pretrained=True)
    assert pretrained == [f'hrnet_w{width}' for width in (18, 30, 32, 40, 44, 48, 64)]


def test_weights_are_those_of_the_config_of_the_architecture() -> None:
    for arch, url in imagenet_weights().items():
        name = f'hrnet-{arch.replace("_", "-")}_4xb64_in1k'
        config = (ROOT / f'configs/mmpretrain/{name}.py').read_text()
        assert re.search(r"arch='(\w+)'", config)[1] == arch
        assert f'/hrnet-{arch}_' in url


def test_weights_that_cannot_be_downloaded_are_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = 'http://127.0.0.1:9/hrnet_w18.pth'
    monkeypatch.setattr('mmhrnet.hub.models.imagenet_weights', lambda: {ARCH: url})
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(CheckpointError, match=rf'{url}: .*connect.*MMHRNET_WEIGHTS'):
        mmhrnet.create_model(f'hrnet_{ARCH}', pretrained=True)
    with pytest.raises(FileNotFoundError, match=r'no\.pth'):
        mmhrnet.create_model(f'hrnet_{ARCH}', checkpoint='no.pth')


def test_pretrained_takes_the_published_file(
    of_timm: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, path = of_timm
    urls = {'w18_small_v2': str(path)}
    monkeypatch.setattr('mmhrnet.hub.models.imagenet_weights', lambda: urls)
    model = mmhrnet.create_model('hrnet_w18_small_v2', pretrained=True)
    assert torch.equal(model.head.fc.weight, theirs.classifier.weight)


def test_nothing_of_a_host_or_of_timm_is_imported() -> None:
    result = subprocess.run([sys.executable, '-c', BLOCKED], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'INFO' not in result.stdout + result.stderr  # no line for every parameter
