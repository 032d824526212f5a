"""Checks of a ``.pth`` that need no unpickling."""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
from typing import IO

from mmhrnet.checkpoints.values import require

# The first bytes of files that people mistake for checkpoints.
OTHER_FILES = {
    b'\x89HDF': 'an HDF5 file, as Keras and TensorFlow write. The HRNet of Keras is a different '
    'network, whose weights do not fit (docs/checkpoints.md)',
    b'\x1f\x8b': 'a gzip archive: unpack it first',
    b'BZh': 'a bzip2 archive: unpack it first',
    b'\xfd7zXZ': 'an xz archive: unpack it first',
    b'7z\xbc\xaf': 'a 7z archive: unpack it first',
    b'Rar!': 'a RAR archive: unpack it first',
    b'<': 'a web page: the download returned it instead of the file',
    b'version https://git-lfs': 'a pointer of Git LFS: fetch the file with `git lfs pull`',
}

LONGEST_END = 2**16 + 22  # bytes of a zip archive's end with its comment


def check_archive(file: IO[bytes]) -> None:
    """Raises unless the file is built as ``torch.save`` builds it, and undamaged.

    Archives that can run code through ``weights_only=True`` in torch before 2.6 (CVE-2025-32434),
    TorchScript and tar, are refused.

    Args:
        file: Binary file; it is left at its start.

    Raises:
        UnpicklingError: It is another kind of file.
        EOFError: It ends too early.
        BadZipFile: It is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(32)
    file.seek(0)
    if not start.strip(b'\0'):
        raise EOFError('it is empty' if not size else 'it begins with zeros')
    for magic, kind in OTHER_FILES.items():
        require(not start.lstrip().startswith(magic), f'it is {kind}')
    if start.startswith(b'PK'):
        _check_names(check_zip(file))
        file.seek(0)
    else:
        require(not _is_tar(file), 'it is a tar archive, as torch wrote before 0.4')


def check_zip(file: IO[bytes]) -> list[str]:
    """The names of a zip archive's records, if it is built so that all readers see the same.

    Raises:
        UnpicklingError: Its records overlap, are compressed, or share a name.
        EOFError: It ends too early.
        BadZipFile: It is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    if not _has_one_directory(file, size):
        file.seek(max(0, size - LONGEST_END))
        if b'PK\5\6' not in file.read():
            raise EOFError('the list of its records is missing')
        raise zipfile.BadZipFile('the list of its records is not at its end')
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        names = [record.filename for record in records]
        require(len({name.lower() for name in names}) == len(names), 'two records share a name')
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        require(stored, 'its records are compressed')
        require(sum(record.file_size for record in records) <= size, 'its records overlap')
        damaged = archive.testzip()  # torch itself does not check them
        if damaged is not None:
            raise zipfile.BadZipFile(f'its record {damaged} is damaged')
    return names


def _check_names(names: list[str]) -> None:
    folder = names[0].partition('/')[0] if names else ''
    require(f'{folder}/data.pkl' in names, 'it is a zip archive of something else')
    require(f'{folder}/constants.pkl' not in names, 'it is a TorchScript archive, a program')


def _has_one_directory(file: IO[bytes], size: int) -> bool:
    """Whether the directory ends the file: elsewhere, readers could disagree on which one it is."""
    file.seek(max(0, size - 98))
    end = file.read()[-98:].rjust(98, b'\0')
    if end[-22:-18] != b'PK\5\6':
        return False
    length, offset = struct.unpack('<II', end[-10:-2])
    start = size - 22
    if end[-42:-38] == b'PK\6\7':  # the larger form, which torch writes
        start = size - 98
        (found,) = struct.unpack('<Q', end[-34:-26])
        length, offset = struct.unpack('<QQ', end[40:56])
        if found != start:
            return False
    return offset + length == start


def _is_tar(file: IO[bytes]) -> bool:
    try:
        tarfile.open(fileobj=file, mode='r:').close()
    except tarfile.TarError:
        return False
    finally:
        file.seek(0)
    return True
