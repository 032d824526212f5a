"""Hostile files: nothing in them runs, they cost no memory, and one error names them."""

from __future__ import annotations

import io
import json
import pickle
import random
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch

import mmhrnet
from mmhrnet import HRNet, apis, checkpoints

ROOT = Path(__file__).resolve().parents[1]
LIVE = ('os.system', 'posix.system', 'subprocess.Popen', 'eval', 'exec', 'open')
GROWTH = 128  # MiB, for files that ask for terabytes
# Odd, but data: torch makes nothing of them that runs or costs more than it says.
HARMLESS = {
    f'{name}.{kind}.pth'
    for name in (
        'far memo',
        'names that are numbers',
        'repeated elements',
        'state dict of numbers',
    )
    for kind in ('zip', 'legacy')
}
ERRORS = (apis.ConfigError, checkpoints.CheckpointError, FileNotFoundError)


def run_alone(folder: Path) -> dict[str, Any]:
    """Loads all files of a folder in a process that may crash or be out of memory."""
    good = hostile.inside(hostile.GOOD, 'w')
    (folder.parent / 'good.pth').write_bytes(hostile.zipped(good))
    checkpoints.save({'state_dict': {'w': torch.ones(2)}}, folder.parent / 'good.safetensors')
    command = [sys.executable, str(ROOT / 'tests/hostile.py'), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_builders_make_checkpoints_that_load(tmp_path: Path) -> None:
    content = hostile.inside(hostile.GOOD, 'w')
    data = torch.arange(6.0)
    for build in (hostile.zipped, hostile.legacy):
        path = tmp_path / 'good.pth'
        path.write_bytes(build(content, data.numpy().tobytes()))
        assert torch.equal(checkpoints.load(path)['w'], data.reshape(2, 3))


@pytest.mark.parametrize('name', LIVE)
def test_the_gadgets_are_live(tmp_path: Path, name: str) -> None:
    marker = tmp_path / 'ran'
    made = pickle.loads(hostile.inside(hostile.gadgets(marker)[name]))['state_dict']  # noqa: S301
    if isinstance(made, subprocess.Popen):
        made.wait(10)
    assert marker.exists()


def test_hostile_files_are_refused_by_name_and_cost_nothing(
    tmp_path: Path, figure: Callable[[str, Any], None]
) -> None:
    folder, marker = tmp_path / 'files', tmp_path / 'ran'
    folder.mkdir()
    for name, content in hostile.files(marker):
        (folder / name).write_bytes(content)
    report = run_alone(folder)
    outcomes = report['outcomes']
    assert len(outcomes) > 350
    wrong = {
        name: outcome
        for name, outcome in outcomes.items()
        if name not in HARMLESS
        if not outcome.startswith('CheckpointError: ')
        or str(folder / name) not in outcome
        or '\n' in outcome
    }
    assert not wrong
    assert all(outcomes[name].startswith('loaded') for name in HARMLESS)
    truncated = [name for name, outcome in outcomes.items() if 'truncated' in outcome]
    cut = ('cut', 'empty', 'zeros', 'only magic', 'long text', 'unfinished')
    assert not [name for name in truncated if not name.startswith(cut)]
    assert not marker.exists()
    assert report['mebibytes'] < GROWTH
    figure('hostile files refused', len(outcomes) - len(HARMLESS))
    figure('odd files read as the data that they are', len(HARMLESS))
    figure('memory growth on hostile files, MiB', round(report['mebibytes']))


@pytest.mark.parametrize('suffix', ['pth', 'legacy.pth', 'safetensors'])
def test_a_flipped_byte_gives_the_same_tensors_or_one_error(tmp_path: Path, suffix: str) -> None:
    state = {'conv1.weight': torch.randn(4, 3), 'bn1.running_mean': torch.randn(4)}
    path = tmp_path / f'good.{suffix}'
    if suffix == 'legacy.pth':
        torch.save({'state_dict': state}, path, _use_new_zipfile_serialization=False)
    else:
        checkpoints.save({'state_dict': state}, path)
    good, draw = path.read_bytes(), random.Random(0)  # noqa: S311
    outcomes = []
    for _ in range(400):
        data = bytearray(good)
        for _ in range(draw.choice([1, 1, 2, 8])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            loaded = checkpoints.load(path)
        except checkpoints.CheckpointError as error:
            outcomes.append(str(path) in str(error))
            continue
        tensors = loaded.get('state_dict', loaded)
        checked = suffix == 'pth'  # the one format with checksums
        outcomes.append(not checked or all(torch.equal(tensors[n], state[n]) for n in state))
    assert all(outcomes)


@pytest.mark.parametrize(
    'name', ['os.system', 'subprocess.Popen', 'builtins.eval', 'functools.partial', 'numpy.load']
)
def test_what_runs_code_cannot_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, marker = tmp_path / 'a.pth', tmp_path / 'ran'
    path.write_bytes(hostile.zipped(hostile.inside(hostile.gadgets(marker)['os.system'])))
    with pytest.raises(checkpoints.CheckpointError, match=name):
        checkpoints.allow(name)
    monkeypatch.setenv('MMHRNET_SAFE_TYPES', name)
    with pytest.raises(checkpoints.CheckpointError, match=name):
        checkpoints.load(path)
    assert not marker.exists()


def test_no_error_advises_to_allow_what_runs_code(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    for name in ('os.system', 'subprocess.Popen', 'builtins.eval', 'torch.hub.load'):
        path.write_bytes(hostile.zipped(hostile.inside(hostile.call(name, hostile.text('x')))))
        with pytest.raises(checkpoints.CheckpointError) as error:
            checkpoints.load(path)
        assert name in str(error.value)
        assert 'allow it' not in str(error.value)


def test_weights_of_impossible_shapes_fit_nothing_and_raise_nothing_else() -> None:
    model = HRNet('w18_small_v1')
    for shape in ((), (0,), (64, 0, 3, 3), (64, 3), (2**20,)):
        state = dict(model.state_dict())
        names = ('conv1.weight', 'conv1.bias', 'last_layer.0.weight', 'last_layer.3.weight')
        state |= {name: torch.zeros(shape) for name in names}
        with pytest.raises(checkpoints.CheckpointError, match='conv1'):
            checkpoints.fit(checkpoints.unwrap(state), model)
        for form in checkpoints.FORMS:
            checkpoints.convert(state, form)


def run_tool(name: str, *arguments: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """A tool in this process; what it says on leaving is what a user sees."""

    def run(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        said = io.StringIO()
        try:
            with redirect_stderr(said):
                runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
        except SystemExit as left:
            kind = apis.ConfigError if left.code == 2 else AssertionError  # a traceback
            raise kind(said.getvalue()) from left

    return run


def doors(config: Path, file: Path, out: Path) -> dict[str, Callable[[Any], Any]]:
    """Every way by which a user can hand a checkpoint to this package."""
    from mmhrnet.inference.web_demo import Demo

    image = out.parent / 'image.png'
    shared = ('--work-dir', out)
    short = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2')
    return {
        'init_cfg': lambda _: HRNet(
            'w18_small_v1', init_cfg=dict(type='Pretrained', checkpoint=str(file))
        ).init_weights(),
        'pretrained': lambda _: HRNet('w18_small_v1', pretrained=str(file)).init_weights(),
        'create_model': lambda _: mmhrnet.create_model('hrnet_w18_small_v1', checkpoint=file),
        'checkpoints.load': lambda _: checkpoints.load(file),
        'Predictor': lambda _: apis.Predictor(config, file, device='cpu'),
        'Demo': lambda _: Demo(file.parent, 'cpu', out).run(
            str(image), str(config), file.name, 0.3
        ),
        'train --resume': run_tool(
            'train.py', config, *shared, '--resume', file, '--cfg-options', *short
        ),
        'train load_from': run_tool(
            'train.py', config, *shared, '--cfg-options', *short, f'load_from={file}'
        ),
        'test': run_tool('test.py', config, file, *shared),
        'demo': run_tool('demo.py', image, '--config', config, '--checkpoint', file),
        'test alone': run_tool('test.py', file, *shared),
        'demo alone': run_tool('demo.py', image, '--checkpoint', file),
        'convert': run_tool('convert_checkpoint.py', file, out / 'b.pth'),
        'publish': run_tool('publish_model.py', file, out, '--config', config),
        'export': run_tool('export.py', config, file, '--out', out / 'b.pt2'),
        'benchmark_zoo': run_tool('benchmark_zoo.py', config, file, '--out', out),
        'streams': run_tool(
            'visualize_streams.py', image, '--config', config, '--checkpoint', file
        ),
    }


@pytest.mark.slow
def test_every_door_refuses_hostile_files_in_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    untrained: Callable[..., Any],
    scene: Path,
    figure: Callable[[str, Any], None],
) -> None:
    config, good = untrained('mmpretrain')
    marker, file = tmp_path / 'ran', tmp_path / 'hostile.pth'
    (tmp_path / 'image.png').write_bytes(scene.read_bytes())
    value = hostile.inside(hostile.gadgets(marker)['os.system'])
    kinds = {
        'zip': hostile.zipped(value),
        'legacy': hostile.legacy(value, used=False),
        'truncated': good.read_bytes()[:100_000],
    }
    wrong, tried = {}, 0
    for kind, content in kinds.items():
        file.write_bytes(content)
        for door, enter in doors(config, file, tmp_path / 'out').items():
            tried += 1
            try:
                enter(monkeypatch)
            except ERRORS as error:
                if file.name not in str(error) or 'Traceback' in str(error):
                    wrong[f'{door}, {kind}'] = f'unclear: {error}'
            except Exception as error:
                wrong[f'{door}, {kind}'] = f'{type(error).__name__}: {error}'
            else:
                wrong[f'{door}, {kind}'] = 'was loaded'
            assert not marker.exists(), (door, kind)
    figure('doors x hostile files tried, all refused', tried)
    assert not wrong
