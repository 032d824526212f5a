"""Published checkpoints: the same numbers, the same bytes, nothing of the run, and a true card."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import runpy
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage

from mmhrnet import apis, checkpoints, create_model
from mmhrnet.cli import make_parser
from mmhrnet.errors import ConfigError
from mmhrnet.files import WriteError
from mmhrnet.zoo.card_data import Facts, card_data
from mmhrnet.zoo.publish import choose_weights, logged_metrics, publish, trained_config

ROOT = Path(__file__).resolve().parents[1]
CLS = ROOT / 'configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
POSE = ROOT / 'configs/mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192.py'
SHORT = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 2,
    'val_dataloader.dataset.indices': 8,
    'test_dataloader.dataset.indices': 8,
}
FORMATS = pytest.mark.parametrize('format', ['safetensors', 'pth'])


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('run')
    apis.train(CLS, mini=True, work_dir=str(work_dir), cfg_options=SHORT)
    (best,) = work_dir.glob('best_*.pth')
    return best


@pytest.fixture(scope='module')
def left(trained: Path) -> Path:
    """The config that the training left."""
    return trained.with_name(CLS.name)


@pytest.fixture(scope='module')
def published(trained: Path, left: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(trained, tmp_path_factory.mktemp('out'), config=left)


@FORMATS
def test_the_published_file_gives_the_metrics_of_the_original(
    trained: Path, left: Path, format: str, tmp_path: Path
) -> None:
    path = publish(trained, tmp_path, config=left, format=format)
    metrics = [
        apis.test(config, file, work_dir=str(tmp_path / 'test'))
        for config, file in ((left, trained), (path.with_suffix('.py'), path))
    ]
    assert metrics[0] == metrics[1]


@FORMATS
def test_weights_classes_and_config_stay_and_the_rest_goes(
    trained: Path, left: Path, format: str, tmp_path: Path
) -> None:
    before = checkpoints.load(trained)
    after = checkpoints.load(publish(trained, tmp_path, config=left, format=format))
    assert set(after) == {'state_dict', 'meta'}
    assert set(after['meta']) == {'cfg', 'dataset_meta'}
    assert after['meta']['dataset_meta'] == before['meta']['dataset_meta']
    assert after['state_dict'].keys() == before['state_dict'].keys()
    for name, tensor in before['state_dict'].items():
        assert torch.equal(after['state_dict'][name], tensor), name
    cfg = Config.fromstring(after['meta']['cfg'], '.py')
    assert cfg.model.head.num_classes == 4
    assert 'work_dir' not in cfg


@FORMATS
def test_the_same_input_gives_the_same_bytes(
    trained: Path, left: Path, format: str, tmp_path: Path
) -> None:
    first, second = (publish(trained, tmp_path / name, config=left, format=format) for name in 'ab')
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert first.name == f'{CLS.stem}-{digest[:8]}.{format}'  # torch.hub's pattern of a hash
    assert not [path for path in (tmp_path / 'a').iterdir() if path.name.startswith('.')]


def test_no_other_file_is_overwritten(
    trained: Path, left: Path, published: Path, tmp_path: Path
) -> None:
    for name in (published.name, *(published.with_suffix(s).name for s in ('.md', '.py'))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text('of somebody else')
        with pytest.raises(ConfigError, match='other content'):
            publish(trained, folder, config=left)
        assert [path.read_text() for path in folder.iterdir()] == ['of somebody else']


def test_a_full_disk_names_the_folder_that_was_given(
    trained: Path, left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, 'write_bytes', no_room)
    with pytest.raises(WriteError) as error:
        publish(trained, tmp_path / 'out', config=left)
    assert str(error.value).startswith(f'{tmp_path}/out cannot be written: No space left on device')


def test_the_card_says_what_was_trained_and_how(published: Path) -> None:
    card = published.with_suffix('.md').read_text()
    for text in (
        f'# {published.stem}',
        '| HRNet | w18_small_v1 |',
        '64 x 64 (H x W)',
        '2 of 2 iterations',
        '2 images a device',
        'AdamW(',
        'LinearLR(',
        'CosineAnnealingLR(',
        'RandomResizedCrop(',
        hashlib.sha256(published.read_bytes()).hexdigest(),
        'Apache-2.0',
    ):
        assert text in card, text
    assert re.search(
        r'\n\| accuracy/top1 \| [\d.]+ \| step 2 \|\n\nMeasured on the drawn scenes', card
    )
    assert 'cannot be compared with published figures' in card
    assert '| data | the drawn scenes of `mmhrnet mini` (CustomDataset, meta/train.txt)' in card


def test_the_head_of_the_card_is_that_of_the_hub(published: Path) -> None:
    card = ModelCard.load(published.with_suffix('.md'))
    data = card.data.to_dict()
    assert {k: data[k] for k in ('license', 'library_name', 'pipeline_tag', 'tags')} == {
        'license': 'apache-2.0',
        'library_name': 'mmhrnet',
        'pipeline_tag': 'image-classification',
        'tags': ['hrnet', 'hrnet-w18_small_v1', 'mmpretrain'],
    }
    assert 'datasets' not in data  # nobody can download the drawn scenes there
    results = {result.metric_name: result for result in card.data.eval_results}
    result = results['Top 1 Accuracy']
    assert f'| accuracy/top1 | {result.metric_value:.4g} |' in card.text
    assert (result.task_type, result.dataset_type, result.metric_type) == (
        *('image-classification', 'mmhrnet-mini', 'accuracy'),
    )
    assert result.dataset_name.startswith('the drawn scenes of mmhrnet mini (CustomDataset')
    index = eval_results_to_model_index(CLS.stem, card.data.eval_results)
    assert index == data['model-index']
    assert model_index_to_eval_results(index) == (CLS.stem, card.data.eval_results)


@pytest.mark.parametrize(
    ('license', 'head'),
    [
        ('Apache-2.0', {'license': 'apache-2.0'}),
        ('GPL-3.0-or-later', {'license': 'gpl-3.0'}),
        ('Our own (v2)', {'license': 'other', 'license_name': 'our-own-v2'}),
    ],
)
def test_the_head_names_data_and_licences_as_the_hub_does(
    license: str, head: dict[str, str]
) -> None:
    cfg = apis.make_config(ROOT / 'configs/mmseg/fcn_hr18_4xb4-150k_ade20k-512x512.py')
    results = {'mIoU': (33.123456, 'step 9'), 'IoU/sky': (float('nan'), 'step 9')}
    facts = Facts(Path('fcn.py'), cfg, cfg, torch.nn.Identity(), {}, results, license)
    data = card_data(facts).to_dict()
    assert data.items() >= head.items()
    assert data['datasets'] == ['zhoubolei/scene_parse_150']
    (result,) = data['model-index'][0]['results']
    assert result['dataset']['type'] == 'zhoubolei/scene_parse_150'
    assert result['metrics'] == [{'type': 'mean_iou', 'value': 33.12, 'name': 'mIoU'}]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=('sky', 'sea'))
    data = card_data(facts).to_dict()
    assert 'datasets' not in data
    assert data['model-index'][0]['results'][0]['dataset']['type'] == 'ade20kdataset'
    assert 'model-index' not in card_data(replace(facts, trained=None)).to_dict()


def test_the_card_claims_nothing_of_other_data_and_longer_trainings(
    trained: Path, left: Path, tmp_path: Path
) -> None:
    content = checkpoints.load(trained)
    meta, root = content['meta'], Config.fromfile(left).val_dataloader.dataset.data_root
    text = meta['cfg'].replace(repr(root), "'my_images'")
    meta['cfg'] = re.sub('load_from = .*', "load_from = 'runs/first.pth'", text)
    loop = 'train_cfg = dict(by_epoch=True, max_epochs=12)'
    meta['cfg'] = re.sub(r'train_cfg = dict\(.*?\)', loop, meta['cfg'], flags=re.DOTALL)
    meta |= {'iter': 45, 'epoch': 3}
    torch.save(content, tmp_path / 'a.pth')
    metrics = {'accuracy/top1': 12.5}
    path = publish(tmp_path / 'a.pth', tmp_path / 'out', config=left, metrics=metrics)
    card = path.with_suffix('.md').read_text()
    assert '| accuracy/top1 | 12.5 |' in card
    assert not any(claim in card for claim in ('published', '72.3', 'drawn'))
    assert '| start | first.pth |' in card
    assert '| length | 45 iterations, 3 of 12 epochs |' in card


def test_code_of_the_card_runs(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / 'image.jpg'), np.zeros((64, 64, 3), np.uint8))
    card = published.with_suffix('.md').read_text()
    code = re.findall(r'```python\n(.*?)```', card, re.DOTALL)[-1]
    script = tmp_path / 'use.py'
    script.write_text(code.replace('image.jpg', str(tmp_path / 'image.jpg')))
    monkeypatch.chdir(published.parent)
    runpy.run_path(str(script))
    assert any(name in capsys.readouterr().out for name in ('meadow', 'beach', 'desert', 'room'))


def test_commands_of_the_card_name_the_files_beside_it(published: Path) -> None:
    card = published.with_suffix('.md').read_text()
    commands = re.findall(r'python tools/(train|test|demo)\.py (.*)', card)
    assert len(commands) == 3
    for tool, arguments in commands:
        args = make_parser(tool, f'{tool}.py')[0].parse_args(arguments.split())
        assert published.with_name(args.config or args.checkpoint).is_file()
        assert published.name in arguments


def test_metrics_of_the_user_take_the_place_of_the_logged_ones(
    trained: Path, left: Path, tmp_path: Path
) -> None:
    path = publish(trained, tmp_path, config=left, metrics={'accuracy/top1': 12.5})
    assert '| accuracy/top1 | 12.5 |  |\n' in path.with_suffix('.md').read_text()


def test_logged_metrics_are_those_of_the_checkpoint_itself(tmp_path: Path) -> None:
    log = tmp_path / '20260101/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    records = [
        {'step': 10, 'coco/AP': 0.5, 'coco/AR': 0.9},
        {'step': 20, 'coco/AP': 0.6, 'coco/AR': 0.8},
    ]
    log.write_text('\n'.join(map(json.dumps, [{'step': 20, 'loss': 1.0}, *records])))
    assert logged_metrics(tmp_path, {'iter': 20}) == {
        'coco/AP': (0.6, 'step 20'),
        'coco/AR': (0.8, 'step 20'),
    }
    best = {'coco/AP': (0.6, 'step 20'), 'coco/AR': (0.9, 'step 10')}
    assert logged_metrics(tmp_path, {'iter': 15}) == best


def test_descriptions_of_data_sets_come_back_from_safetensors(tmp_path: Path) -> None:
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    meta = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
    meta |= {'palette': [(1, 2, 3)], 'none': None, 'empty': np.zeros((0, 2)), 'one': np.int64(1)}
    content = {'state_dict': {'a': torch.ones(2)}, 'meta': {'dataset_meta': meta}}
    checkpoints.save(content, tmp_path / 'a.safetensors')
    found = checkpoints.load(tmp_path / 'a.safetensors')['meta']['dataset_meta']
    assert found.keys() == meta.keys()
    for key, value in meta.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            assert found[key].shape == value.shape
            assert np.array_equal(found[key], value), key
        else:
            assert found[key] == value, key
    assert all(type(a) is type(b) for a, b in zip(found['flip_pairs'], meta['flip_pairs']))
    assert isinstance(found['palette'][0], tuple)
    assert 0 in found['keypoint_id2name']


def test_safetensors_without_a_description_stay_plain_tensors(tmp_path: Path) -> None:
    checkpoints.save({'state_dict': {'a': torch.ones(2)}}, tmp_path / 'a.safetensors')
    assert list(checkpoints.load(tmp_path / 'a.safetensors')) == ['a']


def test_what_json_cannot_hold_is_named(tmp_path: Path) -> None:
    content = {'state_dict': {'a': torch.ones(2)}, 'meta': {'dataset_meta': {'x': {1, 2}}}}
    with pytest.raises(checkpoints.CheckpointError, match='cannot store a set'):
        checkpoints.save(content, tmp_path / 'a.safetensors')
    assert not list(tmp_path.iterdir())


def test_averaged_weights_are_taken_where_mmengine_saves_them() -> None:
    from mmengine.hooks import EMAHook

    model, averaged = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    hook = EMAHook()
    hook.src_model, hook.ema_model = model, ExponentialMovingAverage(averaged)
    content = {'state_dict': model.state_dict()}
    hook.before_save_checkpoint(Namespace(), content)
    assert torch.equal(choose_weights(content)['weight'], averaged.weight)
    assert torch.equal(choose_weights(content, raw=True)['weight'], model.weight)
    with pytest.raises(ConfigError, match='needs a checkpoint that EMAHook wrote'):
        choose_weights({'state_dict': {}}, raw=True)


def test_config_text_of_a_checkpoint_is_read_and_never_run(tmp_path: Path) -> None:
    given = Config(dict(a=1))
    ran = tmp_path / 'ran'
    text = f"b = __import__('os').mkdir({str(ran)!r})\n"
    assert trained_config({'cfg': text}, given) == (given, given.pretty_text)
    assert not ran.exists()
    text = (
        f"model = dict(\n    x={{'a-b': (1, None)}})\nwork_dir = 'w'\nroot = '{Path.home()}/data'\n"
    )
    cfg, public = trained_config({'cfg': text}, given)
    assert cfg.model.x == {'a-b': (1, None)}
    assert 'work_dir' not in public
    assert "root = '~/data'" in public


@pytest.mark.parametrize(
    ('name', 'tensor', 'message'),
    [
        ('head.fc.bias', torch.zeros(9), r'1 of another shape \(head.fc.bias \(9,\) not \(4,\)'),
        ('new.weight', torch.zeros(1), r'1 unknown to the config \(new.weight\)'),
        ('head.fc.bias', torch.full((4,), torch.nan), '1 of the tensors contain NaN.*head.fc.bias'),
    ],
)
def test_weights_that_do_not_fit_are_named(
    trained: Path, left: Path, name: str, tensor: torch.Tensor, message: str, tmp_path: Path
) -> None:
    content = checkpoints.load(trained)
    content['state_dict'][name] = tensor
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ConfigError, match=message):
        publish(tmp_path / 'a.pth', tmp_path / 'out', config=left)
    assert not (tmp_path / 'out').exists()


def test_another_config_is_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'number of classes 1000, not 4.*work folder'):
        publish(trained, tmp_path, config=CLS)


def test_weights_of_a_loop_of_ones_own_get_a_card_that_claims_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model('hrnet_w18_small_v1', num_classes=4).eval()
    torch.save(model.state_dict(), tmp_path / 'own.pth')
    head = {'model.head.num_classes': 4}
    path = publish(tmp_path / 'own.pth', tmp_path / 'out', config=CLS, cfg_options=head)
    card = path.with_suffix('.md').read_text()
    assert 'did not say how these weights were trained' in card
    assert not any(word in card for word in ('SGD', 'ImageNet', 'published', '72.3'))
    classifier = apis.Predictor(checkpoint=path)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        got = classifier.model.head((classifier.model.extract_feat(image)[-1],))
        assert torch.allclose(got, model(image), atol=1e-5)


def test_weights_under_other_names_are_recognised_aloud(
    tmp_path: Path, run_tool: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    state = create_model('hrnet_w18_small_v1', num_classes=4).state_dict()
    torch.save(checkpoints.convert(state, 'timm')[0], tmp_path / 'own.pth')
    options = ['--config', CLS, '--cfg-options', 'model.head.num_classes=4']
    run_tool('publish_model', tmp_path / 'own.pth', tmp_path / 'out', *options)
    assert 'Recognised as official or timm (ImageNet' in ''.join(capsys.readouterr())
