"""A checkpoint knows its config: it is taken where none is given, and compared where one is."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import MINI
from mmengine.config import Config

from mmhrnet import apis, checkpoints
from mmhrnet.checkpoints import CheckpointError, config_of
from mmhrnet.config.build import input_size
from mmhrnet.config.stored import check_match, make_config_for
from mmhrnet.datasets.images import read_image
from mmhrnet.deploy.export import load
from mmhrnet.errors import ConfigError
from mmhrnet.zoo.publish import publish

ROOT = Path(__file__).resolve().parents[1]
HOSTS = pytest.mark.parametrize('host', list(MINI))
LARGE = ('mmdet', 'mmseg')  # their trainings take half a minute
TRAINED = pytest.mark.parametrize(
    'host', [pytest.param(h, marks=[pytest.mark.slow] if h in LARGE else []) for h in MINI]
)
SIZES = {'mmdet': (96, 128), 'mmpose': (128, 96), 'mmseg': (128, 256), 'mmpretrain': (64, 64)}
SHORT = {
    'train_cfg.max_iters': 1,
    'train_dataloader.batch_size': 2,
    'test_dataloader.dataset.indices': 4,
}


class Run(NamedTuple):
    """What a training leaves, and the config that it began with."""

    plain: Path
    left: Path
    checkpoint: Path


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    @cache
    def run(host: str) -> Run:
        plain, folder = ROOT / f'configs/{MINI[host]}.py', tmp_path_factory.mktemp(host)
        options = dict(mini=True, no_validate=True, work_dir=str(folder), cfg_options=SHORT)
        apis.train(plain, **options)
        return Run(plain, folder / plain.name, folder / 'iter_1.pth')

    return run


@TRAINED
def test_a_checkpoint_suffices(
    host: str, trained: Callable[[str], Run], scene: Path, tmp_path: Path
) -> None:
    run, image = trained(host), read_image(scene)
    alone, both = apis.Predictor(checkpoint=run.checkpoint), apis.Predictor(*run[1:])
    assert alone(image).found == both(image).found
    assert (alone.classes, Path(alone.cfg.filename).name) == (both.classes, run.left.name)
    options = dict(work_dir=str(tmp_path / 'test'))
    assert apis.test(run.checkpoint, **options) == apis.test(*run[1:], **options)


@TRAINED
def test_sizes_are_those_of_the_training(
    host: str, trained: Callable[[str], Run], tmp_path: Path
) -> None:
    run, (height, width) = trained(host), SIZES[host]
    for given in (run.checkpoint, run.left):
        assert input_size(make_config_for(given, None)[0]) == (height, width)
    card = publish(run.checkpoint, tmp_path).with_suffix('.md').read_text()
    assert f'| input | {height} x {width} (H x W) |' in card
    assert f'| config | `{run.left.name}` |' in card


def test_a_static_file_has_the_size_of_the_training(
    trained: Callable[[str], Run], run_tool: Callable[..., None], tmp_path: Path
) -> None:
    run, out = trained('mmpose'), tmp_path / 'a.pt2'
    run_tool('export', run.checkpoint, '--static', '--batch', 1, '--out', out)
    metadata = load(out).metadata
    assert (metadata['shape'], metadata['config']) == ([1, 128, 96, 3], run.left.stem)


@TRAINED
def test_a_config_that_is_not_the_one_of_the_training_is_refused(
    host: str, trained: Callable[[str], Run], tmp_path: Path
) -> None:
    run = trained(host)
    message = {
        'mmdet': 'number of classes 80, not 5; input size 800 x 1333, not 96 x 128',
        'mmpose': 'input size 256 x 192, not 128 x 96; heatmaps 64 x 48, not 32 x 24',
        'mmseg': 'number of classes 19, not 11; input size 512 x 1024, not 128 x 256',
        'mmpretrain': 'number of classes 1000, not 4; input size 224 x 224, not 64 x 64',
    }[host]
    with pytest.raises(ConfigError, match=rf'iter_1\.pth: {message}\. Leave the config out'):
        apis.Predictor(run.plain, run.checkpoint)


def test_every_command_takes_a_checkpoint_alone(
    trained: Callable[[str], Run],
    scene: Path,
    run_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = trained('mmpose')
    run_tool('demo', scene, '--checkpoint', run.checkpoint)
    assert (tmp_path / f'work_dirs/demo/{scene.stem}.json').is_file()
    run_tool('visualize_streams', scene, '--checkpoint', run.checkpoint)
    assert (tmp_path / 'work_dirs/streams.png').is_file()
    run_tool('get_flops', run.checkpoint)
    assert '128x96' in capsys.readouterr().out
    run_tool('benchmark_zoo', run.checkpoint)
    (row, *_) = json.loads(Path('work_dirs/benchmark_zoo/results.json').read_text())['rows']
    assert row['config'] == run.left.stem
    run_tool('test', run.left, '--work-dir', 'a', run.checkpoint)  # an option between the two
    assert list(tmp_path.glob('a/*/*.log'))


def test_a_checkpoint_without_a_config_says_so(
    untrained: Callable[[str], Any], tmp_path: Path
) -> None:
    config, whole = untrained('mmpose')
    content, checkpoint = checkpoints.load(whole), tmp_path / 'a.pth'
    del content['meta']['cfg']
    checkpoints.save(content, checkpoint)
    with pytest.raises(ConfigError, match=r'\.pth: The checkpoint contains no config: give the'):
        apis.Predictor(checkpoint=checkpoint)
    apis.Predictor(config, checkpoint)  # nothing to compare with


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        ((None, None), 'There is no config: give one, or a checkpoint'),
        (('no.pth', None), 'There is no checkpoint no.pth'),
        ((None, 'http://127.0.0.1:9/a.pth'), 'a.pth cannot be fetched'),
    ],
)
def test_what_has_no_config_is_said(given: tuple[str | None, str | None], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_config_for(*given)


def test_a_test_needs_a_checkpoint() -> None:
    with pytest.raises(ConfigError, match='There is no checkpoint: give one after'):
        apis.test('x.py')


def configs(host: str) -> tuple[Config, Config]:
    """Of the same run."""
    cfg = apis.make_config(ROOT / f'configs/{MINI[host]}.py')
    return cfg, Config.fromstring(cfg.pretty_text, '.py')


def match(cfg: Config, trained: Config, options: dict[str, object] | None = None) -> None:
    check_match(cfg, {'meta': {'cfg': trained.pretty_text}}, 'a.pth', options)


@HOSTS
def test_what_does_not_decide_the_predictions_may_differ(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    cfg, trained = configs(host)
    trained.merge_from_dict(
        {
            'train_dataloader.batch_size': 1,
            'test_dataloader.dataset.data_root': 'elsewhere',
            'model.test_cfg.nms': 0.1,
            'model.auxiliary_head': dict(type='FCNHead', num_classes=7),
            'model.backbone.type': 'HRNet',
            'optim_wrapper': dict(type='Other'),
        }
    )
    match(cfg, trained)
    trained.default_scope = None  # as in older texts
    match(cfg, trained)
    check_match(cfg, {'meta': {'cfg': "model = dict(type='TopDown')"}}, 'a.pth')
    check_match(cfg, {'meta': {'cfg': 'model = build()'}}, 'a.pth')
    assert not caplog.records


@pytest.mark.parametrize(
    ('host', 'changed', 'says'),
    [
        ('mmdet', {'model.rpn_head.type': 'GARPNHead'}, 'head .*RPNHead.*, not .*GARPNHead'),
        ('mmpose', {'model.head.out_channels': 98}, 'number of joints 17, not 98'),
        ('mmpose', {'model.head.decoder.type': 'UDPHeatmap'}, 'codec MSRAHeatmap, not UDPHeatmap'),
        ('mmseg', {'model.decode_head.type': 'OCRHead'}, 'head FCNHead, not OCRHead'),
        ('mmpretrain', {'default_scope': 'mmdet'}, r'pth: host library mmpretrain, not mmdet\. L'),
    ],
)
def test_what_decides_the_predictions_may_not(
    host: str, changed: dict[str, object], says: str
) -> None:
    cfg, trained = configs(host)
    trained.merge_from_dict(changed)
    with pytest.raises(ConfigError, match=says):
        match(cfg, trained)


@pytest.mark.parametrize(
    ('host', 'option'),
    [
        ('mmdet', {'test_dataloader.dataset.pipeline.1.scale': (640, 480)}),
        ('mmseg', {'train_dataloader.dataset.pipeline.3.crop_size': (256, 256)}),
        ('mmpretrain', {'test_dataloader.dataset.pipeline.2.crop_size': 288}),
    ],
)
def test_another_size_is_a_warning_where_it_may_be_right(
    host: str, option: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    cfg, trained = configs(host)
    cfg.merge_from_dict(option)
    match(cfg, trained, option)
    assert 'input size' in caplog.records[0].getMessage()
    if host == 'mmpretrain':  # nobody asked for it
        with pytest.raises(ConfigError, match='input size 288 x 288, not 224 x 224'):
            match(cfg, trained)


def test_own_pipelines_say_the_size() -> None:
    own = {
        'mmdet': ({'test_dataloader.dataset.pipeline.1.scale': (256, 192)}, (192, 256)),
        'mmpretrain': ({'test_dataloader.dataset.pipeline.2.crop_size': 288}, (288, 288)),
        'mmseg': ({'train_dataloader.dataset.pipeline.3.crop_size': (96, 160)}, (96, 160)),
        'mmpose': ({'test_dataloader.dataset.pipeline.2.input_size': (288, 384)}, (384, 288)),
    }
    for host, (options, size) in own.items():
        cfg, _ = configs(host)
        cfg.merge_from_dict(options)
        assert input_size(cfg) == size, host


def with_data(**dataset: Any) -> dict[str, Any]:
    loader = dict(dataset=dict(type='CocoDataset', pipeline=[dict(type='Resize')]) | dataset)
    cfg = dict(default_scope='mmdet', model=dict(type='Conv2d'), test_dataloader=loader)
    return {'meta': {'cfg': Config(cfg).pretty_text}}


@pytest.mark.parametrize(
    'dataset',
    [
        dict(ann_file='x.pkl'),
        dict(ann_file='x.yml'),
        dict(ann_file='https://elsewhere/x.json'),
        dict(data_prefix=dict(img='s3://elsewhere')),
        dict(metainfo=dict(from_file='x.py')),
        dict(metainfo=dict(classes='names.txt')),
        dict(filter_cfg=dict(type='subprocess.Popen')),
    ],
)
def test_data_sets_of_a_checkpoint_open_nothing_that_runs(dataset: dict[str, Any]) -> None:
    import mmdet.registry  # noqa: F401 (the library whose types are looked up)

    with pytest.raises(CheckpointError, match='or give the config of the training'):
        config_of(with_data(**dataset), with_data=True)
    place = dict(ann_file='a/b-1.json', data_root='~/x', metainfo=dict(classes=['a/b', "it's"]))
    found = config_of(with_data(**place), with_data=True)['test_dataloader']
    assert isinstance(found, dict)
    assert found['dataset'].items() >= place.items()


def test_only_data_sets_that_are_checked_are_opened(tmp_path: Path) -> None:
    import mmdet.registry  # noqa: F401

    path = tmp_path / 'a.pth'
    content = with_data(type='LVISV1Dataset', ann_file='a.json')
    checkpoints.save({'state_dict': {}, **content}, path)
    with pytest.raises(ConfigError, match='on data of the type LVISV1Dataset, which are not op'):
        make_config_for(path, None, with_data=True)
