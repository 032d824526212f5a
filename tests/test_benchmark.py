"""The benchmark compares like with like and writes what it measured. No speed is tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from mmhrnet import apis
from mmhrnet.benchmark import benchmark, benchmark_whole
from mmhrnet.benchmark.latencies import Latencies
from mmhrnet.benchmark.measure import Machine, Timing, interleaved, peak_memory
from mmhrnet.benchmark.report import Row, write_report
from mmhrnet.deploy import Rewrites
from mmhrnet.deploy.from_config import export_config
from mmhrnet.errors import ConfigError
from mmhrnet.runtime import Model
from mmhrnet.zoo.results import read_results

EXTRA = {
    f'stage{i}': dict(
        num_modules=1,
        num_branches=i,
        block='BASIC' if i > 1 else 'BOTTLENECK',
        num_blocks=(1,) * i,
        num_channels=(8, 16, 32, 64)[:i],
    )
    for i in (1, 2, 3, 4)
}
SMALL = dict(arch='w18_small_v2', shapes=[(64, 64)], device='cpu', rounds=1)
THEIRS = {'pose': 'mmpose', 'cls': 'mmpretrain', 'seg': 'mmseg', 'seg-neck': 'mmseg'}
THEIRS |= {'det': 'mmdet', 'det-neck': 'mmdet'}
# tests/test_parity.py compares the networks; here, that each gets the same weights and input.
CASES = [pytest.param(c, marks=[] if c == 'pose' else pytest.mark.slow) for c in THEIRS]


@pytest.mark.parametrize('case', CASES)
def test_networks_are_the_same(case: str, tmp_path: Path) -> None:
    rows = benchmark(case, forms=['eager', 'deploy'], out=tmp_path, **SMALL)
    names = [row.name for row in rows]
    theirs = [f'{THEIRS[case]} eager', *(['timm eager'] if case == 'cls' else [])]
    assert names == [*theirs, 'mmhrnet eager', 'mmhrnet deploy']
    assert all(row.difference < 1e-5 for row in rows)
    assert all(row.timing.median > 0 and row.memory is not None for row in rows)
    assert rows[0].ratio == 1


@pytest.mark.slow
def test_every_rewrite_is_turned_once(tmp_path: Path) -> None:
    rows = benchmark('det', rewrites=True, out=tmp_path, **SMALL)
    names = {row.name for row in rows if row.name.startswith('mmhrnet with')}
    assert len(names) == len(fields(Rewrites))
    assert {'mmhrnet without fold_norms', 'mmhrnet with convolved_pooling'} < names
    assert all(row.difference < 1e-5 for row in rows)


def test_training_steps_see_the_same_weights(tmp_path: Path) -> None:
    small = SMALL | dict(arch='w18_small_v1')
    rows = benchmark('pose', train=True, forms=['eager', 'channels_last'], out=tmp_path, **small)
    assert len(rows) == 4
    assert all(row.difference < 1e-3 for row in rows)


@pytest.mark.slow
def test_whole_detectors_lose_the_same(tmp_path: Path) -> None:
    small = SMALL | dict(arch='w18')
    rows = benchmark('faster-rcnn', forms=['eager'], out=tmp_path, **small)
    assert [row.name for row in rows] == ['mmdet eager', 'mmhrnet eager']
    assert rows[1].difference < 1e-4


def test_files_hold_every_row(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = benchmark('pose', batches=[1, 2], forms=['eager'], out=tmp_path, **SMALL)
    stem = 'pose_w18_small_v2_inference_cpu_fp32'
    content = json.loads((tmp_path / f'{stem}.json').read_text())
    assert [row['name'] for row in content['rows']] == [row.name for row in rows]
    assert {row['batch'] for row in content['rows']} == {1, 2}
    assert content['machine']['macs_per_second'] > 1e9
    text = (tmp_path / f'{stem}.md').read_text()
    assert text.count('| mmpose eager |') == 2
    assert '## 2 x 64x64: 3.62 M parameters, 0.26 GMAC' in text
    assert (tmp_path / f'{stem}.png').read_bytes().startswith(b'\x89PNG')
    assert f'{stem}.md' in capsys.readouterr().out


def test_picture_of_one_workload(tmp_path: Path) -> None:
    rows = [
        Row(name, '', Timing(t, t, t), 2 / t, None, None, 0.0, (64, 64), 1, 10**9)
        for name, t in (('mmpose eager', 2.0), ('mmhrnet deploy', 1.0))
    ]
    machine = Machine('d', 1, 1, 's', 'p', 't', 'c', 'float32', 2e9, 1e9)
    files = write_report(rows, machine, 'title', tmp_path, 'name')
    assert [file.name for file in files] == ['name.md', 'name.json', 'name.png']
    row = '| mmhrnet deploy | 1000.0 (1000.0 to 1000.0) | 1.0 | 2.00 | 50% |'
    assert row in files[0].read_text()


def test_everybody_is_timed_in_turn() -> None:
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) for name in 'ab'}
    timings = interleaved(runs, 3, 'cpu')
    kept = [name for i, name in enumerate(calls) if i == 0 or name != calls[i - 1]]
    assert kept == ['a', 'b'] * 4  # the warm-up and three rounds
    assert all(t.low <= t.median <= t.high for t in timings.values())


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='Linux counts the peak')
def test_peak_memory_is_what_a_call_takes() -> None:
    def take() -> None:
        torch.ones(64 << 20, dtype=torch.uint8)

    assert 60 << 20 < peak_memory(take, 'cpu') < 80 << 20
    assert peak_memory(lambda: None, 'cpu') < 8 << 20


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='no form deploy: use eager'):
        benchmark('pose', train=True, forms=['deploy'], out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_tool(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, root / 'tools/benchmark.py', 'pose', '--arch', 'w18_small_v1']
    command += ['--shape', '64x96', '--forms', 'eager', '--rounds', '1', '--device', 'cpu']
    done = subprocess.run([*command, '--out', tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == 3
    done = subprocess.run(
        [*command, '--train', '--forms', 'deploy'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert 'benchmark.py: There is no form deploy' in done.stderr


@pytest.mark.slow
def test_a_whole_file_runs_beside_the_inferencer_of_its_host(
    tmp_path: Path, run_tool: Callable, capsys: pytest.CaptureFixture
) -> None:
    config = tmp_path / 'small.py'
    config.write_text(
        "_base_ = 'mmpretrain::hrnet/hrnet-w18_4xb32_in1k.py'\n"
        f'model = dict(backbone=dict(extra={EXTRA}), neck=[\n'
        "    dict(type='HRFuseScales', in_channels=(8, 16, 32, 64)),\n"
        "    dict(type='GlobalAveragePooling')])\n"
    )
    run_tool('benchmark', config, '--shape', '60x80', '--rounds', 2, '--out', tmp_path)
    out = capsys.readouterr().out
    page = (tmp_path / 'whole_small.md').read_text()
    for name in ('mmpretrain inferencer', 'the same with mmhrnet', 'whole file, onnxruntime'):
        assert name in out
        assert f'| {name} |' in page
    with pytest.raises(SystemExit):
        run_tool('benchmark', 'nothing', '--out', tmp_path)
    assert "case='nothing' is unknown" in capsys.readouterr().err


@pytest.mark.slow
def test_files_have_metric_and_throughput_beside_their_latency(
    untrained: Callable, whole_files: dict, tmp_path: Path
) -> None:
    config, checkpoint = untrained('mmpretrain')
    options = {'test_dataloader.dataset.indices': 8}
    compiled = tmp_path / 'fixed.pt2'
    export_config(config, checkpoint, out=compiled, static=True, batch=1)
    given = dict(files=[whole_files['mmpretrain'], compiled], cfg_options=options, rounds=2)
    benchmark_whole(config, checkpoint, **given, batch=2, evaluate=True, out=tmp_path)
    lines = (tmp_path / f'whole_{config.stem}.md').read_text().splitlines()
    heads, _, *rows = ([*map(str.strip, x.split('|')[1:-1])] for x in lines if x[:1] == '|')
    cells = {row[0]: dict(zip(heads, row)) for row in rows}
    assert [*cells] == [
        'mmpretrain inferencer with mmhrnet',
        'whole file, onnxruntime',
        'whole file, openvino',
        'mmpretrain.onnx, onnxruntime',
        'mmpretrain.onnx, openvino',
        'fixed.pt2, torch',
    ]
    assert {row['accuracy/top1, drop'] for row in cells.values()} == {'0.00'}
    expected = apis.test(config, checkpoint, work_dir=str(tmp_path), cfg_options=options)
    assert {row['accuracy/top1'] for row in cells.values()} == {f'{expected["accuracy/top1"]:.2f}'}
    rates = [row['images/s, network, 2 at once'] for row in cells.values()]
    assert [rate == '-' for rate in rates] == [True, False, False, False, False, True]


def test_times_become_result_files(tmp_path: Path) -> None:
    name = 'hrnet-w18-small-v1_4xb64_in1k'
    model = Model({'precision': 'int8'}, lambda _: [])
    for seconds in (0.5, 0.25):  # the second run replaces the first
        latencies = Latencies(name, tmp_path, 'me')
        latencies.write(model, 'onnxruntime', (224, 224), 8, seconds)
        latencies.write(model, 'onnxruntime', (224, 224), 8, 0.125)  # another file, the same record
    ((_, record),) = read_results(tmp_path).items()
    assert (record.config, record.precision, record.batch) == (name, 'int8', 8)
    assert record.milliseconds == 250
    assert record.runtime.startswith('onnxruntime ')
    with pytest.raises(ConfigError, match=f'a.onnx is a file of other, not of {name}'):
        latencies.check({'a.onnx': Model({'config': 'other'}, lambda _: [])})
    with pytest.raises(ConfigError, match='no metafile has other'):
        Latencies('other', tmp_path, 'me')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['poze'], "did you mean 'pose'"),
        (['pose', '--checkpoint', 'a.pth'], '--checkpoint has no effect on the case pose'),
        (['mmpose::a.py', '--batch', 1, 8], 'A config takes one --batch, not 2'),
        (['mmpose::a.py', '--quick'], '--quick has no effect on a config'),
        (['mmpose::a.py', '--evaluate'], '--evaluate needs trained weights'),
        (['pose', '--evaluate'], '--evaluate has no effect on the case pose'),
    ],
)
def test_mistakes_of_the_command(
    words: list, message: str, run_tool: Callable, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run_tool('benchmark', *words)
    assert message in capsys.readouterr().err
