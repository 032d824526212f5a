"""What is measured beside what is published: verdicts, failures, files, and one real evaluation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmhrnet import apis
from mmhrnet.hub.published import (
    VALIDATION_IMAGES,
    Evaluation,
    ZooRow,
    compare_to_published,
    metafile_models,
)
from mmhrnet.zoo import evaluate as zoo
from mmhrnet.zoo.evaluate import Entry, benchmark_zoo, read_entries

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
MASK = 'mask-rcnn_hrnetv2p-w18-1x_coco'  # published: box AP 37.7, mask AP 34.2
POSE = 'td-hm_hrnet-w32_4xb32-210e_coco-256x192'  # AP 0.746
WFLW = 'td-hm_hrnetv2-w18_1xb16-60e_wflw-256x256'  # NME 4.06
MPII = 'td-hm_hrnet-w32_4xb32-210e_mpii-256x256'  # PCKh 0.9
TINY_CLS = CONFIGS / 'mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'


def compare(config: str, images: int, same_data: bool = True, **metrics: float) -> list[ZooRow]:
    evaluation = Evaluation(metrics, images, 'mmdet')
    return compare_to_published(config, evaluation, same_data=same_data, tolerance=0.2)


@pytest.mark.parametrize(
    ('config', 'metric', 'value', 'images', 'difference', 'verdict'),
    [
        (MASK, 'coco/bbox_mAP', 0.379, 5000, 0.2, 'within 0.2'),
        (MASK, 'coco/bbox_mAP', 0.375, 5000, -0.2, 'within 0.2'),
        (MASK, 'coco/bbox_mAP', 0.380, 5000, 0.3, 'above (better)'),
        (MASK, 'coco/segm_mAP', 0.300, 5000, -4.2, 'below (worse)'),
        (POSE, 'coco/AP', 0.7449, 5000, -0.11, 'within 0.2'),
        (POSE, 'coco/AP', 0.740, 5000, -0.6, 'below (worse)'),
        (MPII, 'PCK', 90.15, 2729, 0.15, 'within 0.2'),
        (WFLW, 'NME', 0.0450, 2500, 0.44, 'above (worse)'),
        (WFLW, 'NME', 0.0380, 2500, -0.26, 'below (better)'),
        (MASK, 'coco/bbox_mAP', 0.377, 75, 0, 'other data (75 images, not 5000)'),
    ],
)
def test_verdicts_are_in_per_cent_points(
    config: str, metric: str, value: float, images: int, difference: float, verdict: str
) -> None:
    (row,) = compare(config, images, **{metric: value})
    assert row.difference == difference
    assert row.verdict == verdict


def test_other_data_are_told_even_where_the_number_is_right_or_unknown() -> None:
    (full,) = compare(MASK, 5000, same_data=False, **{'coco/bbox_mAP': 0.377})
    assert full.verdict == 'other data (5000 images)'
    (unknown,) = compare(MPII, 7, same_data=False, PCK=90)
    assert unknown.verdict == 'other data (7 images)'


def test_only_what_is_published_is_judged() -> None:
    metrics = {'coco/bbox_mAP': 0.1, 'coco/bbox_mAP_50': 0.2}
    (row,) = compare('my-detector', 75, **metrics)
    assert (row.task, row.metric, row.measured) == ('Object Detection', 'box AP', 10.0)
    assert row.verdict == 'no published figure'
    (row,) = compare('my-detector', 75, Dice=0.5)
    assert (row.metric, row.measured) == ('Dice', 0.5)


def test_sizes_are_of_data_sets_that_the_metafiles_name() -> None:
    names = {r['Dataset'] for model in metafile_models() for r in model.get('Results', ())}
    assert names >= set(VALIDATION_IMAGES)


def test_what_fails_is_a_row_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    finished = []

    def evaluate(entry: Entry, split: str, work_dir: Path) -> Evaluation:
        if entry.checkpoint == 'bug':
            raise KeyError('img_path')
        if entry.checkpoint == 'missing':
            raise apis.ConfigError('There is no checkpoint | here\nat all\nhints')
        if finished:  # of the second entry, the files of the first are complete
            finished.append(json.loads((tmp_path / 'results.json').read_text())['rows'])
        finished.append(entry)
        return Evaluation({'coco/bbox_mAP': 0.3771}, 5000, 'mmdet')

    monkeypatch.setattr(zoo, 'evaluate', evaluate)
    entries = [Entry(f'x/{MASK}.py', name) for name in ('good', 'missing', 'bug', 'good')]
    rows = benchmark_zoo(entries, out=tmp_path)
    assert [row.error for row in rows] == [
        '',
        'There is no checkpoint | here at all',
        "KeyError: 'img_path'",
        '',
    ]
    assert [row['verdict'] for row in finished[1]] == ['within 0.2', '', '']
    assert 'KeyError' in capsys.readouterr().err  # a bug keeps its traceback
    markdown = (tmp_path / 'results.md').read_text()
    assert (
        f'| {MASK} | Object Detection | box AP | 37.71 | 37.70 | +0.01 | within 0.2 |' in markdown
    )
    assert 'failed: There is no checkpoint \\| here at all |' in markdown
    assert sorted(path.name for path in tmp_path.iterdir()) == ['results.json', 'results.md']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is not a list'),
        ('config: a.py', 'is not a list'),
        ('- [', 'cannot be read'),
        ('- checkpoint: a.pth', 'entry 1, names no config'),
        ('- config: a.py\n- {config: b.py, checkpont: c.pth}', 'entry 2: checkpont is unknown'),
    ],
)
def test_a_bad_list_is_told_before_anything_runs(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / 'list.yml'
    path.write_text(text)
    with pytest.raises(apis.ConfigError, match=message):
        read_entries(path)
    with pytest.raises(apis.ConfigError, match='cannot be read'):
        read_entries(tmp_path / 'missing.yml')


def test_flags_hold_for_entries_that_do_not_say_otherwise(
    tmp_path: Path, run_tool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def evaluate(entry: Entry, split: str, work_dir: Path) -> Evaluation:
        seen.append((entry, split))
        return Evaluation({'mIoU': 80.0}, 500, 'mmseg')

    monkeypatch.setattr(zoo, 'evaluate', evaluate)
    path = tmp_path / 'list.yml'
    path.write_text('- config: a.py\n- {config: b.py, checkpoint: b.pth, data_root: there}\n')
    flags = ('--data-root', 'here', '--split', 'train', '--out', tmp_path)
    run_tool('benchmark_zoo', '--list', path, *flags)
    assert seen == [
        (Entry('a.py', data_root='here'), 'train'),
        (Entry('b.py', 'b.pth', 'there'), 'train'),
    ]


@pytest.mark.parametrize('arguments', [(), ('a.py', '--list', 'list.yml')])
def test_either_a_config_or_a_list(
    arguments: tuple[str, ...], run_tool: Callable, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run_tool('benchmark_zoo', *arguments)
    assert 'either CONFIG [CHECKPOINT] or --list' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('no.py',), 'There is no config no.py'),
        ((TINY_CLS,), 'No weights are published for hrnet-w18-small-v1'),
        ((CONFIGS / f'mmdet/{MASK}.py',), 'The data set was not found'),
    ],
)
def test_the_reason_of_a_failure_is_the_last_line(
    arguments: tuple,
    message: str,
    tmp_path: Path,
    run_tool: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r'^2$'):
        run_tool('benchmark_zoo', *arguments)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f'benchmark_zoo.py: .*: {message}', last)


def test_an_evaluation_end_to_end(
    untrained: Callable, tmp_path: Path, run_tool: Callable, capsys: pytest.CaptureFixture
) -> None:
    config, whole = untrained('mmpretrain')
    state, part = torch.load(whole)['state_dict'], tmp_path / 'part.pth'
    torch.save({'state_dict': {k: v for k, v in state.items() if 'head' not in k}}, part)
    path = tmp_path / 'list.yml'
    path.write_text(''.join(f'- {{config: {config}, checkpoint: {p}}}\n' for p in (part, whole)))
    with pytest.raises(SystemExit, match=r'^2$'):
        run_tool('benchmark_zoo', '--list', path, '--out', tmp_path / 'out')
    failed, row = json.loads((tmp_path / 'out/results.json').read_text())['rows']
    assert 'leave parts of this model random: head.fc' in failed['error']
    assert (row['task'], row['metric']) == ('Image Classification', 'Top 1 Accuracy')
    assert 0 <= row['measured'] <= 100
    assert row['published'] == 72.3
    assert row['verdict'] == 'other data (60 images, not 50000)'
    assert 'Top 1' in capsys.readouterr().out


def test_a_detector_that_finds_nothing_has_a_row_of_0(
    untrained: Callable, tmp_path: Path, run_tool: Callable, capfd: pytest.CaptureFixture
) -> None:
    options = ('model.test_cfg.rcnn.score_thr=1.5', 'test_dataloader.dataset.indices=2')
    shared = ('--out', tmp_path, '--cfg-options', *options)
    run_tool('benchmark_zoo', *untrained('mmdet'), *shared)
    rows = json.loads((tmp_path / 'results.json').read_text())['rows']
    assert [(row['metric'], row['measured']) for row in rows] == [('box AP', 0), ('mask AP', 0)]
    assert 'Nothing was detected in any image' in ''.join(capfd.readouterr())


def test_an_evaluation_without_a_metric_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, 'build_test_runner', lambda **_: SimpleNamespace(test=dict))
    (row,) = benchmark_zoo([Entry('format_only.py')], out=tmp_path)
    assert 'The evaluator returned no metric' in row.error
