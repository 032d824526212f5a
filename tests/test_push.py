"""Published weights on the Hugging Face Hub, and everything that takes them from there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import READS, TOKEN, Hub
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader

import mmhrnet
from mmhrnet import apis, checkpoints, cli
from mmhrnet.datasets.images import read_image
from mmhrnet.errors import ConfigError
from mmhrnet.hub.classifier import Classifier
from mmhrnet.models.archs import as_extra
from mmhrnet.zoo.publish import publish
from mmhrnet.zoo.push import PushError

ROOT = Path(__file__).resolve().parents[1]
CLS, SEG, POSE = 'mmpretrain', 'mmseg', 'mmpose'
METRICS = {'accuracy/top1': 61.234567, 'accuracy/top5': 90.0}


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> Hub:
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    return hub


def image(size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.rand(1, 3, *size)


@torch.no_grad()
def logits(predictor: apis.Predictor, x: torch.Tensor) -> torch.Tensor:
    model = predictor.model
    return model.head(model.extract_feat(x))


def test_a_classifier_goes_to_the_hub_and_comes_back(
    logged_in: Hub,
    untrained: Callable[[str], Any],
    tmp_path: Path,
    scene: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All that the card shows, as it shows it."""
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'notes.txt').write_text('of somebody else')
    words = ['mmhrnet', 'publish', str(untrained(CLS).checkpoint), str(out), '--private']
    metrics = [f'{name}={value}' for name, value in METRICS.items()]
    monkeypatch.setattr('sys.argv', [*words, '--push', 'user/net', '--metric', *metrics])
    cli.main()
    repository = logged_in.repositories['user/net']
    assert f'{logged_in.endpoint}/user/net/commit/{repository.refs["main"]}' in ''.join(
        capsys.readouterr().out.split()
    )
    (local,) = out.glob('*.safetensors')
    name = 'hrnet-w18-small-v1_4xb64_in1k'
    assert set(repository.files) == {'model.safetensors', 'README.md', 'config.json', f'{name}.py'}
    assert repository.files['model.safetensors'] == local.read_bytes()
    assert repository.private
    assert len(list(out.iterdir())) == 4
    _check_card(local)

    theirs = apis.Predictor(checkpoint=local)
    ours = mmhrnet.create_model('hf://user/net').eval()
    assert isinstance(ours, Classifier)
    x = image()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), logits(theirs, x), rtol=1e-4, atol=1e-5)
        assert torch.equal(Classifier.from_pretrained('user/net')(x), ours(x))
    assert ours.default_cfg['mean'] == pytest.approx((0.485, 0.456, 0.406), abs=1e-3)
    assert (ours.default_cfg['input_size'], ours.num_classes) == ((3, 64, 64), 4)
    again = apis.Predictor(checkpoint='hf://user/net')
    assert again.cfg.filename == 'net.py'
    pixels = read_image(scene)
    assert again(pixels).found == theirs(pixels).found


def _check_card(local: Path) -> None:
    card = ModelCard.load('user/net')
    here = ModelCard.load(local.with_suffix('.md'))
    assert card.data.to_dict() == here.data.to_dict()
    name, results = model_index_to_eval_results(card.data.to_dict()['model-index'])
    assert (name, results) == (card.data.model_name, card.data.eval_results)
    assert [result.metric_value for result in results] == [61.23, 90.0]
    digest = hashlib.sha256(local.read_bytes()).hexdigest()
    for text in (
        'tools/demo.py IMAGE --checkpoint hf://user/net\n',
        'tools/test.py hf://user/net\n',
        "mmhrnet.create_model('hf://user/net')",
        "checkpoint='hf://user/net'",
        f'| sha256 | `{digest}` |',
    ):
        assert text in card.text
    assert local.name not in card.text
    (config,) = re.findall(r'hf download user/net (\S+) --local-dir', card.text)
    assert f'tools/train.py {config} --cfg-options load_from=hf://user/net\n' in card.text


def test_commands_take_what_is_on_the_hub(
    logged_in: Hub,
    untrained: Callable[[str], Any],
    tmp_path: Path,
    scene: Path,
    run_tool: Callable[..., None],
) -> None:
    publish(untrained(CLS).checkpoint, tmp_path / 'out', push='user/net')
    run_tool('test', 'hf://user/net', '--work-dir', tmp_path / 'test')
    assert list(tmp_path.glob('test/*/*.json'))
    run_tool('demo', scene, '--checkpoint', 'hf://user/net', '--out-dir', tmp_path / 'demo')
    assert list(tmp_path.glob('demo/*.json'))
    run_tool('get_flops', 'hf://user/net')


@pytest.mark.parametrize('host', [CLS, SEG])
def test_a_config_of_a_host_starts_from_the_hub(
    host: str, logged_in: Hub, untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    from mmengine.registry import MODELS

    path = publish(untrained(CLS).checkpoint, tmp_path / 'out', push='user/net')
    cfg = apis.make_config(untrained(host).config)
    arch = dict(arch='w18_small_v1', extra=None)
    start = dict(type='Pretrained', checkpoint='hf://user/net@main')
    cfg.model.backbone.update(init_cfg=start, **arch)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        backbone = MODELS.build(cfg.model).backbone
        backbone.init_weights()
    state = checkpoints.load(path)['state_dict']
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, state[f'backbone.{name}']), name
    loaded = CheckpointLoader.load_checkpoint('hf://user/net')
    assert loaded['state_dict'].keys() == state.keys()


@pytest.mark.parametrize('host', [SEG, POSE, 'mmdet'])
def test_of_other_models_the_backbone_comes_back(
    host: str, logged_in: Hub, untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    run = untrained(host)
    publish(run.checkpoint, tmp_path / 'out', push='user/net')
    ours = mmhrnet.create_model('hf://user/net').eval()
    from mmengine.registry import MODELS

    cfg = apis.make_config(run.config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        theirs = MODELS.build(cfg.model)
    state = checkpoints.load(run.checkpoint)['state_dict']
    theirs.load_state_dict(state, strict=False)
    x = image((96, 64))
    with torch.no_grad():
        expected, found = theirs.eval().backbone(x), ours(x)
    found = found if isinstance(found, tuple) else (found,)
    assert len(found) == (1 if host == POSE else 4)
    assert all(torch.equal(a, b) for a, b in zip(expected, found))
    tags = {SEG: 'image-segmentation', POSE: 'keypoint-detection', 'mmdet': 'object-detection'}
    assert ModelCard.load('user/net').data.pipeline_tag == tags[host]
    assert ours.default_cfg['channels'] == 'RGB'


def test_the_hosts_own_network_is_described_as_ours(
    logged_in: Hub, untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    ours = untrained(CLS)
    content = checkpoints.load(ours.checkpoint)
    text = content['meta']['cfg'].replace('mmhrnet.HRNetC', 'HRFuseScales')
    text = text.replace("arch='w18_small_v1'", f'extra={as_extra("w18_small_v1")!r}')
    content['meta']['cfg'] = text.replace('mmhrnet.HRNet', 'HRNet')
    checkpoints.save(content, tmp_path / 'theirs.pth')
    publish(tmp_path / 'theirs.pth', tmp_path / 'out', push='user/net')
    described = json.loads(logged_in.repositories['user/net'].files['config.json'])
    assert described['class'] == 'Classifier'
    assert mmhrnet.create_model('hf://user/net').num_classes == 4


def test_pushing_again_changes_what_changed(
    logged_in: Hub, untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    checkpoint = untrained(POSE).checkpoint
    publish(checkpoint, tmp_path / 'out')  # a look first
    first = publish(checkpoint, tmp_path / 'out', push='user/net')
    before = dict(logged_in.repositories['user/net'].files)
    content = checkpoints.load(checkpoint)
    content['state_dict']['backbone.conv1.weight'] += 1
    checkpoints.save(content, tmp_path / checkpoint.name)
    second = publish(tmp_path / checkpoint.name, tmp_path / 'out', push='hf://user/net')
    after = logged_in.repositories['user/net'].files
    assert first != second
    assert before.keys() == after.keys()
    assert after['model.safetensors'] == second.read_bytes()


def test_a_public_repository_gets_nothing_private(
    logged_in: Hub, untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    logged_in.push('user/net', {'a': b''})
    message = 'user/net is a public repository: make it private in its settings, or leave out --pri'
    with pytest.raises(PushError, match=message) as error:
        publish(untrained(POSE).checkpoint, tmp_path / 'out', push='user/net', private=True)
    assert '\n' not in str(error.value)
    assert logged_in.repositories['user/net'].files == {'a': b''}


def test_arguments_that_json_lacks_are_no_other_network(
    logged_in: Hub,
    untrained: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    norms = {'model.backbone.norm_cfg': dict(type=torch.nn.BatchNorm2d, requires_grad=True)}
    checkpoint = untrained(POSE).checkpoint
    publish(checkpoint, tmp_path / 'out', cfg_options=norms, push='user/net')
    files = logged_in.repositories['user/net'].files
    assert 'config.json' not in files
    assert 'create_model' not in files['README.md'].decode()
    assert 'JSON has no form for norm_cfg of the backbone' in capsys.readouterr().err


@pytest.mark.parametrize('suffix', ['.json', '.yml'])
def test_configs_of_other_formats_are_pushed_as_the_card_names_them(
    suffix: str, logged_in: Hub, untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    run = untrained(POSE)
    config = tmp_path / f'mine{suffix}'
    Config.fromfile(run.config).dump(config)
    publish(run.checkpoint, tmp_path / 'out', config=config, push='user/net')
    files = logged_in.repositories['user/net'].files
    assert set(files) == {'model.safetensors', 'README.md', 'config.json', 'mine.py'}
    card = files['README.md'].decode()
    assert 'hf download user/net mine.py' in card
    assert "create_model('hf://user/net')" in card


@pytest.mark.parametrize(
    ('token', 'repository', 'message'),
    [
        (
            None,
            'user/net',
            r'there is no token \(Invalid username.*\); run `hf auth login`, or set',
        ),
        ('hf_wrong', 'user/net', r'the Hub does not accept the token \(Invalid'),
        (READS, 'user/net', r'the token may not write there \(You need a token with write'),
        (TOKEN, 'other/net', 'the token may not write there .*the namespace "other"'),
        (TOKEN, 'user/dead', 'the Hub cannot be reached'),
        (TOKEN, 'user/offline', 'the Hub cannot be reached .*HF_HUB_OFFLINE'),
        (TOKEN, 'user/invalid', 'Invalid metadata in README.md; "license" must be one of'),
    ],
)
def test_what_the_hub_refuses_is_one_line_and_stays_here(
    token: str | None,
    repository: str,
    message: str,
    hub: Hub,
    untrained: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    if token:
        monkeypatch.setenv('HF_TOKEN', token)
    if repository == 'user/dead':
        monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    if repository == 'user/offline':
        monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    license = 'zlib' if repository == 'user/invalid' else 'MIT'  # unknown to this server
    with pytest.raises(PushError, match=f'{repository} did not get the files: {message}') as error:
        publish(untrained(POSE).checkpoint, tmp_path / 'out', push=repository, license=license)
    text = str(error.value)
    assert text.endswith(f'. They are in {tmp_path}/out; the same command tries again')
    assert '\n' not in text
    assert len(list((tmp_path / 'out').iterdir())) == 3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(push='net'), "'net' is no repository of the Hub: name it user/model"),
        (dict(push='user/net@v1'), "'user/net@v1' is no repository of the Hub: Repo id must"),
        (dict(push='a/b/c'), "'a/b/c' is no repository of the Hub"),
        (dict(push='user/net', format='pth'), '--push takes --format safetensors'),
        (dict(private=True), '--private is for --push'),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        publish('none.pth', tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()
