"""A whole model is tested like its checkpoint, with the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmpretrain.structures import DataSample

from mmhrnet import apis
from mmhrnet.deploy import load
from mmhrnet.deploy.evaluate import evaluate_file, predict
from mmhrnet.deploy.export import Shipped
from mmhrnet.deploy.from_config import export_config
from mmhrnet.deploy.whole import draw_images
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts

FEW = {'test_dataloader.dataset.indices': 8}


SLOW = [pytest.param(host, marks=pytest.mark.slow) for host in ('mmpose', 'mmseg')]


@pytest.mark.parametrize('host', [*SLOW, 'mmpretrain'])
def test_its_figures_are_those_of_the_checkpoint(
    host: str, whole_files: dict, untrained: Callable, tmp_path: Path
) -> None:
    config, checkpoint = untrained(host)
    options = dict(work_dir=str(tmp_path), cfg_options=FEW)
    found = evaluate_file(config, whole_files[host], show_dir=str(tmp_path / 'show'), **options)
    expected = apis.test(config, checkpoint, **options)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        [*found.values()], [*expected.values()], rtol=0, atol=1e-3, equal_nan=True
    )
    assert list((tmp_path / 'show').iterdir())


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['aligned', 'sliding'])
def test_its_figures_follow_the_segmentor(kind: str, segmentors: Callable, tmp_path: Path) -> None:
    file, config, checkpoint, options = segmentors(kind)
    edits = dict(work_dir=str(tmp_path), cfg_options={**FEW, **options})
    found = evaluate_file(config, file, **edits)
    expected = apis.test(config, checkpoint, **edits)
    np.testing.assert_allclose(
        [*found.values()], [*expected.values()], rtol=0, atol=1e-3, equal_nan=True
    )


def test_the_figures_of_the_checkpoint_are_printed_beside(
    untrained: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, checkpoint = untrained('mmpretrain')
    content = torch.load(checkpoint, weights_only=False)
    logged = {'val/accuracy/top1': [50.0, 41.25], 'val/time': [1.0, 1.0], 'train/loss': [3.0, 2.0]}
    content['message_hub'] = {
        'log_scalars': {key: HistoryBuffer(values, [1, 1]) for key, values in logged.items()}
    }
    files = {}
    for evaluated in (True, False):
        trained = tmp_path / f'{evaluated}.pth'
        torch.save({**content, 'evaluated': evaluated}, trained)
        files[evaluated] = tmp_path / f'{evaluated}.pt2'
        export_config(config, trained, out=files[evaluated], static=True)
    assert [load(file).metadata['figures'] for file in files.values()] == [
        {'accuracy/top1': 41.25},
        {},
    ]
    capsys.readouterr()
    evaluate_file(config, files[True], work_dir=str(tmp_path), cfg_options=FEW)
    out = capsys.readouterr().out
    assert 'checkpoint' in out
    assert '41.25' in out


def test_mistakes(
    whole_files: dict,
    untrained: Callable,
    tmp_path: Path,
    run_tool: Callable,
    capsys: pytest.CaptureFixture,
) -> None:
    pose, file = untrained('mmpose')[0], whole_files['mmpretrain']
    with pytest.raises(ConfigError, match=r'is for classification, the config for pose'):
        evaluate_file(pose, file, work_dir=str(tmp_path))
    other = {'test_dataloader.dataset.pipeline.2.input_size': (48, 64)}
    with pytest.raises(ConfigError, match=r'of \[128, 96\], the config makes them \[64, 48\]'):
        evaluate_file(pose, whole_files['mmpose'], work_dir=str(tmp_path), cfg_options=other)
    with pytest.raises(SystemExit):
        run_tool('test', file)
    assert 'Give the config before' in capsys.readouterr().err


def test_a_fixed_batch_is_filled_up(whole_files: dict, untrained: Callable) -> None:
    given = load(whole_files['mmpretrain'])
    sizes = []

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(tuple(images.shape))
        return list(given(images))

    shape = [4, 64, 64, 3]
    shipped = Shipped(run, {**given.metadata, 'shape': shape})
    whole = known_hosts()['mmpretrain'].whole
    assert whole is not None
    model = apis.Predictor(checkpoint=untrained('mmpretrain').checkpoint).model
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    data = dict(inputs=images, data_samples=[DataSample() for _ in images])
    samples = predict(whole, model, shipped, data)
    assert sizes == [tuple(shape)] * 2
    rgb = images.flip(1).permute(0, 2, 3, 1)
    found = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(found, given(rgb)[0])
    free = Shipped(
        lambda images: [images.float().mean((1, 2))], {**shipped.metadata, 'shape': 'free'}
    )
    mixed = {**data, 'inputs': [*images[:4], *images[4:, :, :32]]}
    alone = [sample.pred_score for sample in predict(whole, model, free, mixed)]
    expected = [image.flip(0).float().mean((1, 2)) for image in mixed['inputs']]
    torch.testing.assert_close(alone, expected)  # pictures of several sizes, one by one
    with pytest.raises(ConfigError, match=r'takes pictures of \[64, 64\], not \[32, 64\]'):
        predict(whole, model, shipped, {**data, 'inputs': images[:, :, :32]})


@pytest.mark.parametrize(
    'kind',
    [
        pytest.param('ExponentialMovingAverage', marks=pytest.mark.slow),
        'StochasticWeightAverage',
    ],
)
def test_a_file_of_averaged_weights_has_the_average(kind: str, tmp_path: Path) -> None:
    options = {
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 4,
        'val_dataloader.dataset.indices': 8,
        'default_hooks.checkpoint.interval': 2,
        'custom_hooks': [dict(type='EMAHook', ema_type=kind)],
    }
    edits = dict(mini=True, work_dir=str(tmp_path), cfg_options=options)
    apis.train('configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py', **edits)
    content = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    raw = {n.removeprefix('module.'): t for n, t in content['ema_state_dict'].items()}
    export_config(None, tmp_path / 'iter_2.pth', out=tmp_path / 'a.pt2', static=True)
    file, images = load(tmp_path / 'a.pt2'), draw_images(2, 64, 64)
    differences = []
    for state in (content['state_dict'], content['state_dict'] | raw):
        torch.save({**content, 'state_dict': state}, tmp_path / 'b.pth')
        model = apis.Predictor(checkpoint=tmp_path / 'b.pth', device='cpu').model
        data = model.data_preprocessor({'inputs': images.permute(0, 3, 1, 2).flip(1)})
        with torch.no_grad():
            expected = model(data['inputs']).softmax(1)
        differences.append((file(images)[0] - expected).abs().max())
    assert differences[0] < 1e-6
    assert differences[1] > 1e-5
