"""Downloads of data sets, and archives that are unpacked safely."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import rich.progress as bars
from rich.filesize import decimal

from mmhrnet.datasets.sources import SOURCES, File, guide
from mmhrnet.download import (
    CHUNK,
    SHOWN,
    DownloadError,
    TransferError,
    digest_of,
    set_aside,
    size_of,
    transfer,
)
from mmhrnet.files import check_folder
from mmhrnet.terminal import CONSOLE

BLOCK = 4096  # bytes of the disk that a file takes beyond its size, at most
DEEPEST = 100  # nested folders in an archive; a thousand exhaust Python's stack

# Of the system's errors, those that the names in an archive cause; decoders give no number.
BAD_NAMES = (None, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)


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
    path = part.with_suffix('')
    if not shutil.which('curl'):
        raise DownloadError(
            f'Downloading needs curl, which is not installed: install it, or fetch {file.url} by '
            f'other means as {path} and run the same command again'
        )
    try:
        transfer(file, part)
    except TransferError as error:
        advice = f'fetch it by other means as {path} and run the same command again'
        if error.passing:
            advice = f'{error.kept} bytes are kept: run the same command again'
        ends = not error.passing or error.kept
        raise DownloadError(f'{file.url}: {error}{f"; {advice}" if ends else ""}') from error


def _matches(path: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(':')
    return digest_of(path, algorithm) == expected


def _set_aside(file: Path, path: Path) -> str:
    return f'it is now {set_aside(file, path)}: run the same command again to download it'


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
    there = sum(size_of(downloads / f'{f.name}{end}') for f in files for end in ('', '.part'))
    archives = sum(sizes) if keep_archives else max(sizes, default=0)
    return sum(sizes) + max(archives - there, 0)


def _link(links: Iterable[tuple[str, str]], data: Path) -> None:
    for link, target in ((data / link, data / target) for link, target in links):
        if target.exists() and not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
