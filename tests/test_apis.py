"""Config edits, early errors, and whole short runs through the tools' own functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmhrnet import apis
from mmhrnet.config.check import check_data, check_weights
from mmhrnet.config.edit import use_train_split
from mmhrnet.deploy import load as deploy_load
from mmhrnet.deploy.from_config import export_config
from mmhrnet.training.curves import plot_curves
from mmhrnet.walk import datasets

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
W32 = CONFIGS / 'mmdet/faster_rcnn_hrnetv2p_w32.py'
RLE = 'td-reg_hrnet-w32_rle-8xb64-210e_coco-256x192'
WFLW = 'td-hm_hrnetv2-w18_1xb16-60e_wflw-256x256'

# The smallest network of the table, a few steps: what is tested is the run, not the result.
TINY = {
    'model.backbone.arch': 'w18_small_v1',
    'model.neck.in_channels': [16, 32, 64, 128],
    'model.neck.out_channels': 32,
    'model.rpn_head.in_channels': 32,
    'model.rpn_head.feat_channels': 32,
    'model.roi_head.bbox_roi_extractor.out_channels': 32,
    'model.roi_head.bbox_head.in_channels': 32,
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 4,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
    'randomness': dict(seed=0),
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('work dir')
    apis.train(W32, mini=True, work_dir=str(work_dir), cfg_options=TINY)
    return work_dir


def test_training_leaves_everything(trained: Path) -> None:
    (scalars,) = trained.glob('*/vis_data/scalars.json')
    losses = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [r['step'] for r in losses if 'loss' in r] == [1, 2, 3, 4]
    assert (trained / 'curves.png').stat().st_size > 10_000
    assert len(list((trained / 'predictions').glob('*.png'))) == 6
    assert list(trained.glob('best_*.pth'))
    assert list(trained.glob('*/*.log'))


def test_what_was_trained_is_exported(trained: Path, tmp_path: Path) -> None:
    (best,) = trained.glob('best_*.pth')
    out = tmp_path / 'model.pt2'
    options = dict(content='features', shape=(128, 160), static=True)
    export_config(trained / W32.name, best, out=out, **options)
    network = deploy_load(out)
    (first, *_) = network(torch.rand(2, 3, 128, 160))
    assert first.shape == (2, 32, 32, 40)
    assert network.metadata['std'] == [58.395, 57.12, 57.375]


def test_resume_goes_on_from_the_last_checkpoint(trained: Path, tmp_path: Path) -> None:
    (tmp_path / 'last_checkpoint').write_text((trained / 'last_checkpoint').read_text())
    options = {**TINY, 'train_cfg.max_iters': 6, 'train_cfg.val_interval': 100}
    apis.train(
        W32, mini=True, work_dir=str(tmp_path), resume='auto', no_validate=True, cfg_options=options
    )
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    steps = [json.loads(line)['step'] for line in scalars.read_text().splitlines()]
    assert steps == [5, 6]


def test_test_prints_the_table_and_draws(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (best,) = trained.glob('best_*.pth')
    left = trained / W32.name  # which says what --mini and the options made of it
    metrics = apis.test(left, best, work_dir=str(tmp_path), show_dir=str(tmp_path / 'show'))
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    printed = capsys.readouterr().out
    assert 'coco/bbox_mAP' in printed
    assert 'other data (60 images, not 5000)' in printed
    assert 'published' not in printed  # those of COCO say nothing of these data
    assert len(list((tmp_path / 'show').glob('*.png'))) == 6


def test_a_test_leaves_the_config_of_a_resumed_training_as_it_is(trained: Path) -> None:
    (best,) = trained.glob('best_*.pth')
    left = trained / W32.name
    before = left.read_bytes()
    options = {'resume': True, 'test_dataloader.dataset.indices': 2}
    assert apis.test(left, best, split='train', work_dir=str(trained), cfg_options=options)
    assert left.read_bytes() == before


def test_data_root_reaches_every_dataset_and_evaluator(tmp_path: Path) -> None:
    cfg = apis.make_config(W32, data_root=str(tmp_path))
    assert {d.data_root for d in datasets(cfg)} == {str(tmp_path)}
    expected = f'{tmp_path}/annotations/instances_val2017.json'
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == expected


def test_data_root_inside_wrappers(tmp_path: Path) -> None:
    inner = dict(type='CocoDataset', data_root='data/coco/', ann_file='a.json')
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='Cat', datasets=[inner]))
    cfg = Config(dict(train_dataloader=dict(dataset=wrapped)))
    apis.use_data_root(cfg, tmp_path)
    assert cfg.train_dataloader.dataset.dataset.datasets[0].data_root == str(tmp_path)


def test_from_scratch() -> None:
    cfg = apis.make_config(W32, from_scratch=True)
    assert 'init_cfg' not in cfg.model.backbone
    assert cfg.model.backbone.norm_eval is False
    check_weights(cfg)


def test_options_of_the_user_win_over_mini() -> None:
    cfg = apis.make_config(W32, mini=True, cfg_options={'train_cfg.max_iters': 7})
    assert cfg.train_cfg.max_iters == 7
    assert cfg.model.roi_head.bbox_head.num_classes == 5


def test_missing_data_says_what_where_and_the_ways_out(tmp_path: Path) -> None:
    cfg = apis.make_config(W32, data_root=str(tmp_path))
    (tmp_path / 'val2017').mkdir()
    with pytest.raises(apis.ConfigError) as info:
        check_data(cfg)
    message = str(info.value)
    assert f'{tmp_path}/annotations/instances_train2017.json' in message
    assert f'{tmp_path}/train2017' in message
    assert f'{tmp_path}/val2017' not in message.splitlines()
    for way in ('--data-root', '--mini', 'put the data set'):
        assert way in message


@pytest.mark.parametrize('checkpoint', ['missing.pth', 'http://127.0.0.1:9/w32.pth'])
def test_missing_weights_say_the_ways_out(checkpoint: str) -> None:
    cfg = apis.make_config(W32, cfg_options={'model.backbone.init_cfg.checkpoint': checkpoint})
    with pytest.raises(apis.ConfigError) as info:
        check_weights(cfg)
    for word in (checkpoint, '--from-scratch', 'init_cfg.checkpoint=PATH'):
        assert word in str(info.value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("default_scope = 'mmocr'\nmodel = dict()\n", 'is of mmocr, which is not a known host'),
        (f"_base_ = '{CONFIGS}/mmpose/{RLE}.py'\n", 'CocoDataset with RegressionLabel'),
        (f"_base_ = '{CONFIGS}/mmpose/{WFLW}.py'\n", 'WFLWDataset with MSRAHeatmap'),
    ],
)
def test_mini_refuses_what_it_cannot_shrink(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(apis.ConfigError, match=message):
        apis.make_config(path, mini=True)


def test_mini_takes_other_keypoints_from_their_own_data(tmp_path: Path) -> None:
    path = CONFIGS / f'mmpose/{WFLW}.py'
    cfg = apis.make_config(path, mini=True, data_root=str(tmp_path))
    assert cfg.train_dataloader.dataset.type == 'WFLWDataset'
    assert cfg.model.head.decoder.input_size == (96, 128)


SMALL = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 2}
TASKS = {
    'mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192': 'coco/AP',
    'mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024': 'mIoU',
    'mmpretrain/hrnet-w18-small-v1_4xb64_in1k': 'accuracy/top1',
    'mmdet/mask-rcnn_hrnetv2p-w18-1x_coco': 'coco/segm_mAP',
}


MINUTE = 'mmdet/mask-rcnn_hrnetv2p-w18-1x_coco'  # the other detector above is trained always


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=[pytest.mark.slow] if n == MINUTE else []) for n in TASKS]
)
def test_every_task_trains_tests_and_draws(name: str, tmp_path: Path) -> None:
    """Two iterations on the embedded set, then the whole of what a run leaves and tests."""
    work_dir, config = tmp_path / 'run', CONFIGS / f'{name}.py'
    apis.train(config, mini=True, work_dir=str(work_dir), cfg_options=SMALL)
    (best,) = work_dir.glob('best_*.pth')
    assert (work_dir / 'curves.png').stat().st_size > 10_000
    assert len(list((work_dir / 'predictions').glob('*.png'))) == 6
    options = {'test_dataloader.dataset.indices': 8}
    metrics = apis.test(
        work_dir / config.name,
        best,
        split='train',
        work_dir=str(tmp_path / 'test'),
        cfg_options=options,
    )
    assert TASKS[name] in metrics


def test_train_split_reaches_data_and_evaluator(tmp_path: Path) -> None:
    cfg = apis.make_config(W32, data_root=str(tmp_path))
    use_train_split(cfg)
    assert cfg.test_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
    assert cfg.test_dataloader.dataset.data_prefix.img == 'train2017/'
    assert cfg.test_dataloader.dataset.test_mode
    assert cfg.test_evaluator.ann_file == f'{tmp_path}/annotations/instances_train2017.json'
    assert cfg.val_dataloader.dataset.ann_file == 'annotations/instances_val2017.json'


def test_mini_on_other_data_keeps_their_classes(tmp_path: Path) -> None:
    for folder in ('train/cat', 'train/dog', 'val/cat'):
        (tmp_path / folder).mkdir(parents=True)
    cfg = apis.make_config(
        CONFIGS / 'mmpretrain/hrnet-w18_4xb64_in1k.py', mini=True, data_root=str(tmp_path)
    )
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 2
    mask_rcnn = CONFIGS / 'mmdet/mask-rcnn_hrnetv2p-w18-1x_coco.py'
    cfg = apis.make_config(mask_rcnn, mini=True, data_root=str(tmp_path))
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert steps[steps.index('Resize') + 1] == 'FilterAnnotations'
    assert 'RandomFlip' not in steps
    assert cfg.model.roi_head.mask_head.class_agnostic
    cfg = apis.make_config(W32, mini=True, data_root=str(tmp_path))
    assert cfg.model.roi_head.bbox_head.num_classes == 80
    assert cfg.param_scheduler[1].end == cfg.train_cfg.max_iters == 360


def test_missing_person_detections_name_the_way_out(tmp_path: Path) -> None:
    path = CONFIGS / 'mmpose/td-hm_hrnet-w32_4xb32-210e_coco-256x192.py'
    with pytest.raises(apis.ConfigError, match=r'val_dataloader\.dataset\.bbox_file=None'):
        check_data(apis.make_config(path, data_root=str(tmp_path)))


def test_norm_eval_without_weights_stops_before_the_first_iteration(tmp_path: Path) -> None:
    options = {**TINY, 'model.backbone.norm_eval': True}
    with pytest.raises(ValueError, match='--from-scratch'):
        apis.train(W32, mini=True, work_dir=str(tmp_path), cfg_options=options)


def test_curves_without_validation_are_one_picture(tmp_path: Path) -> None:
    losses = [{'step': step, 'loss': 1 / step} for step in (1, 2, 3)]
    metrics = [{'step': 3, 'coco/AP': 0.5}]
    narrow, wide = (
        Image.open(plot_curves(scalars, tmp_path / f'{len(scalars)}.png'))
        for scalars in (losses, losses + metrics)
    )
    assert wide.width == 2 * narrow.width
    assert wide.height == narrow.height
