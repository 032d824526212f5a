"""Downloads by curl that resume where they were cut, and archives that are unpacked safely."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypedDict, cast

import rich.progress as bars
from rich.console import Console
from rich.filesize import decimal

from mmhrnet.datasets.sources import SOURCES, File, guide
from mmhrnet.errors import UserError
from mmhrnet.files import check_folder
from mmhrnet.terminal import CONSOLE


class Bar(TypedDict):
    """Arguments of rich's progress bars."""

    console: Console
    disable: bool
    transient: bool


SHOWN: Bar = {'console': CONSOLE, 'disable': not CONSOLE.is_terminal, 'transient': True}
CHUNK = 1 << 20  # bytes read at once, at most
ATTEMPTS = 5  # in a row that bring no new byte
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds; the pause doubles with each failure
SPARE = 100_000_000  # bytes of the disk that a download leaves free
UNKNOWN_SIZE = 2 << 30  # bytes that are expected, at most, of a file without size in the table
BLOCK = 4096  # bytes of the disk that a file takes beyond its size, at most
DEEPEST = 100  # nested folders in an archive; a thousand exhaust Python's stack

# --disable leaves ~/.curlrc out; a connection below 1 kB/s for 30 seconds is cut.
CURL = """curl --disable --fail --location --silent --show-error --user-agent mmhrnet
    --connect-timeout 30 --speed-limit 1000 --speed-time 30 --write-out %{stderr}\\n%{http_code}"""
CURL_NO_RANGE, CURL_TOO_LARGE = 33, 63  # exit codes
# No name, no connection, a line that was cut or slow, no answer: another attempt may help.
CURL_RETRIED = (5, 6, 7, 16, 18, 28, CURL_NO_RANGE, 35, 52, 55, 56, 92)
BUSY = ('408', '425', '429', '500', '502', '503', '504')
# Of the system's errors, those that the names in an archive cause; decoders give no number.
BAD_NAMES = (None, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)


class DownloadError(UserError, RuntimeError):
    """A file cannot be downloaded or is not what it should be; the message says what to do."""


def download_dataset(
    name: str, data_root: str | Path = 'data', *, only: str = '*', keep_archives: bool = False
) -> None:
    """Brings a data set into the layout of the configs and says what is left to do by hand.

    What is in place is skipped, and a download that was cut is resumed.

    Args:
        name: One of ``SOURCES``.
        data_root: Folder of all data sets; archives are in its folder ``downloads``.
        only: Pattern of the names of files to take, like ``val2017*``.
        keep_archives: Keep the archives after they were unpacked.

    Raises:
        DownloadError: Unknown name, no matching file, no space, no curl, no answer, a wrong file.
    """
    if name not in SOURCES:
        raise DownloadError(f'There is no data set {name}: choose one of {", ".join(SOURCES)}')
    source, data = SOURCES[name], Path(data_root)
    files = [file for file in source.files if fnmatch(file.name, only)]
    if source.files and not files:
        names = ', '.join(file.name for file in source.files)
        raise DownloadError(f'--only {only} matches no file of {name}: {names}')
    missing = [file for file in files if not file.place(data).exists()]
    check_space(data, _needed(missing, data / 'downloads', keep_archives))
    if missing:
        check_folder(data)
    CONSOLE.print(f'{name}: {source.what}')
    for file in missing:
        _bring(file, data, keep_archives)
    _link(source.links, data)
    for file in files:
        CONSOLE.print(f'{file.name} is in {data / file.target}')
    CONSOLE.print(guide(source, data))


def check_space(folder: Path, needed: int) -> None:
    """Raises a DownloadError if the disk of ``folder`` has less than ``needed`` free bytes."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f'The disk of {folder.resolve()} has {decimal(free)} free ({free} bytes), but '
            f'{decimal(needed)} are needed ({needed} bytes)'
        )


def fetch(file: File, path: Path) -> None:
    """Downloads a file, or the rest of it; it appears under its name when it is complete.

    Until then its bytes are in ``<name>.part``. A file that is already there is only checked.

    Raises:
        DownloadError: No curl, no answer, no space, or a wrong checksum; the wrong file is then
            renamed.
    """
    part = path.with_name(f'{path.name}.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _transfer(file, part)
    brought = path if path.exists() else part
    if file.checksum and not _matches(brought, file.checksum):
        aside = _set_aside(brought, path)
        raise DownloadError(f'{file.url} does not have the checksum {file.checksum}; {aside}')
    brought.replace(path)


def _transfer(file: File, part: Path) -> None:
    if not shutil.which('curl'):
        raise DownloadError(
            f'Downloading needs curl, which is not installed: install it, or fetch {file.url} by '
            f'other means as {part.with_suffix("")} and run the same command again'
        )
    best = failures = 0
    while reason := _attempt(file, part):
        size = _kept(file, part)
        failures = 1 if size > best else failures + 1
        best = max(best, size)
        if failures >= ATTEMPTS:
            kept = f'; {size} bytes are kept: run the same command again' if size else ''
            raise DownloadError(f'{file.url}: {reason}{kept}')
        time.sleep(min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))


def _kept(file: File, part: Path) -> int:
    """Bytes to continue after, where a check would find that the file changed on the server.

    zip and gzip carry checksums of their content; a plain tar does not.
    """
    checked = file.checksum or Path(file.name).suffix in ('.zip', '.gz')
    return _size(part) if checked else 0


def _attempt(file: File, part: Path) -> str:
    """Asks once for what is missing; returns why another attempt is needed, or ''."""
    have = _kept(file, part)
    code, status, message = _run_curl(file, part, have)
    expected = ('200', '206') if have else ('200',)  # an unasked 206 is a piece of the file
    if status not in expected or code == CURL_TOO_LARGE:
        os.truncate(part, have)
    complete = code == 0 and status in expected and _size(part)
    if complete or (have and status == '416'):  # 416: nothing follows the last byte
        return ''
    if code == CURL_NO_RANGE or not _size(part):
        part.unlink()
    if code in CURL_RETRIED or status in BUSY:
        return message
    raise DownloadError(
        f'{file.url}: {message or f"HTTP {status} without a file"}; fetch it by other means as '
        f'{part.with_suffix("")} and run the same command again'
    )


def _run_curl(file: File, part: Path, have: int) -> tuple[int, str, str]:
    """Continues after ``have`` bytes; returns curl's exit code, the HTTP status and a message."""
    free = shutil.disk_usage(part.parent).free - SPARE
    limit = left = max(1, min(2 * (file.size or UNKNOWN_SIZE) - have, free))
    options = ['--continue-at', str(have), '--max-filesize', str(limit)]
    options += ['--proto-redir', '=https'] if file.url.startswith('https:') else []
    command, pipe = [*CURL.split(), *options, file.url], subprocess.PIPE
    rest = max((file.size or 0) - have, 0)
    with (
        part.open('ab' if have else 'wb') as output,
        subprocess.Popen(command, stdout=pipe, stderr=pipe, bufsize=0) as curl,  # noqa: S603
        bars.wrap_file(cast(BinaryIO, curl.stdout), rest, description=file.name, **SHOWN) as body,
    ):
        while (chunk := body.read(CHUNK)) and len(chunk) <= left:
            left -= output.write(chunk)
        if chunk:  # curl before 8.4 does not limit a body without length
            curl.kill()
        answer = cast(BinaryIO, curl.stderr).read().decode(errors='replace')
    message, _, status = answer.rpartition('\n')
    if chunk or curl.returncode == CURL_TOO_LARGE:
        reason = f'it is larger than {decimal(limit)}, all that is expected or fits on the disk'
        return CURL_TOO_LARGE, status, reason
    return curl.returncode, status, message.partition('\n')[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _matches(path: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(':')
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with bars.open(path, 'rb', description=f'checking {path.name}', **SHOWN) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == expected


def _set_aside(file: Path, path: Path) -> str:
    bad = file.replace(path.with_name(f'{path.name}.bad'))
    return f'it is now {bad}: run the same command again to download it'


def unpack(archive: Path, target: Path, holds: str) -> None:
    """Unpacks the folder of a zip or tar archive that contains ``holds`` as ``target``.

    The folder appears in one step, or, where it was already there, with ``holds`` as its last
    file.

    Raises:
        DownloadError: No space, or an archive that is damaged, encrypted or hostile, or lacks
            ``holds``; such an archive is renamed.
    """
    beside = target.with_name(f'.{target.name}.unpacking')
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _place(_extract(archive, beside, holds), target, holds)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract(archive: Path, folder: Path, holds: str) -> Path:
    """Returns the folder of the archive that contains ``holds``."""
    try:
        (_extract_zip if archive.suffix == '.zip' else _extract_tar)(archive, folder)
        found = [p for p in folder.rglob(Path(holds).name) if p.match(holds) and p.is_file()]
        if not found:
            raise ValueError(f'it has no {holds}')
    except DownloadError:
        raise
    except Exception as error:  # zipfile, tarfile and the decoders have no common error
        if isinstance(error, OSError) and error.errno not in BAD_NAMES:
            raise
        reason = ' '.join(str(error).split()) or type(error).__name__
        aside = _set_aside(archive, archive)
        raise DownloadError(f'{archive} cannot be unpacked: {reason}; {aside}') from error
    return found[0].parents[len(Path(holds).parts) - 1]


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check_names(member.filename for member in members)
        check_space(folder, sum(member.file_size + BLOCK for member in members))
        shown = bars.track(members, f'unpacking {archive.name}', **SHOWN)
        file.extractall(folder, shown)  # noqa: S202 (the names are checked)


def _extract_tar(archive: Path, folder: Path) -> None:
    if not hasattr(tarfile, 'data_filter'):
        raise DownloadError('Unpacking tar safely needs Python 3.10.12, 3.11.4 or newer')
    read = gzip.open if archive.suffix == '.gz' else open
    with read(archive, 'rb') as stream, tarfile.open(fileobj=stream, mode='r:') as file:
        for member in file:
            # Known ways around the filter, like CVE-2025-4517, need a link; sparse files grow.
            if member.issparse() or not (member.isfile() or member.isdir()) or member.size < 0:
                raise ValueError(f'{member.name} is a link or a special file')
        stream.seek(file.offset)  # tarfile takes a damaged header for the end
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError(f'it is damaged after {file.offset} bytes')
        while stream.read(CHUNK):  # gzip's checksum is behind its last byte
            pass
        members = file.getmembers()
        _check_names(member.name for member in members)
        check_space(folder, sum(member.size + BLOCK for member in members))
        shown = bars.track(members, f'unpacking {archive.name}', **SHOWN)
        file.extractall(folder, shown, filter='data')


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace('\\', '/'))
        if path.is_absolute() or '..' in path.parts:
            raise ValueError(f'{name} would be outside of the destination')
        if len(path.parts) > DEEPEST:
            raise ValueError(f'{name[:50]}... is in more than {DEEPEST} folders')


def _place(source: Path, target: Path, holds: str) -> None:
    if not target.exists():
        source.rename(target)
        return
    files = [path.relative_to(source) for path in source.rglob('*') if not path.is_dir()]
    for file in sorted(files, key=lambda file: file == Path(holds)):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source / file, target / file)


def _bring(file: File, data: Path, keep_archive: bool) -> None:
    if not file.is_archive:
        fetch(file, file.place(data))
        return
    archive = data / 'downloads' / file.name
    fetch(file, archive)
    unpack(archive, data / file.target, file.holds)
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
