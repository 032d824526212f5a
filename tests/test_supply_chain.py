"""What this package is made of: no code that runs text, no package of known weakness."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for room in ('mmhrnet', 'tools') for path in (ROOT / room).rglob('*.py'))
RUNS_TEXT = {'eval', 'exec', '__import__'}
UNSAFE = {
    'os.system',
    'os.popen',
    'pickle.load',
    'pickle.loads',
    'pickle.Unpickler',
    'marshal.load',
    'marshal.loads',
    'shelve.open',
    'tempfile.mktemp',
    'yaml.load',
    'yaml.load_all',
    'yaml.unsafe_load',
    'yaml.full_load',
    'numpy.load',
    'torch.jit.load',
    'subprocess.getoutput',
    'subprocess.getstatusoutput',
    'mmengine.config.Config.fromstring',
    'mmengine.Config.fromstring',
}
SPAWN = re.compile(r'subprocess\.(run|Popen|call|check_call|check_output)|os\.(exec|spawn)\w+')

# Package, first fixed version, advisory. Where there are several, the highest fix stands here.
ADVISORIES = [
    ('torch', '2.6.0', 'CVE-2025-32434: weights_only=True ran code from tar files'),
    ('torch', '2.10.0', 'CVE-2026-24747: weights_only=True corrupted memory'),
    ('pillow', '10.2.0', 'CVE-2023-50447: ImageMath ran code'),
    ('pillow', '10.3.0', 'CVE-2024-28219: buffer overflow'),
    ('setuptools', '70.0.0', 'CVE-2024-6345: package_index ran code'),
    ('setuptools', '78.1.1', 'CVE-2025-47273: path traversal'),
    ('jinja2', '3.1.6', 'CVE-2025-27516: sandbox breakout'),
    ('urllib3', '2.6.3', 'CVE-2026-21441: decompression bomb in redirects'),
    ('urllib3', '2.7.0', 'CVE-2026-44432: decompression beyond what was asked for'),
    ('h11', '0.16.0', 'CVE-2025-43859: malformed chunked bodies were accepted'),
    ('starlette', '0.40.0', 'CVE-2024-47874: form fields without limit'),
    ('starlette', '0.47.2', 'CVE-2025-54121: large uploads blocked the server'),
    ('starlette', '0.49.1', 'CVE-2025-62727: quadratic time for Range headers'),
    ('python-multipart', '0.0.18', 'CVE-2024-53981: boundary parsing took the server'),
    ('gradio', '6.7', 'CVE-2026-28414: absolute paths on Windows with Python 3.13'),
    ('onnx', '1.13.0', 'CVE-2022-25882: external data outside the folder'),
    ('onnx', '1.21.0', 'CVE-2026-27489, CVE-2026-34446, CVE-2026-34447: the same through links'),
    ('filelock', '3.20.1', 'CVE-2025-68146: race with symbolic links'),
    ('certifi', '2024.7.4', 'CVE-2024-39689: roots of GLOBALTRUST'),
    ('idna', '3.7', 'CVE-2024-3651: quadratic time'),
    ('tqdm', '4.66.3', 'CVE-2024-34062: arguments of the command line were run'),
    ('zipp', '3.19.1', 'CVE-2024-5569: endless loop'),
]
HELD_BACK: dict[tuple[str, str], str] = {}  # (package, advisory) with the reason


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Full names of what a module imports, by the name that it has there."""
    names = {'np': 'numpy'}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f'{node.module}.{a.name}' for a in node.names}
    return names


def findings(text: str) -> Iterator[str]:
    """Calls and mentions in a module that could run text, a file's content, or a shell."""
    tree = ast.parse(text)
    names = imported_names(tree)

    def full(node: ast.expr) -> str:
        first, *rest = ast.unparse(node).split('.')
        return '.'.join([names.get(first, first), *rest])

    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = full(node)
            if name in UNSAFE or name.removeprefix('builtins.') in RUNS_TEXT:
                yield f'{name}, line {node.lineno}'
        if isinstance(node, ast.Call):
            yield from (f'{what}, line {node.lineno}' for what in bad_call(full(node.func), node))


def bad_call(name: str, call: ast.Call) -> Iterator[str]:
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if options.get('shell', 'False') != 'False':
        yield 'shell'
    torch_loader = name in ('torch.load', 'torch.hub.load_state_dict_from_url', 'torch.hub.load')
    if torch_loader and options.get('weights_only') != 'True':
        yield f'{name} without weights_only=True'
    if SPAWN.fullmatch(name) and not (call.args and isinstance(call.args[0], (ast.List, ast.Name))):
        yield f'{name} with a string'
    if name.rpartition('.')[2] == 'fromstring':
        yield 'a config out of text'


@pytest.mark.parametrize(
    'text',
    [
        'eval ( x )',
        'run = exec',
        'import builtins; builtins.eval(x)',
        'from os import system as s\ns(x)',
        'import pickle as p\np.loads(x)',
        'from pickle import load\nload(x)',
        'import yaml\nyaml.load(x, Loader=yaml.Loader)',
        'import torch\ntorch.load(x)',
        'import torch as t\nt.load(x, weights_only=False)',
        'from torch import load\nload(x)',
        'import subprocess\nsubprocess.run("ls")',
        'import subprocess\nsubprocess.run(x, shell = True)',
        'from tempfile import mktemp\nmktemp()',
        'from mmengine import Config\nConfig.fromstring(meta["cfg"], ".py")',
    ],
)
def test_the_search_is_not_fooled_by_formatting_or_names(text: str) -> None:
    assert list(findings(text))


def test_no_code_runs_text_files_or_shells() -> None:
    found = {
        f'{path.relative_to(ROOT)}: {what}'
        for path in SOURCES
        for what in findings(path.read_text(encoding='utf-8'))
    }
    assert not found
    assert len(SOURCES) > 60


def requirements() -> list[Requirement]:
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def test_every_requirement_is_one_exact_version_from_nowhere_special() -> None:
    text = (ROOT / 'requirements.txt').read_text(encoding='utf-8')
    assert 'uv pip compile' in text
    assert {'chumpy', 'xtcocotools'}.isdisjoint(r.name for r in requirements())
    assert len(requirements()) > 80
    assert not re.search(r'https?:|git\+|@|^\s*-', re.sub('(?m)^#.*$', '', text), re.MULTILINE)
    for requirement in requirements():
        (pin,) = requirement.specifier
        assert requirement.url is None, requirement
        assert pin.operator == '==', requirement
        assert '*' not in pin.version, requirement


@pytest.mark.parametrize(('package', 'fixed', 'advisory'), ADVISORIES)
def test_no_pin_is_below_the_fix_of_a_published_advisory(
    package: str, fixed: str, advisory: str
) -> None:
    pins = [next(iter(r.specifier)).version for r in requirements() if r.name == package]
    assert pins, f'{package} is no longer pinned: remove it from the table'
    held_back = (package, advisory.partition(':')[0]) in HELD_BACK
    assert held_back or all(Version(pin) >= Version(fixed) for pin in pins), (pins, advisory)


def test_text_of_a_checkpoint_is_data() -> None:
    """A config inside of a checkpoint is a program: it is shown and parsed, never run."""
    users = [path for path in SOURCES if 'ast.parse' in path.read_text(encoding='utf-8')]
    of_mmpretrain = 'mmpretrain_transformers.py'  # parses the sources that are installed
    assert sorted(p.name for p in users) == ['config_text.py', of_mmpretrain, 'publish.py']
