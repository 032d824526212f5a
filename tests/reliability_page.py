"""Puts the figures that the tests measured into docs/reliability.md: FIGURES.json PAGE.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path

import torch

from mmhrnet.files import write_text

START, END = '<!-- figures -->', '<!-- end of figures -->'


def page_with(page: str, figures: dict[str, object], machine: str) -> str:
    """The page with its table written anew.

    Raises:
        ValueError: The page has no place for it.
    """
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f'The page needs a line {START} and a line {END}')
    cells = {name: f'{v:.2g}' if isinstance(v, float) else v for name, v in figures.items()}
    rows = '\n'.join(f'| {name} | {value} |' for name, value in cells.items())
    table = f'{machine}\n\n| what | measured |\n|---|---|\n{rows}\n'
    return f'{before}{start}\n{table}{end}{after}'


def main() -> None:
    figures, page = map(Path, sys.argv[1:])
    machine = (
        f'{os.cpu_count()} CPU cores, Python {platform.python_version()}, torch '
        f'{torch.__version__.partition("+")[0]}, {datetime.date.today()}.'
    )
    measured = json.loads(figures.read_text(encoding='utf-8'))
    write_text(page, page_with(page.read_text(encoding='utf-8'), measured, machine))


if __name__ == '__main__':
    main()
