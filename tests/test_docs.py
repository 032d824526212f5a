"""What README and docs show works: each command, each piece of Python, each link."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from fake_hub import TOKEN
from test_swap import configs_of

from mmhrnet import create_model
from mmhrnet.cli import make_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
RECORDS = ROOT / 'docs/benchmarks.md'  # how the figures there were measured, in hours
TOOL = (
    r'(?:python tools/\w+\.py|python -m mmhrnet \w+|(?<!-m )mmhrnet (?:doctor|mini|run))[^`\n#|]*'
)
TARGET = r'make (?:demo|test|reliability|lint|docs|setup|clean)[\w-]*(?: TASK=\w+)?'
COMMAND = re.compile(rf'\b(?:{TOOL}|{TARGET})')
CODE = re.compile(r'```python\n(.*?)```', re.DOTALL)

CLS = 'configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
DET = 'configs/mmdet/mask-rcnn_hrnetv2p-w18-1x_coco.py'
HOST = str(configs_of('mmpretrain') / 'hrnet/hrnet-w18_4xb32_in1k.py')
TWO_STEPS = [
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1',
]
TWO_IMAGES = ['test_dataloader.dataset.indices=2']
NOT_RUN = {  # the reason, by how the command begins
    'make': 'it is what runs these tests, or hours',
    'python tools/download_dataset.py coco': 'gigabytes of downloads',
    'python -m mmhrnet weights fetch': 'downloads; test_fetch.py runs it on a server of its own',
    'python -m mmhrnet publish': 'it uploads; test_push.py runs it on a server of its own',
    'python -m mmhrnet weights bundle': 'gigabytes of downloads',
    'python -m mmhrnet zoo evaluate --all': 'downloads; test_dossier.py has a zoo of its own',
    'python tools/benchmark.py --gpu': 'it needs a GPU; test_gpu.py runs it on a CPU',
    'python -m mmhrnet run': 'needs a checkout of MMDetection; test_bridges.py runs a script',
}


def commands_of(pages: list[Path]) -> list[str]:
    found = {' '.join(m[0].split()) for page in pages for m in COMMAND.finditer(page.read_text())}
    return sorted(f'python -m {c}' if c.startswith('mmhrnet ') else c for c in found)


COMMANDS = commands_of(PAGES)
TO_RUN = [
    command
    for command in commands_of([page for page in PAGES if page != RECORDS])
    if not command.startswith(tuple(NOT_RUN))
]


@pytest.mark.parametrize('command', [c for c in COMMANDS if c.startswith('python tools/')])
def test_tools_take_the_commands_shown(command: str) -> None:
    _, tool, *arguments = shlex.split(command)
    name = next(iter(re.findall(r"run\('([\w ]+)'", (ROOT / tool).read_text())))
    args = make_parser(name, tool)[0].parse_args(arguments)
    config = getattr(args, 'config', None) or 'CONFIG'
    assert not config.startswith('configs/') or (ROOT / config).is_file()


@pytest.mark.parametrize('command', [c for c in COMMANDS if c.startswith('make ')])
def test_make_knows_the_targets_shown(command: str) -> None:
    subprocess.run([*shlex.split(command), '--dry-run'], cwd=ROOT, check=True, capture_output=True)


def test_every_tool_is_shown_and_many_commands() -> None:
    tools = {path.name for path in (ROOT / 'tools').glob('*.py')}
    shown = (ROOT / 'docs/tools.md').read_text()
    assert {name for name in tools if f'`{name}`' not in shown} == set()
    assert len(COMMANDS) >= 50


def test_scripts_shown_are_there() -> None:
    """tests/test_distributed.py runs them."""
    scripts = {name for page in PAGES for name in re.findall(r'tools/\w+\.sh', page.read_text())}
    assert len(scripts) >= 4
    assert all((ROOT / name).is_file() for name in scripts)


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / 'SECURITY.md', ROOT / 'CODE_OF_CONDUCT.md']:
        for target in re.findall(r'\]\(([^)#]+)\)', page.read_text()):
            assert '://' in target or (page.parent / target).exists(), (page.name, target)


@pytest.mark.parametrize(
    ('tag', 'notes'),
    [('v1.2.3', '### Added\n\n- this\n\n'), ('v1.2', None), ('v0.1.0', 'the first\n')],
)
def test_the_release_takes_its_notes_from_the_changelog(
    tag: str, notes: str | None, tmp_path: Path
) -> None:
    """``None``: a version without a section fails, and with it the release."""
    log = '# Log\n\n## [1.2.3] - day\n### Added\n\n- this\n\n## [0.1.0]\nthe first\n'
    (tmp_path / 'CHANGELOG.md').write_text(log)
    jobs = yaml.safe_load((ROOT / '.github/workflows/release.yml').read_text())['jobs']
    (step,) = (s for s in jobs['build']['steps'] if s.get('name') == 'Write the notes')
    env = {**os.environ, 'GITHUB_REF_NAME': tag}
    command = ['bash', '-e', '-c', step['run']]
    status = subprocess.run(command, cwd=tmp_path, env=env).returncode
    assert (status == 0) == (notes is not None)
    assert (tmp_path / 'notes.md').read_text() == (notes or '')
    assert jobs['publish']['needs'] == ['test', 'build']


def test_every_public_name_is_on_its_page_of_the_interface(tmp_path: Path) -> None:
    pytest.importorskip('pdoc')
    module = runpy.run_path(str(ROOT / 'docs/api.py'))
    script = [sys.executable, '-W', 'ignore', ROOT / 'docs/api.py', tmp_path]
    subprocess.run(script, check=True, cwd=ROOT)
    for name in module['PAGES']:
        page = (tmp_path / name.replace('.', '/')).with_suffix('.html').read_text()
        public = importlib.import_module(name).__all__
        assert [n for n in public if f'id="{n}"' not in page] == [], name
        fetched = r'(?:src|@import|stylesheet"[^>]*href)="?https?:'
        assert not re.search(fetched, page), name
    page = (tmp_path / 'mmhrnet/deploy.html').read_text()
    assert 'Raises' in page
    assert ':func:<code>' not in page


@pytest.fixture(scope='module')
def workspace(tmp_path_factory: pytest.TempPathFactory, scene: Path) -> Path:
    """A folder like a checkout, with data where the configs look for them."""
    from mmhrnet.datasets import mini_root

    folder = tmp_path_factory.mktemp('checkout')
    for name in ('configs', 'docs', 'tools'):
        shutil.copytree(ROOT / name, folder / name)
    write_like_coco(mini_root(), folder / 'data/coco')
    shutil.copy(scene, folder / 'IMAGE.jpg')
    model = create_model('hrnet_w18_small_v1', num_classes=4)
    torch.save(model.state_dict(), folder / 'own.pth')
    return folder


def write_like_coco(source: Path, target: Path) -> None:
    """The embedded data set with the 80 categories that COCO's models know."""
    from mmdet.datasets import CocoDataset

    (target / 'annotations').mkdir(parents=True)
    names = CocoDataset.METAINFO['classes']
    for split in ('train2017', 'val2017'):
        (target / split).symlink_to(source / split)
        for kind in ('instances', 'person_keypoints'):
            content = json.loads((source / f'annotations/{kind}_{split}.json').read_text())
            if kind == 'instances':
                categories = [{'id': i, 'name': name} for i, name in enumerate(names, 1)]
                content['categories'] = categories
            (target / f'annotations/{kind}_{split}.json').write_text(json.dumps(content))


@pytest.fixture(scope='module')
def weights(workspace: Path, untrained: Callable) -> Callable[[str, bool], tuple[str, str]]:
    """A config as a training leaves it, and its checkpoint."""

    def make(config: str, mini: bool) -> tuple[str, str]:
        left, checkpoint = map(str, untrained(config, mini))
        return left if mini else config, checkpoint

    return make


@pytest.fixture(scope='module')
def runs(workspace: Path) -> None:
    """Two short trainings where the documentation has its runs."""
    options = ['--cfg-options', *TWO_STEPS]
    for name in ('demo_cls', 'A', 'B'):
        command = f'python tools/train.py {CLS} --mini --work-dir work_dirs/{name}'
        run([*shlex.split(command), *options], workspace)


def run(command: list[str], folder: Path, **env: str) -> None:
    result = subprocess.run(
        [sys.executable, *command[1:]],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


def prepare(command: str, weights: Callable[[str, bool], tuple[str, str]]) -> list[str]:
    """The command with files for its placeholders, and with options that make it short."""
    command = command.replace('HOST_CONFIG', HOST)
    words = shlex.split(command)
    left, checkpoint = weights(*((DET, False) if '--data-root' in words else (CLS, True)))
    places = {
        'CONFIG': left,
        'CHECKPOINT': checkpoint,
        'IMAGE': 'IMAGE.jpg',
        'PATH': 'data/coco',
        'DIR': 'scenes',
        'scenes/val2017': 'data/coco/val2017',
        'SRC.pth': checkpoint,
        'zoo.yml': 'zoo.yml',
    }
    words = [places.get(word, word) for word in words]
    if HOST in words:
        words.append('--mini')
    return words + shorten(words)


def shorten(words: list[str]) -> list[str]:
    tool, mini = Path(words[1]).stem, '--mini' in words
    if tool == 'train' and mini:
        return ['--cfg-options', *TWO_STEPS, 'val_dataloader.dataset.indices=2']
    if tool == 'train':
        short = ['train_dataloader.dataset.indices=4', 'train_cfg.max_epochs=1']
        small = ['train_dataloader.batch_size=1']
        from_scratch = [] if '--from-scratch' in words else ['--from-scratch']
        return [*from_scratch, '--no-validate', '--cfg-options', *short, *small]
    if tool in ('test', 'benchmark_zoo'):
        return ['--cfg-options', *TWO_IMAGES]
    if tool == 'benchmark' and '--quick' not in words:
        forms = [] if '--rewrites' in words else ['--forms', 'eager', 'channels_last']
        return ['--shape', '128x128', '--rounds', '1', *forms]
    return []


def publish(config: str, checkpoint: str, home: Path) -> None:
    """Puts weights where a download of the published ones would be.

    A process that starts with this folder on its path takes them in spite of their SHA-256.
    """
    from mmhrnet.config.weights import find_weights

    patch = 'from mmhrnet.checkpoints import places\nplaces.checksum_of = lambda name: None\n'
    (home / 'sitecustomize.py').write_text(patch)

    cache = home / 'hub/checkpoints'
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint, cache / find_weights(config, None).rpartition('/')[2])


@pytest.mark.slow
@pytest.mark.parametrize('command', [c for c in TO_RUN if 'web_demo' not in c])
def test_commands_run(
    command: str,
    workspace: Path,
    weights: Callable[[str, bool], tuple[str, str]],
    runs: None,
    tmp_path: Path,
) -> None:
    words = prepare(command, weights)
    if any(tool in command for tool in ('demo.py', 'zoo.py')) and 'CHECKPOINT' not in command:
        for config in {word for word in words if word.startswith('configs/')}:
            publish(*weights(config, False), tmp_path)
    entry = dict(zip(('config', 'checkpoint'), weights(DET, False)))
    (workspace / 'zoo.yml').write_text(str([entry]))
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    run(words, workspace, TORCH_HOME=str(tmp_path), PYTHONPATH=path)


@pytest.mark.slow
@pytest.mark.parametrize('command', [c for c in TO_RUN if 'web_demo' in c])
def test_the_web_page_is_served_until_it_is_stopped(command: str, workspace: Path) -> None:
    words = [sys.executable, '-u', *shlex.split(command)[1:]]
    server = subprocess.Popen(words, cwd=workspace, stdout=subprocess.PIPE, text=True)
    try:
        assert 'web page: http://127.0.0.1:' in server.stdout.readline()
        time.sleep(1)
        assert server.poll() is None
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.mark.parametrize(
    ('page', 'code'),
    [
        pytest.param(page, code, id=f'{page.stem}-{index}')
        for page in PAGES
        for index, code in enumerate(CODE.findall(page.read_text()))
    ],
)
def test_python_of_the_documentation_runs(
    page: Path,
    code: str,
    workspace: Path,
    weights: Callable[[str, bool], tuple[str, str]],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a namespace with a network and images, or as a config where it inherits one."""
    from mmengine.config import Config

    from mmhrnet import HRNet
    from mmhrnet.deploy import export

    if '.cuda()' in code and not torch.cuda.is_available():
        pytest.skip('it needs a GPU')
    monkeypatch.chdir(workspace)
    if code.startswith('_base_'):
        folder = '.' if "'configs/" in code else 'configs/mmdet'
        path = Path(folder, 'of_the_documentation.py')
        path.write_text(code)
        assert Config.fromfile(path).model.backbone.type == 'mmhrnet.HRNet'
        return
    network, images = HRNet('w18_small_v1').eval(), torch.rand(2, 3, 64, 64)
    if 'model.pt2' in code:
        export(network, images, Path('model.pt2'), format='pt2')
    if 'hf://user/model' in code:
        request.getfixturevalue('hub')
        create_model('hrnet_w18_small_v1').push_to_hub('user/model', token=TOKEN)
    code = code.replace("'HOST_CONFIG'", repr(HOST)).replace("'IMAGE'", "'IMAGE.jpg'")
    for place, path in zip(('CONFIG', 'CHECKPOINT'), weights(CLS, True)):
        code = code.replace(f"'{place}'", repr(path))
    exec(code, {'model': network, 'images': images, 'torch': torch})  # noqa: S102
