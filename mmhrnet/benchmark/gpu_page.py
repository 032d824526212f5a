"""The page of a GPU, from what each part found."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmhrnet.benchmark.measure import Machine, Timing, processor
from mmhrnet.benchmark.report import HEADERS, Row, cells, describe
from mmhrnet.files import write_text
from mmhrnet.terminal import markdown_table

HEAD = """# On a GPU

All of this is from `mmhrnet benchmark --gpu` (`make gpu` in a clone). Outputs are compared first,
then speed: the rows of a table ran in turn in one process, with the same weights and inputs.
"Times faster" compares with the first row of the same table, "of GEMM rate" with the rate of the
best matrix product of the same precision, and "difference" is the largest difference from the
outputs of the first row, relative to the largest of them. cuDNN searches for its fastest kernels in
every row (`torch.backends.cudnn.benchmark`), and float32 means TF32, PyTorch's default for
convolutions. Peaks are in MiB beyond weights and inputs; the memory of a CUDA graph is its own.
"""


@dataclass
class Result:
    """What a part found, as the JSON has it.

    Attributes:
        name: Of the part.
        what: It in a sentence.
        state: 'passed', 'failed', 'measured', or 'skipped'.
        seconds: How long it ran.
        checks: Name, difference, limit and error of each.
        errors: Contestants that could not run, or why the part failed.
        tables: Machine and rows of the benchmarks.
    """

    name: str
    what: str = ''
    state: str = 'failed'
    seconds: float = 0
    checks: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)


def earlier_results(device: str, path: Path) -> list[Result]:
    """What the JSON of a page has, if it is from this machine with these versions."""
    file = path.with_suffix('.json')
    content = json.loads(file.read_text()) if file.exists() else {}
    same = content.get('versions') == _versions(device)
    return [Result(**part) for part in content['parts']] if same else []


def write_page(results: Sequence[Result], device: str, path: Path) -> None:
    """Writes the page and the same as JSON beside it."""
    versions = _versions(device)
    content = dict(versions=versions, parts=[vars(result) for result in results])
    write_text(path.with_suffix('.json'), json.dumps(content, indent=1))
    text = ', '.join(f'{name} {value}'.strip() for name, value in versions.items())
    sections = [HEAD, f'The machine: {text}.', '## What is right', _checks(results)]
    sections += [part for result in results for part in _tables(result)]
    problems = [f'- {result.name}: {error}' for result in results for error in _errors(result)]
    if problems:
        sections += ['## What failed or did not run', '\n'.join(problems)]
    write_text(path, '\n\n'.join(section.strip() for section in sections) + '\n')


def _versions(device: str) -> dict[str, str]:
    versions = {'': torch.cuda.get_device_name() if device == 'cuda' else processor()}
    if device == 'cuda':
        versions |= {'driver': _driver(), 'CUDA': str(torch.version.cuda)}
        versions['cuDNN'] = str(torch.backends.cudnn.version())
    return {**versions, 'torch': torch.__version__}


def _driver() -> str:
    program = shutil.which('nvidia-smi')
    if program is None:
        return 'unknown'
    command = [program, '--query-gpu=driver_version', '--format=csv,noheader']
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - found by which
    return done.stdout.strip().partition('\n')[0]


def _checks(results: Sequence[Result]) -> str:
    rows = [
        (
            f'{result.name}: {result.what.rstrip(".")}',
            f'{sum(is_right(check) for check in result.checks)} of {len(result.checks)}',
            _largest([c['difference'] for c in result.checks if c['difference'] is not None]),
            f'{result.seconds:.0f}',
        )
        for result in results
        if result.checks
    ]
    return markdown_table(('what', 'right', 'largest difference', 's'), rows)


def _largest(differences: Sequence[float]) -> str:
    return f'{max(differences):.0e}' if differences else '-'


def is_right(check: dict[str, Any]) -> bool:
    return check['difference'] is not None and check['difference'] <= check['limit']


def _errors(result: Result) -> Iterator[str]:
    for check in result.checks:
        if not is_right(check):
            yield f'{check["name"]}: {check["error"] or _above(check)}'
    yield from result.errors


def _above(check: dict[str, Any]) -> str:
    return f'a difference of {check["difference"]:.1e}, more than {check["limit"]:.0e}'


def _tables(result: Result) -> Iterator[str]:
    for table in result.tables:
        machine = Machine(**table['machine'])
        rows = [Row(**row | dict(timing=Timing(**row['timing']))) for row in table['rows']]
        yield f'## {table["title"]}\n\n{describe(machine)}.'
        for batch, shape in dict.fromkeys((row.batch, tuple(row.shape)) for row in rows):
            some = [row for row in rows if (row.batch, tuple(row.shape)) == (batch, shape)]
            lines = markdown_table(HEADERS, [cells(row, machine) for row in some])
            yield f'{batch} x {shape[0]}x{shape[1]}:\n\n{lines}'
