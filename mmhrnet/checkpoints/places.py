"""Where published weights may be had, and what is known of them.

OpenMMLab and PyTorch write the first eight digits of a file's SHA-256 into its name. The whole one,
once somebody has had the file, is in ``configs/<library>/weights.yml``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypedDict
from urllib.parse import unquote, urlsplit

import yaml

from mmhrnet.checkpoints.safe import SAFETENSORS

MIRRORS = 'MMHRNET_MIRRORS'
CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'
HUB = 'hf://'
MODEL = f'model{SAFETENSORS}'  # what loaders look for in a repository of the Hub
DIGITS = re.compile(r'[-_]([0-9a-f]{8})(?=[-_.])')
DATE = re.compile(r'20\d\d[01]\d[0-3]\d')  # eight digits, too


class Entry(TypedDict, total=False):
    """What ``weights.yml`` says of a file beyond its metafile.

    ``url`` is of files that no metafile names: training starts from them, or they are other weights
    of a ``config``, with their ``source`` and ``published`` figures. ``also`` has the same weights
    in another form. ``trained_with`` has settings that differ from those of the config.
    """

    sha256: str | None
    url: str
    also: str
    config: str
    source: str
    published: dict[str, float]
    trained_with: dict[str, object]


class Place(NamedTuple):
    """Where a file may be had: a URL, or ``hf://org/repo[@revision][/file]``."""

    url: str
    name: str
    checksum: str | None
    size: int | None = None


def name_of(url: str) -> str:
    """The name that a file has in folders and caches.

    Most repositories of the Hub call their file ``model.safetensors``. Its name here therefore says
    where it is from, unless it contains a checksum.
    """
    if not url.startswith(HUB):
        return PurePosixPath(unquote(urlsplit(url).path)).name
    _, _, file = on_hub(url)
    name = PurePosixPath(file).name
    return name if checksum_of(name) else _flat(url)


def _flat(url: str) -> str:
    repository, revision, file = on_hub(url)
    at = f'@{revision}' if revision else ''
    return f'{repository}{at}/{file or MODEL}'.replace('/', '--')


def places_of(url: str) -> list[Place]:
    """Where the file of a URL may be had; the last may be the same weights in another form."""
    name = name_of(url)
    mirrors = os.environ.get(MIRRORS, '').split()
    addresses = [url, *(f'{mirror.rstrip("/")}/{name}' for mirror in mirrors)]
    places = [Place(address, name, checksum_of(name)) for address in addresses]
    also = known_weights().get(name, {}).get('also')
    return [*places, Place(also, name_of(also), checksum_of(name_of(also)))] if also else places


@cache
def known_weights() -> Mapping[str, Entry]:
    """The entries of all ``weights.yml``, by the name of the file."""
    files = [path.read_text(encoding='utf-8') for path in sorted(CONFIGS.glob('*/weights.yml'))]
    return {name: entry for text in files for name, entry in yaml.safe_load(text).items()}


def checksum_of(name: str) -> str | None:
    """The SHA-256 of a file, or the first digits of it, as far as they are known."""
    known = known_weights().get(name, {}).get('sha256')
    digits = [found for found in DIGITS.findall(name) if not DATE.fullmatch(found)]
    return known or (digits[-1] if digits else None)


def on_hub(url: str) -> tuple[str, str | None, str]:
    """Repository, revision and file of ``hf://org/repo[@revision][/file]``."""
    owner, _, rest = url.removeprefix(HUB).partition('/')
    name, _, file = rest.partition('/')
    name, _, revision = name.partition('@')
    return f'{owner}/{name}', unquote(revision) or None, unquote(file)
