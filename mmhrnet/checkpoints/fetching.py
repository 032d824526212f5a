"""The one door for weights from elsewhere: several places, and a check of what they give."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

import torch
from filelock import FileLock
from safetensors import safe_open
from torch.serialization import MAP_LOCATION

from mmhrnet.checkpoints.archive import check_archive
from mmhrnet.checkpoints.convert import convert
from mmhrnet.checkpoints.places import HUB, MIRRORS, MODEL, Place, name_of, on_hub, places_of
from mmhrnet.checkpoints.safe import SAFETENSORS, CheckpointError, load
from mmhrnet.download import DownloadError, TransferError, digest_of, set_aside, size_of, transfer
from mmhrnet.files import beside, check_folder

LOGGER = logging.getLogger(__name__)
FOLDER = 'MMHRNET_WEIGHTS'
SHA256 = re.compile(r'[0-9a-f]{64}')
SILENT: dict[str, float] = {}  # servers that did not answer, and when: they are asked last
FORGOTTEN = 300  # seconds after which they are asked as usual
WAY_OUT = (
    f'Set {FOLDER} to a folder that has the file, or {MIRRORS} to the addresses of servers that '
    'have it (docs/checkpoints.md)'
)


class Fetched(NamedTuple):
    """A file that was checked, and the place that it is from."""

    path: Path
    place: Place


class FetchError(CheckpointError):
    """No place has the weights, or what it has is wrong; the message lists all of them."""


def load_url(
    url: str, model_dir: str | None = None, map_location: MAP_LOCATION = None, progress: bool = True
) -> Any:
    """Fetches a checkpoint like :func:`fetch` and reads it like :func:`mmhrnet.checkpoints.load`.

    What stands in for it on the Hugging Face Hub is returned under the names of mmpretrain.

    Raises:
        FetchError: It cannot be had anywhere.
        CheckpointError: It is damaged, or may not be read.
    """
    path, place = fetch(url, model_dir, progress)
    content = load(path, map_location)
    if place.name == name_of(url):
        return content
    LOGGER.warning('%s cannot be had; %s has the same weights', name_of(url), place.url)
    return {'state_dict': convert(content, 'mmpretrain')[0]}


def fetch(url: str, folder: str | Path | None = None, progress: bool = True) -> Fetched:
    """A file of weights on this machine: the one that is there, or else a download.

    Places are tried in this order: the folder ``MMHRNET_WEIGHTS``, torch's cache, the URL, the
    mirrors in ``MMHRNET_MIRRORS``, and the Hugging Face Hub if it has the same weights. Servers
    that did not answer before are asked last. A download is kept in torch's cache. Of an ``hf://``
    URL, huggingface_hub keeps it in its own, and asks each time whether the file has changed.

    Args:
        url: Of the published file, or ``hf://org/repo[@revision][/file]``.
        folder: Instead of torch's cache.
        progress: Draw a progress bar, on a terminal.

    Raises:
        FetchError: It cannot be had anywhere.
        WriteError: The cache cannot be written to.
    """
    kept, tried = cache_folder(folder), dict[str, str]()
    for path, place in local_places(url, kept):
        try:
            return Fetched(_checked(path, place, kept), place)
        except DownloadError as error:
            tried[str(path)] = str(error)
    check_folder(kept)
    for place in sorted(places_of(url), key=lambda place: _is_silent(place.url)):
        get = _from_hub if place.url.startswith(HUB) else _get
        try:
            found = get(place, kept, progress)
        except DownloadError as error:
            tried[place.url] = str(error)
            continue
        if place.url != url and place.url.startswith(HUB):
            found = link(found, kept / place.name)
        if tried:
            LOGGER.warning('%s is from %s; %s', found, place.url, '; '.join(_lines(tried)))
        return Fetched(found, place)
    raise FetchError(_explain(name_of(url), tried))


def cache_folder(folder: str | Path | None = None) -> Path:
    """Where torch keeps checkpoints, unless it is another folder."""
    return Path(folder or Path(torch.hub.get_dir(), 'checkpoints'))


def local_places(url: str, kept: Path | None = None) -> list[tuple[Path, Place]]:
    """Files of this machine that would be taken for a URL, the best first."""
    own, kept = os.environ.get(FOLDER), kept or cache_folder()
    folders = [Path(own), kept] if own else [kept]
    places: dict[str, Place] = {}
    for place in places_of(url):
        places.setdefault(place.name, place)
    found = [
        (folder / name, place)
        for name, place in places.items()
        for folder in folders
        if folder != kept or place.url != url or not url.startswith(HUB)  # which can change
    ]
    return [(path, place) for path, place in found if path.is_file()]


def find_fault(path: Path, checksum: str | None) -> str:
    """Why a file is not what its name says, or nothing; without checksum, nothing is known."""
    stat = path.stat()
    found = _digest(path, (stat.st_size, stat.st_mtime_ns)) if checksum else ''
    if not checksum or found.startswith(checksum):
        return ''
    with path.open('rb') as file:
        if file.read(100).lstrip().startswith(b'<'):
            return 'it is a web page instead of the file'
    length = 8 if len(checksum) == 8 else 16
    return f'its SHA-256 begins with {found[:length]}, not with {checksum[:length]}'


@cache
def _digest(path: Path, _: tuple[int, int]) -> str:
    """Once for each state of a file: its size and time."""
    return digest_of(path)


def _checked(path: Path, place: Place, kept: Path) -> Path:
    """The path of a file that is there; what is wrong in the cache is moved aside."""
    fault = find_fault(path, place.checksum)
    if not fault:
        return path
    raise DownloadError(f'{fault}{_aside(path, path) if path.parent == kept else ""}')


def _aside(file: Path, path: Path) -> str:
    return f'; it is now {set_aside(file, path)}'


def _get(place: Place, kept: Path, progress: bool) -> Path:
    """Downloads a file, or the rest of it, into the cache."""
    path, part = kept / place.name, kept / f'{place.name}.part'
    with FileLock(kept / f'.{place.name}.lock'):
        if path.is_file() and not find_fault(path, place.checksum):
            return path  # another process was faster
        continued = size_of(part)
        _transfer(place, part, progress)
        fault = _fault_of_download(part, place)
        if fault and continued:  # the other half may have been the wrong one
            _aside(part, path)
            _transfer(place, part, progress)
            fault = _fault_of_download(part, place)
        if fault:
            raise DownloadError(f'{fault}{_aside(part, path)}')
        part.replace(path)
    return path


def _transfer(place: Place, part: Path, progress: bool) -> None:
    try:
        if shutil.which('curl'):
            transfer(place, part, quick=True, show=progress)
        else:
            _transfer_by_torch(place.url, part, progress)
    except TransferError as error:
        if error.silent:
            SILENT[_server(place.url)] = monotonic()
        raise


def _transfer_by_torch(url: str, part: Path, progress: bool) -> None:
    """Without curl, nothing is resumed or asked again."""
    try:
        torch.hub.download_url_to_file(url, str(part), progress=progress)
    except (OSError, ValueError) as error:  # ValueError: no URL
        silent = isinstance(error, OSError) and not isinstance(error, HTTPError)
        raise TransferError(str(error), silent=silent) from error


def _fault_of_download(path: Path, place: Place) -> str:
    """Without checksum, a file must at least be whole."""
    if place.checksum:
        return find_fault(path, place.checksum)
    try:
        if place.name.endswith(SAFETENSORS):
            with safe_open(path, framework='pt'):
                return ''
        with path.open('rb') as file:
            check_archive(file)
    except Exception as error:  # a damaged file can raise anything
        return ' '.join(str(error).split())[:200]
    return ''


def _from_hub(place: Place, _: Path, __: bool) -> Path:
    repository, revision, file = on_hub(place.url)
    path = ask_hub(repository, revision, file or MODEL)
    blob = path.resolve()  # whose name is the SHA-256 of a large file
    checksum = place.checksum or (blob.name if SHA256.fullmatch(blob.name) else None)
    fault = _fault_of_download(path, place._replace(checksum=checksum))
    if fault:
        raise DownloadError(f'{fault}{_aside(blob, blob)}')
    return path


def ask_hub(repository: str, revision: str | None, file: str) -> Path:
    """A file of a repository, in the cache of huggingface_hub, which fetches it where it changed.

    Raises:
        DownloadError: There is no such file, or no answer.
    """
    from huggingface_hub import hf_hub_download  # a fifth of a second

    silent = _is_silent(HUB)  # then only its cache is asked: it waits for half a minute
    try:
        path = hf_hub_download(repository, file, revision=revision, local_files_only=silent)
    except Exception as error:  # its own, and those of its transport
        cause = error if error.__cause__ is None else error.__cause__
        if isinstance(error, FileNotFoundError):  # neither an answer nor an old file
            SILENT[HUB] = monotonic()
        raise DownloadError(str(cause).strip().partition('\n')[0]) from error
    return Path(path)


def link(source: Path, target: Path) -> Path:
    """Puts a file at a second path, without a copy where the system can do so."""
    with beside(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another disk
            shutil.copyfile(source, temporary)
    return target


def _server(url: str) -> str:
    return HUB if url.startswith(HUB) else urlsplit(url).netloc


def _is_silent(url: str) -> bool:
    return monotonic() - SILENT.get(_server(url), -FORGOTTEN) < FORGOTTEN


def _explain(name: str, tried: Mapping[str, str]) -> str:
    lines = list(_lines(tried))
    if len(lines) == 1:
        return f'{name} cannot be fetched: {lines[0]}. {WAY_OUT}'
    return '\n  '.join([f'{name} cannot be fetched:', *lines]) + f'\n{WAY_OUT}'


def _lines(tried: Mapping[str, str]) -> Iterator[str]:
    folder = os.environ.get(FOLDER)
    if folder and not any(Path(source).parent == Path(folder) for source in tried):
        yield f'{FOLDER}={folder}: ' + (
            'no such file' if Path(folder).is_dir() else 'no such folder'
        )
    yield from (f'{source}: {reason}' for source, reason in tried.items())
