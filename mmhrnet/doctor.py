"""``mmhrnet doctor``: what is installed here, what is wrong with it, and which gaps are bridged.

It needs nothing but Python, because it is run when something is missing. It reads the version of a
library from the distribution that brought its module, because several may bring the same one: mmcv
comes from ``mmcv``, ``mmcv-lite`` and ``onedl-mmcv``.
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
from mmhrnet.errors import listed
from mmhrnet.hosts import known_hosts

# The lowest tested version and pip's name of each module. pyproject.toml declares them too, except
# OpenCV, MMEngine and MMCV: pip would overwrite other builds of those that are installed.
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
    'huggingface_hub': ('0.30', 'huggingface_hub'),
    'rich': ('13.0', 'rich'),
    'safetensors': ('0.4', 'safetensors'),
}
OTHERS = ('xtcocotools', 'setuptools', 'timm', 'onnx', 'onnxruntime', 'openvino')
# The maintained forks bring the same modules under other names.
FORKS = {'mmengine': 'onedl-mmengine', 'mmcv-lite': 'onedl-mmcv'}
DECLARE_OPENCV = ('mmengine', 'mmcv-lite', 'onedl-mmcv', 'onedl-mmsegmentation')
NEEDS_OF_MMENGINE = ('addict', 'pyyaml', 'termcolor', 'yapf')
OLD_ABI = re.compile(r'numpy\.\w+ size changed|compiled using NumPy 1|_ARRAY_API|multiarray')


def diagnose() -> int:
    """Prints versions, bridges, problems and their fixes; returns 1 if there are problems."""
    for table in (_versions(), _bridges()):
        _print_table(table)
    problems = find_problems()
    print('What is wrong:' if problems else 'Nothing is wrong.', *problems, sep='\n  ')
    return bool(problems)


def find_problems() -> list[str]:
    """One line for each thing that is wrong here, with the command that fixes it."""
    missing = find_missing()
    found = [*([missing] if missing else []), *_doubles(), *_old()]
    return found or _failing()  # a missing library makes the others fail too


def find_missing(modules: Iterable[str] = REQUIRED) -> str:
    """Names the modules that are not installed and the command that installs them; else empty."""
    missing = [module for module in modules if find_spec(module) is None]
    verb = 'is' if len(missing) == 1 else 'are'
    names = ', '.join(missing)
    return f'{names} {verb} not installed: {install_command(missing)}' if missing else ''


def install_command(modules: Sequence[str]) -> str:
    """The command that installs these modules without overwriting what is installed.

    It names the OneDL distributions if MMEngine is OneDL's. It keeps NumPy 1, and any OpenCV that
    is not opencv-python, which MMEngine and MMCV would install.
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
    """The lowest version and pip's name of each required module and each host."""
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
    """The folder of a module that no distribution brought, for example from PYTHONPATH."""
    spec = find_spec(module)
    return str(Path(spec.origin).parent) if spec and spec.has_location and spec.origin else ''


def _bridges() -> list[tuple[str, ...]]:
    reasons = bridge_reasons().items()
    rows = [(name, 'yes' if why else 'no', why or 'not needed here') for name, why in reasons]
    return [('bridge', 'active', 'why'), *rows]


def _doubles() -> list[str]:
    found = {
        module: distributions(module) for module in ('cv2', 'mmengine', 'mmcv', *known_hosts())
    }
    # OneDL's requirements bring two builds of OpenCV, which is harmless if the versions agree.
    same = len(set(map(metadata.version, found['cv2']))) == 1
    return [
        f'{module} comes from {listed(names)}, which overwrite each other: '
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
    errors = (import_error(module) for module in _tested() if find_spec(module))
    return list(filter(None, errors))


def import_error(module: str) -> str:
    """Why a library, of which this is a module, cannot be imported, in one line; else empty."""
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter('ignore')
            import_module(module)
    except Exception as error:  # a module is a program, which may raise anything
        said = f'{type(error).__name__}: {error}'.strip().splitlines()[0]
        return f'{module.partition(".")[0]} cannot be imported ({said}){_advice(error)}'
    return ''


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
    """The major version of an installed module."""
    names = distributions(module)
    return _parts(metadata.version(names[0]))[0] if names else None


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r'\d+', version.partition('+')[0])[:3]]


def _device() -> str:
    try:
        import torch
    except Exception:  # it is among the problems
        return '-'
    if torch.cuda.is_available():
        return f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    return f'{processor()}, {torch.get_num_threads()} threads'


def processor() -> str:
    """The name of the processor, as far as the system knows it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()
