"""``mmhrnet doctor`` says what is wrong and how to fix it; the command needs no clone."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from mmhrnet import cli, doctor
from mmhrnet.config.load import load_config
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(ROOT.glob('configs/mm*/*.py'))
DECLARED = re.compile(r'^    "([\w-]+)>=([\d.]+)",$', re.MULTILINE)
MINE = {'cv2': ['opencv-python-headless'], 'numpy': ['numpy'], 'mmengine': ['mmengine']}

ONEDL = {'cv2': ['opencv-python'], 'numpy': ['numpy'], 'mmengine': ['onedl-mmengine']}


def mmhrnet(*args: str, isolated: bool = False, **env: str) -> subprocess.CompletedProcess:
    """The command in a fresh interpreter; an isolated one has nothing but Python itself."""
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r}); from mmhrnet.cli import main; main()'
    flags = ['-I', '-S'] if isolated else ['-W', 'ignore']
    command = [sys.executable, *flags, '-c', code, *args]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})


def distribution(folder: Path, name: str, version: str, module: str) -> None:
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    (info / 'top_level.txt').write_text(module)


@pytest.fixture(autouse=True)
def _ask_anew() -> None:
    doctor._owners.cache_clear()


def test_it_runs_with_nothing_else_installed() -> None:
    result = mmhrnet('doctor', isolated=True)
    assert result.returncode == 1
    assert result.stderr == ''
    last = result.stdout.strip().splitlines()[-1]
    assert last.strip().startswith('torch, torchvision, mmengine, mmcv, cv2, numpy')
    assert 'are not installed: pip install torch ' in last
    assert last.endswith('mmengine mmcv-lite')


@pytest.mark.parametrize('words', [('train', 'CONFIG'), ('models',), ('export', 'CONFIG')])
def test_a_command_says_in_one_line_what_is_missing(words: tuple[str, ...]) -> None:
    result = mmhrnet(*words, isolated=True)
    assert result.returncode == 2
    assert result.stderr.startswith(f'mmhrnet {words[0]}: torch, torchvision, mmengine, mmcv')
    assert len(result.stderr.strip().splitlines()) == 1


def test_floors_are_those_that_are_declared() -> None:
    text = (ROOT / 'pyproject.toml').read_text()
    floors = {name: floor for floor, name in doctor.REQUIRED.values()}
    undeclared = {'mmengine', 'mmcv-lite', 'opencv-python-headless'}
    assert dict(DECLARED.findall(text)) == {k: v for k, v in floors.items() if k not in undeclared}
    hosts = [(host.floor, host.distribution) for host in known_hosts().values()]
    for floor, name in [*hosts, doctor.REQUIRED['mmengine']]:
        if name != 'mmpose':  # which is installed without what it declares
            assert f'"{name}>={floor.removesuffix(".0")}' in text, name


def test_two_distributions_of_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, 'mmcv', '2.1.0', 'mmcv')
    distribution(tmp_path, 'onedl-mmcv', '2.3.6', 'mmcv')
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = doctor.find_problems()
    assert 'mmcv comes from mmcv, mmcv-lite and onedl-mmcv' in line
    assert 'pip uninstall -y mmcv mmcv-lite onedl-mmcv, then pip install --no-deps' in line


@pytest.mark.parametrize(('version', 'problems'), [('4.11.0', 1), (None, 0)])
def test_two_builds_of_opencv(
    version: str | None, problems: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = metadata.version('opencv-python-headless')
    distribution(tmp_path, 'opencv-python', version or installed, 'cv2')
    monkeypatch.syspath_prepend(tmp_path)
    assert len(doctor.find_problems()) == problems


def test_a_library_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, 'timm', '0.1', 'timm')  # no need of ours
    distribution(tmp_path, 'pydantic', '1.10.2', 'pydantic')
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor.find_problems() == ["pydantic 1.10.2 is too old: pip install 'pydantic>=2.8'"]


@pytest.mark.parametrize(
    ('source', 'advice'),
    [
        (
            "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
            'it was compiled for another numpy',
        ),
        ("raise ImportError('libGL.so.1: cannot open')", 'pip install opencv-python-headless'),
        ('import not_there.part', 'pip install not_there'),
        ("raise AssertionError('MMCV==9 is used but incompatible')", 'MMCV==9 is used'),
    ],
)
def test_a_library_that_cannot_be_imported(
    source: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'mmfake').mkdir()
    (tmp_path / 'mmfake/__init__.py').write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    fake = replace(known_hosts()['mmdet'], name='mmfake', distribution='mmfake')
    monkeypatch.setattr(doctor, 'known_hosts', lambda: {'mmfake': fake})
    (line,) = doctor.find_problems()
    assert line.startswith('mmfake cannot be imported')
    assert advice in line


BUILDS = """
import sys
from mmengine.registry import VISUALIZERS, init_default_scope
from mmhrnet.config.check import config_errors
for host in sys.argv[1:]:
    for scope, kind in ((host, 'Visualiser'), ('mmengine', f'{host}.Visualiser')):
        init_default_scope(scope)
        try:
            with config_errors():
                VISUALIZERS.build(dict(type=kind))
        except ValueError as error:
            print(f'{host}: {error}')
"""
BROKEN = {
    'import not_there': "(ModuleNotFoundError: No module named 'not_there'): pip install not_there",
    'raise TypeError("no class")': '(TypeError: no class)',  # which MMEngine does not hide
}


@pytest.fixture(scope='module', params=BROKEN)
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The reason, and what a build says where each host library fails for it."""
    folder = tmp_path_factory.mktemp('hosts')
    for host in known_hosts():
        (folder / host).mkdir()
        (folder / host / '__init__.py').write_text(request.param)
    env = {**os.environ, 'PYTHONPATH': f'{folder}:{ROOT}'}
    command = [sys.executable, '-c', BUILDS, *known_hosts()]
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    return [BROKEN[request.param], *result.stdout.splitlines()]


@pytest.mark.parametrize('host', known_hosts())
def test_a_config_is_not_blamed_for_a_library_that_cannot_be_imported(
    host: str, said: list[str]
) -> None:
    reason, *lines = said
    end = f'here: {host} cannot be imported {reason} (`mmhrnet doctor` finds what else is wrong)'
    for kind in ('Visualiser', f'{host}.Visualiser'):
        assert f"{host}: type='{kind}' cannot be used {end}" in lines


def test_nothing_is_wrong_here() -> None:
    assert doctor.find_problems() == []


@pytest.mark.parametrize(
    ('missing', 'installed', 'command'),
    [
        (['mmcv'], MINE, 'pip install addict pyyaml termcolor yapf && pip install --no-deps mmcv-'),
        (['mmcv'], {**MINE, 'cv2': ['opencv-python']}, 'pip install mmcv-lite'),
        (
            ['mmcv'],
            {'mmengine': ['onedl-mmengine'], 'cv2': ['opencv-python']},
            'install onedl-mmcv',
        ),
        (['mmdet'], ONEDL, 'pip install onedl-mmdetection'),
        (['mmseg'], {'mmengine': ['mmengine']}, 'pip install mmsegmentation'),
        (['cv2'], {}, 'pip install opencv-python-headless'),
        (['mmengine', 'cv2'], {}, 'pip install mmengine'),  # which brings its OpenCV
        (['mmpose'], MINE, 'pip install --no-deps mmpose'),
    ],
)
def test_no_command_overwrites_what_is_here(
    missing: list[str],
    installed: dict[str, list[str]],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, 'distributions', lambda module: installed.get(module, []))
    monkeypatch.setattr(doctor, '_major', {'numpy': 2}.get)
    assert command in doctor.install_command(missing)


def test_numpy_1_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, '_major', {'numpy': 1}.get)
    assert doctor.install_command(['cv2']) == "pip install opencv-python-headless 'numpy<2'"


def names(paths: Iterable[Path]) -> list[str]:
    return [f'mmhrnet::{path.parent.name}/{path.stem}' for path in paths]


@pytest.mark.parametrize('name', names(CONFIGS[::7]))
def test_a_config_by_its_name(name: str) -> None:
    by_name = load_config(name)
    assert by_name.pretty_text == load_config(f'{name}.py').pretty_text
    path = ROOT / 'configs' / f'{name.removeprefix("mmhrnet::")}.py'
    assert by_name.pretty_text == load_config(path).pretty_text


def test_a_config_of_a_host_by_its_name() -> None:
    assert load_config('mmpretrain::hrnet/hrnet-w18_4xb32_in1k').model.backbone.type == 'HRNet'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'mmhrnet::mmdet/faster_rcnn_hrnetv2p_w33',
            'did you mean mmhrnet::mmdet/faster_rcnn_hrnetv',
        ),
        ('mmyolo::a/b', "is of the library 'mmyolo', which is not installed"),
        ('::a', "is of the library '', which is not installed"),
        ('mmhrnet::nothing/like/this', '`mmhrnet models` lists the configs of mmhrnet'),
    ],
)
def test_a_name_that_no_config_has(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(name)


HOSTLESS = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *args: None if name.startswith('mmseg') else find(name, *args)
import mmhrnet
from mmhrnet.apis import load_config
for config in sys.argv[1:]:
    try:
        load_config(config)
    except ValueError as error:
        print(error)
"""


def test_a_library_that_a_config_needs_is_named(tmp_path: Path) -> None:
    own = tmp_path / 'own.py'
    own.write_text("default_scope = 'mmseg'\nmodel = dict(type='EncoderDecoder')\n")
    shipped = next(ROOT.glob('configs/mmseg/fcn_hr18s_*'))
    command = [sys.executable, '-W', 'ignore', '-c', HOSTLESS, str(own), str(shipped)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.endswith('mmseg is not installed: pip install mmsegmentation'), line


TOOLS = {
    name: path.name
    for path in (ROOT / 'tools').glob('*.py')
    for name in re.findall(r"run\('([\w ]+)'", path.read_text())
}


def test_the_page_names_every_command_and_needs_nothing() -> None:
    result = mmhrnet('--help', isolated=True)
    assert result.returncode == 0
    shown = re.findall(r'^  (\w+(?: \w+)?) +[A-Z]', result.stdout, re.MULTILINE)
    assert set(shown) == set(cli.COMMANDS)
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert mmhrnet(isolated=True).stdout == result.stdout


def test_a_command_of_two_words_needs_both() -> None:
    result = mmhrnet('zoo', '--all', isolated=True)
    assert result.returncode == 2
    assert 'there is no command zoo: there are zoo evaluate and zoo report;' in result.stderr


def test_a_command_that_is_not_there() -> None:
    result = mmhrnet('trian', isolated=True)
    assert result.returncode == 2
    assert result.stderr == (
        "mmhrnet: there is no command trian: did you mean 'train'? mmhrnet --help lists all\n"
    )


def test_every_tool_is_a_command_with_its_own_name() -> None:
    others = {'models', 'weights', 'mini', 'doctor', 'run', 'zoo report'}
    assert set(cli.COMMANDS) - set(TOOLS) == others
    assert sorted(TOOLS.values()) == sorted(path.name for path in (ROOT / 'tools').glob('*.py'))


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_help_begins_with_what_it_was_called_by(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['mmhrnet', name, '--help'])
    with pytest.raises(SystemExit, match='0'):
        cli.main()
    assert capsys.readouterr().out.startswith(f'usage: mmhrnet {name} ')
    if name in TOOLS:
        monkeypatch.setattr(sys, 'argv', [TOOLS[name], '--help'])
        with pytest.raises(SystemExit, match='0'):
            runpy.run_path(str(ROOT / 'tools' / TOOLS[name]), run_name='__main__')
        assert capsys.readouterr().out.startswith(f'usage: {TOOLS[name]} ')


@pytest.mark.parametrize('command', ['--help', 'config mmhrnet::mmdet/faster_rcnn_hrnetv2p_w32'])
def test_a_reader_that_has_seen_enough_is_no_error(command: str) -> None:
    line = f'{sys.executable} -W ignore -m mmhrnet {command} | head -n 1'
    result = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S602
    assert len(result.stdout.splitlines()) == 1
    assert 'Broken pipe' not in result.stderr
    assert 'BrokenPipeError' not in result.stderr
