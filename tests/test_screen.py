"""Commands show a summary, progress, a table and what is true; the log file has the rest."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from mmhrnet.cli.screen import WIDTH, quiet

FALSE = re.compile(
    'Failed to search|be deprecated|out of bounds|mismatch problems|metainfo|DataLoader'
)
CONTROL = re.compile(r'[\r\x08\x1b]')
DETAILS = ('System environment:', 'Config:\n', 'Hooks will be executed', 'Loads checkpoint by')


def start_of(lines: list[str]) -> list[str]:
    """The names in the six lines of a summary."""
    return [line[:11].rstrip() for line in lines[:6]]


def log_of(folder: Path) -> str:
    (file,) = folder.rglob('*.log')
    return file.read_text()


@pytest.fixture
def backbone(untrained: Callable, tmp_path: Path) -> Path:
    """Weights that fit partly: without those of the classifier."""
    content = torch.load(untrained('mmpretrain').checkpoint, weights_only=True)
    state = {k: v for k, v in content['state_dict'].items() if not k.startswith('head')}
    torch.save({'state_dict': state}, tmp_path / 'part.pth')
    return tmp_path / 'part.pth'


def test_a_training_shows_six_lines_and_its_progress(
    run_tool: Callable,
    untrained: Callable,
    backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = untrained('mmpretrain').config
    capsys.readouterr()
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0}, raising=False)
    warnings.simplefilter('always', UserWarning)
    options = ['max_iters=2', 'val_interval=2']
    options = [f'load_from={backbone}', *(f'train_cfg.{option}' for option in options)]
    options.append('train_dataloader.num_workers=2')
    work_dir = tmp_path / 'run'
    arguments = ['--work-dir', work_dir, '--cfg-options', *options]
    run_tool('train', config, *arguments)
    shown, log = capsys.readouterr(), log_of(work_dir)
    lines = shown.out.splitlines()
    assert start_of(lines) == ['config', 'model', 'data', 'device', 'schedule', 'work folder']
    assert '11.1 M parameters' in lines[1]
    assert '400 samples' in lines[2]
    first = next(index for index, line in enumerate(lines) if 'checkpoint at 2' in line)
    assert first <= 15
    assert 'WARNING: The model and loaded state dict do not match exactly' in shown.out
    assert 'head.fc.weight' in shown.out
    assert not FALSE.search(shown.out + shown.err)
    assert not CONTROL.search(shown.out + shown.err)
    assert all(
        text in log
        for text in (*DETAILS, 'FileClient', 'head.fc.weight', 'Iter(val)', 'will create 2 worker')
    )


def test_a_test_shows_six_lines_and_its_table(
    run_tool: Callable, untrained: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = untrained('mmpose')
    capsys.readouterr()
    run_tool('test', *model, '--work-dir', tmp_path)
    shown, log = capsys.readouterr(), log_of(tmp_path)
    lines = shown.out.splitlines()
    assert start_of(lines) == ['config', 'model', 'data', 'device', 'weights', 'work folder']
    table = next(index for index, line in enumerate(lines) if 'measured' in line)
    assert table <= 12
    assert not FALSE.search(shown.out + shown.err)
    assert all(text in log for text in (*DETAILS, 'Average Recall', 'creating index'))


def test_a_prediction_shows_no_false_warning(
    root: Path, untrained: Callable, scene: Path, tmp_path: Path
) -> None:
    config, checkpoint = untrained('mmpose')
    words = [scene, '--config', config, '--checkpoint', checkpoint, '--out-dir', tmp_path]
    command = [sys.executable, root / 'tools/demo.py', *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert not CONTROL.search(done.stdout)


@contextmanager
def logger_of_a_run(folder: Path) -> Iterator[MMLogger]:
    """As a command has it."""
    with quiet():
        logging.getLogger('mmhrnet').warning('two annotations are skipped')
        yield MMLogger.get_instance(str(folder), log_file=str(folder / 'run.log'))


def test_warnings_are_shown_in_one_line_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    warnings.simplefilter('always', UserWarning)
    with logger_of_a_run(tmp_path):
        warnings.warn('The bbox is wrong', UserWarning, stacklevel=1)
        warnings.warn('Warning: The bbox is out of bounds, the', UserWarning, stacklevel=1)
    early, line = capsys.readouterr().err.splitlines()
    assert early.endswith(' WARNING: two annotations are skipped')
    assert 'WARNING: The bbox is wrong (UserWarning at ' in line
    messages = ('two annotations are skipped', 'The bbox is wrong', 'out of bounds')
    assert all(log_of(tmp_path).count(message) == 1 for message in messages)


def test_long_lines_of_values_are_broken_between_two(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    values = [f'coco/AP ({name}): 0.123456' for name in 'abcdefgh']
    with logger_of_a_run(tmp_path) as logger:
        logger.info(
            '  '.join(
                ['Iter(val) [1/1]  ', 'lr: 2.000000e-05', 'eta: 0:00:10', *values, 'IoU/a b: 1.0']
            )
        )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= WIDTH
    assert re.match(r'\d\d:\d\d:\d\d Iter\(val\) \[1/1]    lr: 2e-05  eta: 0:00:10  ', lines[0])
    assert all(f'coco/AP ({name}): 0.1235' in '\n'.join(lines) for name in 'abcdefgh')
    assert 'IoU' not in '\n'.join(lines)  # the table at the end has the classes
    assert '  '.join([*values, 'IoU/a b: 1.0']) in log_of(tmp_path)


def test_debug_shows_all(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with quiet():
        MMLogger.get_instance(str(tmp_path), log_level='DEBUG').info('Config:\na = 1')
    assert 'a = 1' in capsys.readouterr().err


def test_only_the_first_process_speaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('RANK', '1')
    with quiet('pytorch'):
        logger = MMLogger.get_instance(str(tmp_path))
        logging.getLogger('mmhrnet').warning('twice')
        logger.warning('twice')
        logger.error('of this process')
    shown = capsys.readouterr()
    assert 'twice' not in shown.out + shown.err
    assert 'of this process' in shown.err
