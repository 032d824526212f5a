"""What cannot be written or shown costs one line: before the work, in it and after it."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import DictAction
from mmengine.visualization import Visualizer
from test_hooks import At, config, names

from mmhrnet import apis
from mmhrnet.cli import one_line
from mmhrnet.cli.options import SettingsAction
from mmhrnet.errors import UserError, listed, plural
from mmhrnet.files import WriteError, check_file, check_folder, write_text
from mmhrnet.training import report
from mmhrnet.training.curves import read_scalars
from mmhrnet.training.runner import build_runner

ROOT = Path(__file__).resolve().parents[1]
CLS = 'configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
ODD = 'run[/b][red] :smile: %d {} $\\frac{$'


def places(folder: Path) -> dict[str, Path]:
    (folder / 'file').touch()
    return {
        'below a file': folder / 'file/out',
        'no such system folder': Path('/proc/mmhrnet/out'),
        'too long': folder / ('a' * 300) / 'out',
    }


PLACES = ('below a file', 'no such system folder', 'too long')


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('check', [check_file, check_folder, lambda p: write_text(p, 'x')])
def test_a_place_that_cannot_be_written_is_named(
    check: Callable[[Path], None], place: str, tmp_path: Path
) -> None:
    path = places(tmp_path)[place]
    with pytest.raises(WriteError) as error:
        check(path)
    assert str(error.value).startswith(f'{path} cannot be written: ')
    assert 'choose another place' in str(error.value)
    assert [item.name for item in tmp_path.iterdir()] == ['file']


def test_numbers_and_lists_are_words() -> None:
    assert [plural(count, 'image') for count in (0, 1, 2)] == ['0 images', '1 image', '2 images']
    assert [listed([*'ABC'][:count]) for count in range(4)] == ['', 'A', 'A and B', 'A, B and C']


def test_a_folder_where_a_file_is_to_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match='cannot be written: Is a directory'):
        check_file(tmp_path)
    with pytest.raises(WriteError, match='cannot be written: Is a directory'):
        write_text(tmp_path, 'x')
    check_file(tmp_path / 'new/file')
    assert [item.name for item in tmp_path.rglob('*')] == ['new']


TOOLS: dict[str, tuple[str, ...]] = {
    'train': (CLS, '--mini', '--work-dir', 'OUT'),
    'test': ('CONFIG', 'CHECKPOINT', '--work-dir', 'OUT'),
    'demo': ('IMAGE', '--config', 'CONFIG', '--out-dir', 'OUT'),
    'visualize_streams': ('IMAGE', '--config', 'CONFIG', '--out', 'OUT'),
    'browse_dataset': ('CONFIG', '--out-dir', 'OUT'),
    'export': ('CONFIG', '--out', 'OUT.pt2'),
    'benchmark': ('pose', '--out', 'OUT'),
    'benchmark_zoo': ('CONFIG', '--out', 'OUT'),
    'print_config': (CLS, '--save-path', 'OUT.py'),
    'convert_checkpoint': ('CHECKPOINT', 'OUT.pth'),
    'publish_model': ('CHECKPOINT', 'OUT', '--config', 'CONFIG'),
    'download_dataset': ('coco', '--only', 'val2017*', '--data-root', 'OUT'),
}


SLOW = ('convert_checkpoint', 'publish_model', 'test')  # they need a checkpoint first


@pytest.mark.parametrize(
    'tool', [pytest.param(t, marks=[pytest.mark.slow] if t in SLOW else []) for t in TOOLS]
)
def test_every_tool_names_an_output_that_cannot_be_written(
    tool: str,
    untrained: Callable,
    scene: Path,
    tmp_path: Path,
    run_tool: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('LOCAL_RANK', '0')
    (tmp_path / 'file').touch()
    out = f'{tmp_path}/file/out'
    places = {'OUT': out, 'IMAGE': str(scene)}
    if {'CONFIG', 'CHECKPOINT'} & {*TOOLS[tool]}:
        places |= zip(('CONFIG', 'CHECKPOINT'), map(str, untrained('mmpretrain')))
    words = [re.sub('|'.join(places), lambda m: places[m[0]], word) for word in TOOLS[tool]]
    with pytest.raises(SystemExit, match=r'^2$'):
        run_tool(tool, *words)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f'{tool}.py: {out}')
    assert 'cannot be written: Not a directory; choose another place' in said


@pytest.mark.parametrize(
    'text',
    [
        *('a', '=', '=1', 'a..b=1', 'x=[', 'x=(1', 'x=[1,', 'x=[1]]', '2]', 'x=[f(1,2)]'),
        *('x=f(1,2)', 'x=[1,(2])', 'x={a:1}', f'x={"[" * 2000}1,2{"]" * 2000}'),
    ],
)
def test_options_that_cannot_be_read_are_named(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser(usage='tool')
    parser.add_argument('--cfg-options', nargs='+', action=SettingsAction)
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'x=1', text])
    said = capsys.readouterr().err.splitlines()[-1]
    assert f'error: argument --cfg-options: {text[:80]}' in said
    assert ' cannot be read: ' in said
    assert len(said) < 250


def test_options_that_can_be_read_are_as_mmengine_reads_them() -> None:
    words = ['a=', 'b.c=1', 'd=1e-3', 'e=None', 'f=[(1,2),(3,4)]', 'g=1,2', 'h="t"', 'i=j=k']
    words += ['l=[]', 'm=(1)', 'n={}.pth', "o='[1, true]'", 'p=data/[0]', 'b.c=2']
    ours, theirs = argparse.ArgumentParser(), argparse.ArgumentParser()
    ours.add_argument('--cfg-options', nargs='+', action=SettingsAction)
    theirs.add_argument('--cfg-options', nargs='+', action=DictAction)
    arguments = ['--cfg-options', *words]
    assert ours.parse_args(arguments) == theirs.parse_args(arguments)


def test_each_of_several_runs_in_a_process_logs_to_its_own_folder(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ('a', 'b')]
    visualizer = dict(type='Visualizer', name='one', vis_backends=[dict(type='LocalVisBackend')])
    for folder in folders:
        cfg = config(folder, visualizer=dict(visualizer), experiment_name='same')
        runner = build_runner(cfg)
        runner.logger.warning('of %s', folder.name)
        runner.train()
        assert Visualizer.get_current_instance() is runner.visualizer
    for folder in folders:
        assert [r['step'] for r in read_scalars(folder) if 'loss' in r] == [4, 8, 12, 16]
        (log,) = folder.rglob('*.log')
        assert re.findall(r'WARNING - of (\w)$', log.read_text(), re.MULTILINE) == [folder.name]


def test_a_work_folder_whose_name_is_no_text_is_refused() -> None:
    with pytest.raises(apis.ConfigError, match=r'--work-dir .* is not UTF-8'):
        apis.make_config(ROOT / CLS, work_dir='run\udcff')


def test_names_are_shown_as_they_are(
    tmp_path: Path, run_tool: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ODD.replace('/', '')
    for run in ('_a[b]', ODD.rpartition('/')[2]):
        file = folder / run / '1/vis_data/scalars.json'
        file.parent.mkdir(parents=True)
        records = [{'step': 1, 'loss': 1.0}, {'step': 1, 'US$ $\\frac{$ [x]': 0.5}]
        file.write_text('\n'.join(map(json.dumps, records)) + '\n')
    out = folder / 'öut[b].png'
    run_tool('analyze_logs', *sorted(folder.iterdir()), '--out', out)
    printed = capsys.readouterr().out
    assert f'curves: {out}\n' in printed
    for text in ('_a[b]', 'b][red] :smile: %d {} $\\frac{$', 'US$ $\\frac{$ [x], best'):
        assert text in printed


def test_letters_that_the_screen_lacks_are_escaped() -> None:
    code = (
        'from mmhrnet.cli import one_line\n'
        'from mmhrnet.terminal import CONSOLE\n'
        'with one_line("name"):\n'
        "    CONSOLE.print('ö\\udcff'); print('ö'); raise OSError('ö\\udcff')"
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, env={'PYTHONIOENCODING': 'ascii'}
    )
    assert result.stdout.splitlines() == [rb'\xf6\udcff', rb'\xf6']
    assert result.stderr.splitlines() == [rb'name: \xf6\udcff']


def test_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r'^1$'), one_line('name'):
        raise ValueError('of no user')
    said = capsys.readouterr().err
    assert said.startswith('Traceback')
    assert 'ValueError: of no user\n' in said
    assert said.endswith('on the issue tracker of mmhrnet\n')


def errors_of(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(deeper for below in kind.__subclasses__() for deeper in errors_of(below))]


def test_every_error_of_ours_is_a_user_error() -> None:
    for module in ('checkpoints', 'datasets.download', 'deploy', 'training.curves', 'apis'):
        import_module(f'mmhrnet.{module}')
    ours = {kind for kind in errors_of(Exception) if kind.__module__.startswith('mmhrnet.')}
    ours = {kind for kind in ours if kind.__module__ != 'mmhrnet.runtime'}  # it imports nothing
    assert ours <= set(errors_of(UserError))
    assert len(ours) >= 9


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    with pytest.raises(SystemExit) as error, one_line('name'):
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert error.value.code == 130
    assert capsys.readouterr().err.endswith(': stopped\n')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='the full disk is that of Linux')
def test_logs_on_a_full_disk_cost_a_line_each_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = config(tmp_path, **{'log_level': 'INFO', 'default_hooks.logger.interval': 1})
    runner = build_runner(cfg)
    log = runner.logger.handlers[1]
    scalars = Path(runner.log_dir, 'vis_data/scalars.json')

    def fill() -> None:
        log.setStream(log._open())
        scalars.unlink()
        scalars.symlink_to('/dev/full')

    runner.register_hook(At('after_train_iter', 4, fill))
    with monkeypatch.context() as patch:
        patch.setattr(log, 'baseFilename', '/dev/full')
        runner.train()
    assert 'iter_18.pth' in names(tmp_path)
    first, second = capsys.readouterr().err.splitlines()
    assert first == '/dev/full cannot be written: No space left on device; the run goes on'
    assert 'scalars.json cannot be written: No space left on device; the run goes on' in second


def test_half_a_line_of_scalars_does_not_spoil_what_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = build_runner(config(tmp_path))
    (backend,) = runner.visualizer._vis_backends.values()
    runner.visualizer.add_scalars({'loss': 1.0}, step=1)

    def cut(*args: Any) -> None:
        with Path(backend._scalar_save_file).open('a') as file:
            file.write('{"loss": 0.')
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(backend, '_dump', cut)
        runner.visualizer.add_scalars({'loss': 2.0}, step=2)
    runner.visualizer.add_scalars({'loss': 3.0}, step=3)
    assert [record['loss'] for record in read_scalars(tmp_path)] == [1.0, 3.0]


def test_what_follows_a_training_is_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*args: Any) -> None:
        write_text(tmp_path / 'file/curves.png', '')

    (tmp_path / 'file').touch()
    runner = build_runner(config(tmp_path))
    runner.visualizer.add_scalars({'loss': 1.0}, step=1)
    monkeypatch.setattr(report, 'plot_curves', no_room)
    with pytest.raises(apis.ConfigError) as error:
        report.report_or_say(runner, 'toy', same_data=False)
    said = str(error.value)
    assert f'training is complete, and its checkpoints are in {tmp_path}' in said
    assert 'curves.png cannot be written: Not a directory' in said
    assert '\n' not in said
