"""``mmhrnet doctor``: what is installed here, what is wrong with it, and which gaps are bridged.

It needs nothing but Python, for it is wanted where something is missing. The version of a library
is asked of the distribution that its module came from, for one module may come from several:
mmcv from ``mmcv``, ``mmcv-lite`` and ``onedl-mmcv``.
"""

from __future__ import annotations

import platform
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from mmhrnet.bridges import bridge_reasons
from mmhrnet.hosts import known_hosts

# Lowest version that is tested, and the name that pip knows it by. They stand in pyproject.toml
# too, but for OpenCV, MMEngine and MMCV: a declared one would overwrite another build of theirs.
REQUIRED = {
    'torch': ('2.4', 'torch'),
    'torchvision': ('0.19', 'torchvision'),
    'mmengine': ('0.10.4', 'mmengine'),
    'mmcv': ('2.1.0', 'mmcv-lite'),
    'cv2': ('4.5', 'opencv-python-headless'),
    'numpy': ('1.26', 'numpy'),
    'PIL': ('9.0', 'pillow'),
    'packaging': ('21.0', 'packaging'),
    'pycocotools': ('2.0.6', 'pycocotools'),
    'matplotlib': ('3.5', 'matplotlib'),
    'pydantic': ('2.8', 'pydantic'),
    'rich': ('13.0', 'rich'),
    'safetensors': ('0.4', 'safetensors'),
}
OTHERS = ('xtcocotools', 'setuptools', 'timm', 'onnx', 'onnxruntime', 'openvino')
# The maintained forks have the modules of the originals under other names.
FORKS = {
    'mmengine': 'onedl-mmengine',
    'mmcv-lite': 'onedl-mmcv',
}
DECLARE_OPENCV = ('mmengine', 'mmcv-lite', 'onedl-mmcv', 'onedl-mmsegmentation')
NEEDS_OF_MMENGINE = ('addict', 'pyyaml', 'termcolor', 'yapf')
OLD_ABI = re.compile(r'numpy\.\w+ size changed|compiled using NumPy 1|_ARRAY_API|multiarray')


def diagnose() -> int:
    """Prints the tables and what is wrong, with the command that mends it; 1 if something is."""
    for table in (_versions(), _bridges()):
        _print_table(table)
    problems = find_problems()
    print('Nothing is wrong.' if not problems else 'What is wrong:')
    for problem in problems:
        print(f'  {problem}')
    return bool(problems)


def find_problems() -> list[str]:
    """One line for each thing that is wrong here, with the command that mends it."""
    missing = find_missing()
    found = [*([missing] if missing else []), *_doubles(), *_old()]
    return found or _failing()  # what is missing fails everything else


def find_missing(modules: Iterable[str] = REQUIRED) -> str:
    """What of these is not installed, with the one command that helps; empty if all is."""
    missing = [module for module in modules if find_spec(module) is None]
    verb = 'is' if len(missing) == 1 else 'are'
    names = ', '.join(missing)
    return f'{names} {verb} not installed: {install_command(missing)}' if missing else ''


def install_command(modules: Sequence[str]) -> str:
    """The command that brings these modules and overwrites no build that is here.

    Of MMEngine and MMCV it names the line that is here, the original or OneDL's. An OpenCV that
    is not called opencv-python, which these two declare, stays, and so does NumPy 1.
    """
    hosts = known_hosts()
    special = [hosts[module].install for module in modules if module in hosts]
    if any(special):
        return next(filter(None, special))
    names = [_tested()[module][1] for module in modules]
    forks = {host.distribution: host.fork for host in hosts.values() if host.fork} | FORKS
    if any(name in forks.values() for name in distributions('mmengine')):
        names = [forks.get(name, name) for name in names]
    openmm = [name for name in names if name in DECLARE_OPENCV]
    brought = {*openmm, 'opencv-python-headless'} if openmm else set()  # OpenCV comes with them
    others = [name for name in names if name not in brought]
    numpy = ["'numpy<2'"] if _major('numpy') == 1 else []
    if not openmm or distributions('cv2') in ([], ['opencv-python']):
        return f'pip install {" ".join([*others, *openmm, *numpy])}'
    others += NEEDS_OF_MMENGINE
    return f'pip install {" ".join([*others, *numpy])} && pip install --no-deps {" ".join(openmm)}'


def _tested() -> dict[str, tuple[str, str]]:
    """Lowest version and pip's name of what is required, and of the hosts."""
    hosts = {name: (host.floor, host.distribution) for name, host in known_hosts().items()}
    return {**REQUIRED, **hosts}


def distributions(module: str) -> list[str]:
    """Names of the installed distributions that brought this module."""
    return sorted(set(_owners().get(module, ())))


@cache
def _owners() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _versions() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [('module', 'version', 'from')]
    rows.append(('python', platform.python_version(), ''))
    for module in ('mmhrnet', *_tested(), *OTHERS):
        names = distributions(module)
        version = ', '.join(map(metadata.version, names))
        source = ', '.join(names) or _folder(module)
        rows.append((module, version or '-', source))
    return [*rows, ('device', _device(), '')]


def _folder(module: str) -> str:
    """Where a module is that no distribution brought, as one of PYTHONPATH."""
    spec = find_spec(module)
    return str(Path(spec.origin).parent) if spec and spec.has_location and spec.origin else ''


def _bridges() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [('bridge', 'active', 'why')]
    for name, reason in bridge_reasons().items():
        rows.append((name, 'yes' if reason else 'no', reason or 'not needed here'))
    return rows


def _doubles() -> list[str]:
    found = {
        module: distributions(module) for module in ('cv2', 'mmengine', 'mmcv', *known_hosts())
    }
    # OneDL's own requirements bring two builds of OpenCV; of one version, either one works.
    same = len(set(map(metadata.version, found['cv2']))) == 1
    return [
        f'{module} comes from {" and ".join(names)}, which overwrite each other: '
        f'pip uninstall -y {" ".join(names)}, then pip install --no-deps the one that you want'
        for module, names in found.items()
        if len(names) > 1 and not (module == 'cv2' and same)
    ]


def _old() -> list[str]:
    found = []
    for module, (floor, _) in _tested().items():
        for name in distributions(module):
            version = metadata.version(name)
            if _parts(version) < _parts(floor):
                found.append(f"{name} {version} is too old: pip install '{name}>={floor}'")
    return found


def _failing() -> list[str]:
    found = []
    for module in _tested():
        if find_spec(module) is not None:
            found += _import_error(module)
    return found


def _import_error(module: str) -> list[str]:
    """What importing says, in one line; its warnings are the libraries' own."""
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter('ignore')
            import_module(module)
    except Exception as error:  # a module is a program, which may raise anything
        said = f'{type(error).__name__}: {error}'.strip().splitlines()[0]
        return [f'{module} cannot be imported ({said}){_advice(error)}']
    return []


def _advice(error: Exception) -> str:
    said = str(error)
    if OLD_ABI.search(said):
        return ": it was compiled for another numpy, try pip install 'numpy<2'"
    if 'libGL' in said or 'libgthread' in said:
        return ': pip uninstall -y opencv-python && pip install opencv-python-headless'
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f': pip install {error.name.partition(".")[0]}'
    return ''


def _major(module: str) -> int | None:
    """Of the version that is installed."""
    names = distributions(module)
    return _parts(metadata.version(names[0]))[0] if names else None


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r'\d+', version.partition('+')[0])[:3]]


def _device() -> str:
    try:
        import torch
    except Exception:  # said among what is wrong
        return '-'
    if torch.cuda.is_available():
        return f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    return f'{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} threads'


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()
