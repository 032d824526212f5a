"""The rooms of the package: arrows run down, and nothing runs in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'mmhrnet'
# From the bottom up: a room imports itself and those before it.
ROOMS = (
    *('runtime', 'errors', 'files', 'terminal', 'download', 'registry', 'walk'),
    *('models', 'checkpoints', 'datasets', 'hosts', 'hub', 'bridges', 'doctor'),
    *('config', 'inference', 'training', 'deploy', 'zoo', 'benchmark', 'apis', 'cli'),
)


def imports(path: Path) -> Iterator[str]:
    """Modules of mmhrnet that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mmhrnet'):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
            yield from (name if is_module(name) else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith('mmhrnet.'))


def is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace('.', '/')
    return path.is_dir() or path.with_suffix('.py').is_file()


def files() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob('*.py'):
        if '.mim' not in path.parts:
            name = '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts)
            found[name.removesuffix('.__init__')] = path
    return found


def test_arrows_run_down() -> None:
    for name, path in files().items():
        room = name.split('.')[1] if '.' in name else '__init__'
        if room in ('__init__', '__main__'):  # the doors
            continue
        below = ROOMS[: ROOMS.index(room) + 1]
        for other in imports(path):
            assert other == 'mmhrnet' or other.split('.')[1] in below, f'{name} imports {other}'


def test_no_file_is_in_a_circle() -> None:
    modules = files()
    graph = {name: set(imports(path)) & set(modules) - {name} for name, path in modules.items()}
    for name in graph:  # a package is what its __init__ imports
        graph[name] -= {'mmhrnet'}
    TopologicalSorter(graph).prepare()
