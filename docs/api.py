"""Builds pages of the Python interface from the docstrings: ``python docs/api.py FOLDER``."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pdoc

PACKAGES = ('', '.apis', '.checkpoints', '.datasets', '.deploy', '.hosts', '.hub', '.models')
PAGES = [f'mmhrnet{name}' for name in (*PACKAGES, '.training.hooks')]
ROLES = re.compile(r':(?:func|class|meth|mod|data):(?=<code>)')  # Sphinx's, which pdoc leaves in


def build(folder: Path) -> None:
    """Writes a page for each public package. Nothing is fetched, now or when a page is read."""
    package = import_module('mmhrnet')
    for name in package.__all__:  # pdoc does not see what is imported on demand
        vars(package)[name] = getattr(package, name)
    pdoc.render.configure(docformat='google', footer_text=f'mmhrnet {package.__version__}')
    pdoc.pdoc(*PAGES, output_directory=folder)
    for page in folder.rglob('*.html'):
        page.write_text(ROLES.sub('', page.read_text(encoding='utf-8')), encoding='utf-8')


if __name__ == '__main__':
    build(Path(sys.argv[1]))
