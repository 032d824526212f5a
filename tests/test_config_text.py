"""The config in a checkpoint is read, never run; and nothing else in a checkpoint gives orders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet.registry  # noqa: F401 (the library whose types are looked up)
import numpy as np
import pytest
import torch
from mmengine.config import Config
from test_hostile import ERRORS, doors

from mmhrnet import checkpoints
from mmhrnet.checkpoints import CheckpointError, config_of, read_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(ROOT.glob('configs/mm*/*.py'))


def test_the_text_of_every_config_is_read_as_the_config_that_it_is() -> None:
    assert read_config('a = dict({1.5: 2}, b=3)') == {'a': {1.5: 2, 'b': 3}}
    for path in CONFIGS[::9]:
        cfg = Config.fromfile(path)
        assert read_config(cfg.pretty_text) == cfg.to_dict(), path


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        "open('ran', 'w')",
        "a = open('ran', 'w')",
        "a = dict(b=[1, (2, {'c': open('ran', 'w')})])",
        "a = dict(**open('ran', 'w'))",
        "a = f'{open(1)}'",
        'a = [x for x in (1,)]',
        'a = lambda: 1',
        'a += 1',
        'a: int = 1',
        'del a',
        'a = (' * 5000,
        'a = "\0"',
        'a = dict(1)',
        'a.b = 5',
        'a = {[]: 1}',
    ],
)
def test_programs_are_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match='more than literals, so it is not run'):
        read_config(text)


def stored(model: Any, **dataset: Any) -> dict[str, Any]:
    loader = dict(dataset=dict(type='CocoDataset', pipeline=[dict(type='Resize')]) | dataset)
    text = Config(dict(model=model, test_dataloader=loader)).pretty_text
    return {'meta': {'cfg': text}}


@pytest.mark.parametrize(
    ('model', 'says'),
    [
        (dict(type='subprocess.Popen', args=['touch', 'ran']), 'not a registered type'),
        (dict(type='antigravity'), 'not a registered type'),
        (dict(type=['Conv2d']), 'not a registered type'),
        # A class of another registry, which opens what the file names.
        (dict(type='mmdet.datasets.base_det_dataset.BaseDetDataset'), 'not a registered type'),
        (dict(type='mmhrnet.HRNet', _scope_='antigravity'), 'not an imported library'),
        (dict(type='Conv2d', x="__import__('os').system('x')"), 'a path or a program'),
        (dict(type='Conv2d', x="[exit['x'] for exit.y in [torch.os.system]]"), 'a path or a prog'),
        (dict(type='Conv2d', x={'f(x)': 1}), 'a path or a program'),
        (dict(type='Conv2d', class_weight='http://elsewhere/x.pkl'), 'a path or a program'),
        (dict(type='Conv2d', x=dict(from_file='x.py')), 'a path or a program'),
        (dict(type='Conv2d', x=[b'f']), 'not a setting'),
    ],
)
def test_what_the_libraries_would_import_or_evaluate_is_refused(model: Any, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        config_of(stored(model))


def test_only_what_an_inferencer_builds_is_taken() -> None:
    model = dict(type='Conv2d', init_cfg=dict(type='Pretrained', checkpoint='http://elsewhere'))
    found = config_of(stored(model, ann_file='x.pkl', datasets=[dict(ann_file='y.pkl')]))
    assert found == dict(
        model=dict(type='Conv2d'),
        test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=[dict(type='Resize')])),
        dataset_type='CocoDataset',
    )


def test_without_a_config_the_error_says_so() -> None:
    for content in ({}, {'meta': {'cfg': 7}}, {'message_hub': 5}, [1]):
        with pytest.raises(CheckpointError, match='contains no config'):
            config_of(content)


def test_a_dict_whose_methods_are_others_is_refused(tmp_path: Path) -> None:
    meta = OrderedDict(epoch=1)
    meta.pop = slice
    torch.save({'state_dict': {}, 'meta': meta}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='hides the method'):
        checkpoints.load(tmp_path / 'a.pth')


def with_config(file: Path, path: Path, text: str) -> str:
    content = checkpoints.load(file)
    content['message_hub'] = {'runtime_info': {'cfg': text}}
    checkpoints.save(content, path)
    return str(path)


@pytest.mark.slow
def test_an_inferencer_takes_its_config_from_a_checkpoint_and_runs_none(
    untrained: Callable[..., Any], scene: Path, tmp_path: Path
) -> None:
    from mmdet.apis import DetInferencer

    from mmhrnet import apis

    config, weights = untrained('mmdet')
    cfg = apis.make_config(config, mini=True)
    file = with_config(weights, tmp_path / 'a.pth', cfg.pretty_text)
    options = dict(device='cpu', show_progress=False)
    own = DetInferencer(weights=file, **options)(str(scene))
    given = DetInferencer(cfg, weights=str(weights), **options)(str(scene))
    assert own['predictions'] == given['predictions']
    marker = tmp_path / 'ran'
    file = with_config(weights, tmp_path / 'b.pth', f"open({str(marker)!r}, 'w').close()\n")
    with pytest.raises(CheckpointError, match='it is not run'):
        DetInferencer(weights=file, **options)
    assert not marker.exists()


def all_orders(content: dict[str, Any], marker: Path, outside: Path) -> dict[str, Any]:
    """The checkpoint with programs for strings and paths that point elsewhere."""
    program = f"open({str(marker)!r}, 'w').close()"
    info = dict.fromkeys(('cfg', 'experiment_name', 'task_name', 'loop_stage'), program)
    info |= dict.fromkeys(('best_ckpt', 'last_ckpt'), str(outside))
    info |= dict(best_score=-1.0, keep_ckpt_ids=[f'../{outside.name}/a'], outdated_ckpts=[program])
    names = {'config': program, 'cfg': program, 'CLASSES': [program], 'time': program}
    described = content['meta']['dataset_meta']
    described = {
        key: [program] * len(value) if isinstance(value, (list, tuple)) and value else program
        for key, value in described.items()
    } | {'from_file': program}
    return {
        'state_dict': content['state_dict'],
        'meta': {**names, 'epoch': 1, 'iter': 1, 'seed': 0, 'dataset_meta': described},
        'message_hub': {'log_scalars': {}, 'runtime_info': info, 'resumed_keys': {program: True}},
        'hook_msgs': {program: program},
        program: np.array([program]),
    }


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmdet', 'mmpose', 'mmseg', 'mmpretrain'])
def test_no_door_obeys_a_checkpoint(
    host: str,
    untrained: Callable[..., Any],
    scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, good = untrained(host)
    marker, outside, file = tmp_path / 'ran', tmp_path / 'outside', tmp_path / 'a.pth'
    outside.mkdir()
    (outside / 'epoch_1.pth').write_text('of another run')
    (tmp_path / 'image.png').write_bytes(scene.read_bytes())
    torch.save(all_orders(checkpoints.load(good), marker, outside), file)
    wrong = {}
    monkeypatch.chdir(tmp_path)
    entrances = doors(config, file, tmp_path / 'out')
    if host != 'mmpretrain':  # what differs with the host is what reads the data set's description
        entrances = {door: entrances[door] for door in ('Demo', 'demo', 'test', 'train --resume')}
    for door, enter in entrances.items():
        try:
            enter(monkeypatch)
        except ERRORS as error:
            if '\nTraceback' in str(error):
                wrong[door] = str(error)
        except Exception as error:
            wrong[door] = f'{type(error).__name__}: {error}'
        assert not marker.exists(), door
        assert [path.name for path in outside.iterdir()] == ['epoch_1.pth'], door
    assert not wrong
