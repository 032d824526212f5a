"""Commands that README and docs show are commands that the tools take."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMAND = re.compile(r'python tools/(train|test|export|benchmark)\.py([^`\n#]*)')
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
COMMANDS = sorted(
    {(match[1], match[2].strip()) for page in PAGES for match in COMMAND.finditer(page.read_text())}
)


@pytest.mark.parametrize(('tool', 'arguments'), COMMANDS)
def test_tools_take_the_commands_shown(
    tool: str, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'argv', [tool, *shlex.split(arguments)])
    args = runpy.run_path(str(ROOT / 'tools' / f'{tool}.py'))['parse_args']()
    config = getattr(args, 'config', 'CONFIG')
    assert config == 'CONFIG' or (ROOT / config).is_file()


def test_many_commands_are_shown() -> None:
    assert len(COMMANDS) >= 20


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r'\]\(([^)#]+)\)', page.read_text()):
            assert '://' in target or (page.parent / target).exists(), (page.name, target)
