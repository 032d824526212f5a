"""What is installed: the wheel's contents, the pins, the layout of the network file."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_wheel_carries_configs_and_tools(tmp_path: Path) -> None:
    source = tmp_path / 'source'
    source.mkdir()
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source)
    for name in ('mmhrnet', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '-w', tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (
        'mmhrnet/.mim/model-index.yml',
        'mmhrnet/.mim/tools/train.py',
        'mmhrnet/.mim/configs/mmdet/metafile.yml',
        'mmhrnet/.mim/configs/mmdet/weights.yml',
        'mmhrnet/.mim/configs/mmdet/faster_rcnn_hrnetv2p_w32.py',
        'mmhrnet/.mim/configs/_base_/models/hrnetv2p_w32.py',
        'mmhrnet/py.typed',
    ):
        assert path in names
    assert not [name for name in names if name.startswith(('tests/', 'configs/', 'tools/'))]
    zipfile.ZipFile(wheel).extractall(tmp_path / 'installed')
    (tmp_path / 'elsewhere').mkdir()
    result = subprocess.run(
        [sys.executable, '-m', 'mmhrnet', 'config', 'mmhrnet::mmdet/faster_rcnn_hrnetv2p_w32'],
        cwd=tmp_path / 'elsewhere',
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'installed')},
        capture_output=True,
        text=True,
    )
    assert "type='mmhrnet.HRNetV2p'" in result.stdout, result.stderr
    assert not list((tmp_path / 'elsewhere').iterdir())


def depth(node: ast.AST) -> int:
    nests = isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try))
    return nests + max((depth(child) for child in ast.iter_child_nodes(node)), default=0)


def code_lines(node: ast.AST) -> int:
    """Lines that hold code: no blank line, comment or docstring."""
    docs = {
        id(n.body[0])
        for n in ast.walk(node)
        if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(n)
    }
    lines: set[int] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.expr | ast.stmt | ast.arg) and id(child) not in docs:
            lines |= {child.lineno, child.end_lineno}
    doc_lines = {
        line for n in ast.walk(node) if id(n) in docs for line in range(n.lineno, n.end_lineno + 1)
    }
    return len(lines - doc_lines)


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'mmhrnet/models').glob('*.py')), ids=lambda p: p.stem
)
def test_the_network_stays_small(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert code_lines(tree) <= 250
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for function in functions:
        assert code_lines(function) <= 40, function.name
        assert max((depth(child) for child in function.body), default=0) <= 2, function.name
