"""Downloads that go on where they were cut, are checked, and appear in place when complete."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import rich.progress as bars
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress

from mmhrnet.datasets.sources import SOURCES, File, guide

CONSOLE = Console(highlight=False, soft_wrap=True)
CHUNK = 1 << 20  # bytes read at once, at most
TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 5  # in a row that bring no new byte
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds; the pause doubles with each failure
BUSY = (408, 416, 425, 429, 500, 502, 503, 504)  # answers worth asking again
CUT = (URLError, HTTPException, ConnectionError, TimeoutError)
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError)
TAR_ERRORS = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


class DownloadError(RuntimeError):
    """A file that cannot be had or is not what it should be, with what to do about it."""


class Remote(NamedTuple):
    """What a server says of a file; it may be silent about any of it."""

    etag: str | None
    modified: str | None
    total: int | None  # bytes

    @property
    def validator(self) -> str | None:
        """For If-Range, which takes no weak ETag."""
        strong = self.etag and not self.etag.startswith('W/')
        return self.etag if strong else self.modified

    def differs(self, other: Remote) -> bool:
        return any(a != b for a, b in zip(self, other) if a is not None and b is not None)


def download_dataset(
    name: str, data_root: str | Path = 'data', *, only: str = '*', keep_archives: bool = False
) -> None:
    """Brings a data set into the layout of the configs and says what is left to do by hand.

    What is in place is skipped, and a download that was cut goes on.

    Args:
        name: One of ``SOURCES``.
        data_root: Folder of all data sets; archives are in its folder ``downloads``.
        only: Pattern of the names of files to take, like ``val2017*``.
        keep_archives: Keep the archives after they were unpacked.

    Raises:
        DownloadError: Unknown name, no matching file, no space, no answer, a wrong file.
    """
    if name not in SOURCES:
        raise DownloadError(f'There is no data set {name}; there are {", ".join(SOURCES)}')
    source, data = SOURCES[name], Path(data_root)
    files = [file for file in source.files if fnmatch(file.name, only)]
    if source.files and not files:
        names = ', '.join(file.name for file in source.files)
        raise DownloadError(f'--only {only} matches no file of {name}: {names}')
    missing = [file for file in files if not file.place(data).exists()]
    check_space(data, _needed(missing, data / 'downloads', keep_archives))
    CONSOLE.print(f'{name}: {source.what}', markup=False)
    with _progress() as progress:
        for file in missing:
            _bring(file, data, keep_archives, progress)
    _link(source.links, data)
    for file in files:
        CONSOLE.print(f'{file.name} is in {data / file.target}', markup=False)
    CONSOLE.print(guide(source, data), markup=False)


def check_space(folder: Path, needed: int) -> None:
    """Raises a DownloadError if the disk of ``folder`` has less than ``needed`` free bytes."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f'The disk of {folder.resolve()} has {decimal(free)} free ({free} bytes), '
            f'{decimal(needed)} are needed ({needed} bytes)'
        )


def fetch(url: str, path: Path, checksum: str | None, progress: Progress) -> None:
    """Downloads a file, or the rest of it; it appears under its name when it is complete.

    Until then its bytes are in ``<name>.part``, and what the server said of it in
    ``<name>.part.json``.

    Args:
        url: Where it is.
        path: Where it shall be.
        checksum: Like 'sha256:0123...', or None to check only the announced size.
        progress: Display that gets a bar.

    Raises:
        DownloadError: No answer, no space, or a wrong checksum; the wrong file is then renamed.
    """
    part = path.with_name(f'{path.name}.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _fetch_part(url, part, progress)
        part.replace(path)
        _note(part).unlink(missing_ok=True)
    if checksum and not _matches(path, checksum, progress):
        raise DownloadError(f'{url} does not have the checksum {checksum}; {_set_aside(path)}')


def _fetch_part(url: str, part: Path, progress: Progress) -> None:
    best = failures = 0
    while True:
        try:
            return _attempt(url, part, progress)
        except CUT as error:
            reason = _reason(error, url, part)
        size = _size(part)
        failures = 1 if size > best else failures + 1
        best = max(best, size)
        if failures >= ATTEMPTS:
            kept = f'; {size} bytes are kept, and the same command goes on' if size else ''
            raise DownloadError(f'{url}: {reason}{kept}')
        time.sleep(min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))


def _reason(error: Exception, url: str, part: Path) -> str:
    """What went wrong, in words, or a DownloadError if asking again cannot help."""
    if not isinstance(error, HTTPError):
        return str(getattr(error, 'reason', error)) or type(error).__name__
    reason = f'HTTP {error.code} {error.reason}'
    if error.code not in BUSY:
        path = part.with_suffix('')
        raise DownloadError(f'{url}: {reason}; if it has moved, put it at {path}') from error
    if error.code == 416:  # there is nothing after our last byte: it was another file
        part.unlink(missing_ok=True)
    return reason


def _attempt(url: str, part: Path, progress: Progress) -> None:
    """Asks once for what is missing; raises one of ``CUT`` if not all of it came."""
    known = _read_note(part)
    have = _size(part)
    if known and have == known.total:
        return
    headers = {'User-Agent': 'mmhrnet'}
    if known and have:
        headers['Range'] = f'bytes={have}-'
        headers |= {'If-Range': known.validator} if known.validator else {}
    request = Request(url, headers=headers)  # noqa: S310 (the table's own addresses)
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        start, remote = _describe(response)
        if start and (known is None or start != have or remote.differs(known)):
            part.unlink()
            raise ConnectionError('the file changed on the server')
        if not start:
            part.unlink(missing_ok=True)
            _note(part).write_text(json.dumps(remote))
        check_space(part.parent, (remote.total or 0) - start)
        _receive(response, part, remote.total, progress)
    if remote.total is not None and _size(part) != remote.total:
        raise ConnectionError(f'cut after {_size(part)} of {remote.total} bytes')


def _receive(response: HTTPResponse, part: Path, total: int | None, progress: Progress) -> None:
    with part.open('ab') as file, _bar(progress, part.stem, total, file.tell()) as advance:
        while chunk := response.read1(CHUNK):
            file.write(chunk)
            advance(len(chunk))


def _describe(response: HTTPResponse) -> tuple[int, Remote]:
    """The first byte that is sent, and the file's state."""
    start, total = 0, response.length
    if response.status == 206:
        sent = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', response.headers.get('Content-Range', ''))
        start, total = (int(sent[1]), int(sent[2])) if sent else (-1, None)
    return start, Remote(response.headers.get('ETag'), response.headers.get('Last-Modified'), total)


def _note(part: Path) -> Path:
    return part.with_name(f'{part.name}.json')


def _read_note(part: Path) -> Remote | None:
    try:
        return Remote(*json.loads(_note(part).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _matches(path: Path, checksum: str, progress: Progress) -> bool:
    algorithm, _, expected = checksum.partition(':')
    digest = hashlib.new(algorithm, usedforsecurity=False)
    label = f'checking {path.name}'
    with path.open('rb') as file, _bar(progress, label, _size(path)) as advance:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest() == expected


def _set_aside(path: Path) -> str:
    bad = path.replace(path.with_name(f'{path.name}.bad'))
    return f'it is now {bad}, and the same command downloads it anew'


def unpack(archive: Path, target: Path, holds: str, progress: Progress) -> None:
    """Unpacks the folder of a zip or tar archive that has ``holds`` in it as ``target``.

    The folder appears in one step, or, where it was already there, with ``holds`` as its last
    file.

    Raises:
        DownloadError: No space, a damaged archive, one that has no ``holds``, or one that would
            write elsewhere; such an archive is renamed.
    """
    beside = target.with_name(f'.{target.name}.unpacking')
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        extract = _extract_zip if archive.suffix == '.zip' else _extract_tar
        extract(archive, beside, progress)
        found = [p for p in beside.rglob(Path(holds).name) if p.match(holds)]
        if not found:
            raise tarfile.TarError(f'it has no {holds}')
        _place(found[0].parents[len(Path(holds).parts) - 1], target, holds)
    except (*ZIP_ERRORS, *TAR_ERRORS) as error:
        message = f'{archive} cannot be unpacked: {error}; {_set_aside(archive)}'
        raise DownloadError(message) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract_zip(archive: Path, folder: Path, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        outside = [member.filename for member in members if _is_outside(member.filename)]
        if outside:
            raise zipfile.BadZipFile(f'{outside[0]} would be outside of the destination')
        total = sum(member.file_size for member in members)
        check_space(folder, total)
        counted = _counted(members, archive, total, progress)
        file.extractall(folder, counted)  # noqa: S202 (no member is outside)


def _extract_tar(archive: Path, folder: Path, progress: Progress) -> None:
    if not hasattr(tarfile, 'data_filter'):
        raise DownloadError('Unpacking tar safely needs Python 3.10.12, 3.11.4 or newer')
    with tarfile.open(archive) as file:
        file.extractall(folder, _counted(file, archive, None, progress), filter='data')


def _is_outside(name: str) -> bool:
    path = PurePosixPath(name.replace('\\', '/'))
    return path.is_absolute() or '..' in path.parts


def _counted(
    members: Iterable[Any], archive: Path, total: int | None, progress: Progress
) -> Iterator[Any]:
    with _bar(progress, f'unpacking {archive.name}', total) as advance:
        for member in members:
            yield member
            advance(member.size if isinstance(member, tarfile.TarInfo) else member.file_size)


def _place(source: Path, target: Path, holds: str) -> None:
    if not target.exists():
        source.rename(target)
        return
    files = [path.relative_to(source) for path in source.rglob('*') if not path.is_dir()]
    for file in sorted(files, key=lambda file: file == Path(holds)):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source / file, target / file)


def _bring(file: File, data: Path, keep_archive: bool, progress: Progress) -> None:
    archive = data / 'downloads' / file.name
    if not file.is_archive:
        fetch(file.url, file.place(data), file.checksum, progress)
        return
    fetch(file.url, archive, file.checksum, progress)
    unpack(archive, data / file.target, file.holds, progress)
    if not keep_archive:
        archive.unlink()
        with suppress(OSError):  # others are in it
            archive.parent.rmdir()


def _needed(files: list[File], downloads: Path, keep_archives: bool) -> int:
    """Bytes of the unpacked files, of archives at their largest, less what is there already."""
    sizes = [file.size or 0 for file in files]
    there = sum(_size(downloads / f'{f.name}{end}') for f in files for end in ('', '.part'))
    archives = sum(sizes) if keep_archives else max(sizes, default=0)
    return sum(sizes) + max(archives - there, 0)


def _link(links: Iterable[tuple[str, str]], data: Path) -> None:
    for link, target in ((data / link, data / target) for link, target in links):
        if target.exists() and not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)


@contextmanager
def _bar(
    progress: Progress, label: str, total: int | None, done: int = 0
) -> Iterator[Callable[[int], None]]:
    task = progress.add_task(label, total=total, completed=done)
    try:
        yield lambda count: progress.advance(task, count)
    finally:
        progress.remove_task(task)


def _progress() -> Progress:
    columns = (
        bars.TextColumn('{task.description}', markup=False),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    return Progress(*columns, console=CONSOLE, disable=not CONSOLE.is_terminal)
