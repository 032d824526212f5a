"""docs/your_data.md: its files, configs, commands and messages are what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_data import write_own_data
from PIL import Image

from mmhrnet import apis
from mmhrnet.config.check import check_data

PAGE = (Path(__file__).resolve().parents[1] / 'docs/your_data.md').read_text()
CONFIGS = dict(re.findall(r'`(\w+)\.py`.*?```python\n(.*?)```', PAGE, re.DOTALL))
COMMANDS = re.findall(r'^mmhrnet .*', PAGE, re.MULTILINE)
FILES = re.findall(r'^data/\S+', PAGE, re.MULTILINE)
EXAMPLES = [json.loads(text) for text in re.findall(r'```json\n(.*?)```', PAGE, re.DOTALL)]
SECTIONS = re.findall(r'^## .*?(?=^## |\Z)', PAGE, re.MULTILINE | re.DOTALL)
ROW = re.compile(r'^\| (?!mistake|-)(.*) \| (?:a warning: )?`(.*)` \|$', re.MULTILINE)
EPOCH = ['train_cfg.max_epochs=1']
ITERATIONS = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
SMALL = '(160,128)'  # instead of 1333 by 800 pixels
RESIZES = ('train_dataloader.dataset.pipeline.2', 'val_dataloader.dataset.pipeline.1')
FEW = ['train_dataloader.batch_size=2', 'val_dataloader.dataset.indices=2']


@pytest.fixture(scope='session')
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and the configs of the page."""
    folder = tmp_path_factory.mktemp('own')
    write_own_data(folder, num_train=12, num_val=8)
    for name, code in CONFIGS.items():
        (folder / f'{name}.py').write_text(code)
    return folder


@pytest.fixture
def project(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to make mistakes in, as the working folder."""
    folder = shutil.copytree(drawn, tmp_path / 'project')
    monkeypatch.chdir(folder)
    return folder


def check(name: str) -> None:
    check_data(apis.make_config(f'{name}.py'))


def test_the_page_has_four_recipes(drawn: Path) -> None:
    assert [*CONFIGS] == ['parts', 'people', 'scenes', 'places']
    assert [command.split()[1] for command in COMMANDS] == ['train', 'train', 'test', 'demo'] * 4
    assert len(FILES) == 18
    assert [file for file in FILES if not (drawn / file).exists()] == []


@pytest.mark.parametrize('name', CONFIGS)
def test_config_and_files_fit(name: str, project: Path) -> None:
    check(name)


@pytest.mark.parametrize(('name', 'example'), zip(('parts', 'people'), EXAMPLES))
def test_the_examples_of_files_are_complete(name: str, example: dict, project: Path) -> None:
    for split in ('train', 'val'):
        (project / f'data/{name}/{split}.json').write_text(json.dumps(example))
        Image.new('RGB', (640, 480)).save(project / f'data/{name}/{split}/001.jpg')
    check(name)


def edit(old: str, new: str) -> Callable[[Path, str], None]:
    """A mistake in the config."""

    def change(project: Path, name: str) -> None:
        path = project / f'{name}.py'
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def annotate(change: Callable[[dict], object]) -> Callable[[Path, str], None]:
    """A mistake in the annotations."""

    def write(project: Path, name: str) -> None:
        path = project / f'data/{name}/train.json'
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return write


def repaint(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path, str], None]:
    """A mistake in a label map."""

    def save(project: Path, name: str) -> None:
        path = min((project / f'data/{name}/labels/train').iterdir())
        change(Image.open(path)).save(path)

    return save


def rename_nut(content: dict) -> None:
    content['categories'][0]['name'] = 'Nut'


def to_corners(content: dict) -> None:
    for annotation in content['annotations']:
        x, y, width, height = annotation['bbox']
        annotation['bbox'] = [x, y, x + width, y + height]


def add_joint(content: dict) -> None:
    for annotation in content['annotations']:
        annotation['keypoints'] += [1, 1, 2]


def drop_bolts(content: dict) -> None:
    kept = [a for a in content['annotations'] if a['category_id'] != 2]
    content['annotations'] = kept


def add_folder(project: Path, name: str) -> None:
    for split in ('train', 'val'):
        places = project / f'data/{name}/{split}'
        shutil.copytree(places / 'beach', places / 'forest')


def empty_folder(project: Path, name: str) -> None:
    folder = project / f'data/{name}/train/beach'
    shutil.rmtree(folder)
    folder.mkdir()


def drop_map(project: Path, name: str) -> None:
    min((project / f'data/{name}/labels/train').iterdir()).unlink()


MISTAKES = {  # by recipe and by the page's words
    'parts': {
        "a name differs from the file's": annotate(rename_nut),
        'the classes are in another order': annotate(lambda c: c['categories'].reverse()),
        "the head still has COCO's classes": edit('num_classes=3', 'num_classes=80'),
        "the evaluator still has COCO's file": edit("dict(ann_file='data/parts/val.json')", '{}'),
        'boxes are two corners': annotate(to_corners),
        'a class has no annotation': annotate(drop_bolts),
    },
    'people': {
        "the head still has COCO's joints": edit('out_channels=4', 'out_channels=17'),
        'a list is too short': edit('0.026, 0.079', '0.026'),
        'a name in `swap` or `link` is misspelt': edit(
            "swap='left_shoulder'", "swap='left_sholder'"
        ),
        'the file has other joints': annotate(add_joint),
        '`bbox_file=None` is missing': edit(', bbox_file=None', ''),
    },
    'scenes': {
        'a map has a class too many': repaint(lambda m: m.point([3, *range(1, 256)])),
        'a map is a picture in colours': repaint(lambda m: m.convert('RGB')),
        'a map has another size': repaint(lambda m: m.resize((9, 9))),
        'an image has no map': drop_map,
        'the head still has another number': edit('num_classes=3', 'num_classes=171'),
    },
    'places': {
        "the head still has ImageNet's classes": edit('num_classes=3))', 'num_classes=1000))'),
        'a folder is not in `classes`': add_folder,
        'the classes are in another order': edit("'beach', 'desert'", "'desert', 'beach'"),
        'a folder is empty': empty_folder,
        'fewer classes than the evaluator counts': edit('dict(topk=1)', '{}'),
    },
}


def messages() -> Iterator[object]:
    for (name, mistakes), section in zip(MISTAKES.items(), SECTIONS, strict=True):
        rows = dict(ROW.findall(section))
        assert [*rows] == [*mistakes]
        for words, mistake in mistakes.items():
            yield pytest.param(name, mistake, rows[words], id=f'{name}: {words}')


@pytest.mark.parametrize(('name', 'mistake', 'message'), messages())
def test_the_page_says_what_the_message_says(
    name: str,
    mistake: Callable[[Path, str], None],
    message: str,
    project: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mistake(project, name)
    said = ''
    try:
        check(name)
    except apis.ConfigError as error:
        said = str(error)
    assert message in (said or caplog.text)


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_the_commands_of_a_recipe_run(name: str, project: Path) -> None:
    for command in (c for c in COMMANDS if f' {name}.py' in c):
        _, tool, *words = shlex.split(command)
        if tool == 'train' and '--mini' in words:
            words += ['--cfg-options', *ITERATIONS, *FEW]
        elif tool == 'train':
            short = ITERATIONS if name == 'scenes' else EPOCH  # as the config counts
            few = ['train_dataloader.dataset.indices=4', *FEW]
            if name == 'parts':
                few += [f'{key}.scale={SMALL}' for key in RESIZES]
            words += ['--from-scratch', '--cfg-options', *short, *few]
        elif name == 'parts':
            words += ['--cfg-options', f'test_dataloader.dataset.pipeline.1.scale={SMALL}']
        best = next((project / f'work_dirs/{name}').glob('best_*.pth'), None)
        words = [str(best) if word == 'CHECKPOINT' else word for word in words]
        result = subprocess.run(
            [sys.executable, '-m', 'mmhrnet', tool, *words], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    assert len(list((project / 'pictures').glob('*.png')))
    assert len(list((project / 'work_dirs/demo').glob('*.json')))
