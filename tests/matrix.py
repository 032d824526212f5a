"""Builds the environments that users have, one after another, and uses mmhrnet in each of them.

``python tests/matrix.py [LEG ...] --page docs/environments.md``: a wheel is built and installed,
and everything runs from outside the clone. The page gets a row for each leg.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / 'work_dirs' / 'matrix'
TESTS = ('hrnet', 'necks', 'hosts', 'bridges', 'hub', 'checkpoints', 'detect')
CONFIGS = {
    'mmdet': 'mmdet/faster_rcnn_hrnetv2p_w18',
    'mmpose': 'mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192',
    'mmseg': 'mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024',
    'mmpretrain': 'mmpretrain/hrnet-w18-small-v1_4xb64_in1k',
}
SHORT = (
    'train_cfg.val_interval=2 train_dataloader.batch_size=2 val_dataloader.dataset.indices=4 '
    'default_hooks.checkpoint.interval=2 default_hooks.logger.interval=1 train_cfg.max_iters='
)
SHOWN = (
    *('torch', 'torchvision', 'numpy', 'opencv-python', 'opencv-python-headless', 'setuptools'),
    *('mmengine', 'mmcv', 'mmdet', 'mmpose', 'mmsegmentation', 'mmpretrain'),
    *('timm', 'segmentation-models-pytorch'),
)
TABLE = '| environment | versions | result | time |\n|---|---|---|---|\n'


@dataclass(frozen=True)
class Leg:
    """An environment: what is there, how mmhrnet comes, what has to work.

    Attributes:
        python: Version of Python.
        before: Requirements that are installed before mmhrnet, and must stay as they are.
        extras: Those of the wheel.
        pins: Requirements that are installed together with the wheel.
        alone: Requirements that are installed at last, without what they declare.
        pip: Install with plain pip.
        hosts: Libraries that train.
        tests: Files of tests.
        exports: Options of exports; graphs of free size need PyTorch 2.6, ONNX files 2.7.
    """

    python: str
    before: str = ''
    extras: str = ''
    pins: str = ''
    alone: str = 'mmpose'
    pip: bool = False
    hosts: Sequence[str] = tuple(CONFIGS)
    tests: Sequence[str] = TESTS
    exports: Sequence[str] = ('--format pt2', '--format onnx')


LEGS = {
    'floor': Leg(
        '3.10',
        extras='lite,det,pose,seg,cls',
        pins='torch==2.4.0 torchvision==0.19.0 numpy==1.26.4 mmengine==0.10.4 mmcv-lite==2.1.0 '
        'mmdet==3.2.0 mmsegmentation==1.2.1 mmpretrain==1.2.0 setuptools<82',
        alone='mmpose==1.2.0',
        exports=('--format pt2 --static',),
    ),
    'numpy1': Leg(
        '3.11',
        extras='lite,det,pose,seg,cls',
        pins='torch==2.5.1 torchvision==0.20.1 numpy==1.26.4 mmcv-lite==2.1.0',
        exports=('--format pt2 --static',),
    ),
    'newest': Leg('3.13', extras='lite,det,pose,seg,cls,export'),
    'OneDL': Leg('3.12', extras='onedl,pose,export'),
    'pip': Leg(
        '3.11',
        before='torch==2.5.1 torchvision==0.20.1 numpy==1.26.4 opencv-python==4.11.0.86 '
        'mmengine==0.10.7 mmcv-lite==2.1.0 mmdet==3.3.0',
        alone='',
        pip=True,
        hosts=('mmdet',),
        tests=('hrnet', 'necks'),
        exports=('--format pt2 --static',),
    ),
    'smp': Leg(
        '3.12',
        extras='lite',
        pins='segmentation-models-pytorch timm',
        alone='',
        hosts=(),
        tests=('timm',),
    ),
}


class StepError(Exception):
    """A step that did not end well."""


class Environment:
    """One leg, built in a folder that is removed again; every command is in its log."""

    def __init__(self, name: str, leg: Leg, folder: Path) -> None:
        self.leg, self.folder = leg, folder
        self.bin = folder / 'env' / 'bin'
        self.log = LOGS / f'{name}.log'
        self.log.write_text('')

    def run(self, *command: str | Path) -> str:
        """What a command prints; it runs in the folder, which knows no clone."""
        words = [str(word) for word in command]
        env = {**os.environ, 'MPLBACKEND': 'agg', **_pyenv()}
        env.pop('PYTHONPATH', None)
        result = subprocess.run(
            words, cwd=self.folder, env=env, text=True, capture_output=True, check=False
        )
        with self.log.open('a') as log:
            log.write(f'$ {" ".join(words)}\n{result.stdout}{result.stderr}\n')
        if result.returncode:
            lines = (result.stdout + result.stderr).strip().splitlines() or ['']
            tests = [line for line in lines if line.startswith(('FAILED ', 'ERROR '))]
            said = '; '.join(tests or lines[-1:])
            raise StepError(f'{Path(words[0]).name} {" ".join(words[1:3])}: {said}')
        return result.stdout

    def install(self, *requirements: str | Path) -> None:
        if not self.leg.pip:
            self.run('uv', 'pip', 'install', '--python', self.bin / 'python', *requirements)
        else:
            self.run(self.bin / 'pip', 'install', *requirements)

    def versions(self) -> dict[str, str]:
        listed = self.run('uv', 'pip', 'list', '--python', self.bin / 'python', '--format=json')
        return {package['name']: package['version'] for package in json.loads(listed)}

    def build(self, wheel: Path) -> None:
        """The environment, with mmhrnet as a user installs it."""
        self.run('uv', 'venv', '--seed', '--python', self.leg.python, self.folder / 'env')
        if self.leg.before:
            self.install(*self.leg.before.split())
        before = self.versions() if self.leg.before else {}
        extras = f'[{self.leg.extras}]' if self.leg.extras else ''
        self.install(f'{wheel}{extras}', *self.leg.pins.split())
        if self.leg.alone:
            self.install('--no-deps', *self.leg.alone.split())
        after = self.versions()
        changed = [name for name in before if after.get(name) != before[name]]
        if before and 'opencv-python-headless' in after:
            changed.append('OpenCV')
        if changed:
            raise StepError(f'installing mmhrnet changed {", ".join(changed)}')
        self.install('pytest', 'hypothesis', 'timm')

    def steps(self) -> Iterator[tuple[str, list[tuple[str | Path, ...]]]]:
        """What a user does, by name, each as a list of commands."""
        own = self.bin / 'mmhrnet'
        yield 'doctor', [(own, 'doctor')]
        files = [ROOT / f'tests/test_{name}.py' for name in self.leg.tests]
        yield 'tests', [(self.bin / 'pytest', '-p', 'no:cacheprovider', *files)]
        for host in self.leg.hosts:
            config = f'mmhrnet::{CONFIGS[host]}'
            train = (own, 'train', config, '--mini', '--work-dir', host)
            settings = [('--cfg-options', *f'{SHORT}{iters}'.split()) for iters in (2, 4)]
            yield host, [(*train, *settings[0]), (*train, '--resume', *settings[1])]
        for host in self.leg.hosts[-1:]:
            weights = (f'{host}/{Path(CONFIGS[host]).stem}.py', f'{host}/iter_4.pth')
            exports = [options.split() for options in self.leg.exports]
            yield 'export', [(own, 'export', *weights, *options) for options in exports]

    def use(self) -> dict[str, str]:
        """Each step with what went wrong, empty if nothing did."""
        results = {}
        for name, commands in self.steps():
            results[name] = ''
            try:
                for command in commands:
                    self.run(*command)
            except StepError as failure:
                results[name] = str(failure)
            print(f'  {name}: {results[name] or "passed"}', flush=True)
        return results


def _pyenv() -> dict[str, str]:
    """All versions that pyenv has, where it is what finds them."""
    if shutil.which('pyenv') is None:
        return {}
    command = ['pyenv', 'versions', '--bare']
    listed = subprocess.run(command, text=True, capture_output=True)
    return {'PYENV_VERSION': ':'.join(listed.stdout.split())}


def build_wheel(folder: Path) -> Path:
    """The wheel of this clone, from a copy, so that nothing is left in it."""
    source = folder / 'source'
    command = ['uv', 'build', '-q', '--wheel', '-o', folder, source]
    ignore = shutil.ignore_patterns('.git', '.venv', 'work_dirs', 'data', 'build', '__pycache__')
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignore)
    subprocess.run(command, check=True)
    return next(folder.glob('*.whl'))


def run_leg(name: str, wheel: Path) -> tuple[str, bool]:
    """A row of the table, and whether everything in it went well."""
    leg, start = LEGS[name], time.monotonic()
    print(name, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(name, leg, Path(folder))
        try:
            environment.build(wheel)
            results = environment.use()
        except StepError as failure:
            results = {'install': str(failure)}
            print(f'  install: {failure}', flush=True)
        versions = environment.versions()
    shown = [f'Python {leg.python}', *(f'{n} {versions[n]}' for n in sorted(versions) if _shown(n))]
    failed = [f'{step} **fails**: {why}' for step, why in results.items() if why]
    passed = [step for step, why in results.items() if not why]
    text = '; '.join([f'{", ".join(passed)} pass' if passed else '', *failed]).strip('; ')
    minutes = (time.monotonic() - start) / 60
    return f'| {name} | {", ".join(shown)} | {text} | {minutes:.0f} min |', not failed


def _shown(package: str) -> bool:
    plain = package.removeprefix('onedl-').replace('mmdetection', 'mmdet').removesuffix('-lite')
    return package in SHOWN or plain in SHOWN


def write_row(page: Path, name: str, row: str) -> None:
    """Replaces the row of a leg in the table of the page."""
    head, table, body = page.read_text(encoding='utf-8').partition(TABLE)
    rows = {line.split(' | ')[0].strip('| '): line for line in body.splitlines()} | {name: row}
    lines = [rows[leg] for leg in LEGS if leg in rows]
    page.write_text(head + table + '\n'.join(lines) + '\n', encoding='utf-8')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('legs', nargs='*', default=list(LEGS), metavar='LEG', help=', '.join(LEGS))
    parser.add_argument('--page', type=Path, help='page whose table gets the rows')
    args = parser.parse_args()
    unknown = set(args.legs) - set(LEGS)
    if unknown:
        parser.error(f'no leg {", ".join(unknown)}; those are {", ".join(LEGS)}')
    LOGS.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for name in args.legs:
            row, good = run_leg(name, wheel)
            print(row, flush=True)
            if args.page:
                write_row(args.page, name, row)
            if not good:
                failed.append(name)
    sys.exit(f'{", ".join(failed)} failed; the logs are in {LOGS}' if failed else 0)


if __name__ == '__main__':
    main()
