"""Whether a file is built as ``torch.save`` builds it, and as large as what it says it holds."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Collection
from typing import IO

from mmhrnet.checkpoints.claims import require
from mmhrnet.checkpoints.outline import Outline

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file of torch before 1.6
SHARED = 4  # tensors may share memory, as an average and a tied layer do, but not without end
SMALL = 2**24  # bytes


def check_structure(file: IO[bytes], allowed: Collection[str]) -> None:
    """Reads what a ``.pth`` says of itself; nothing in it is made.

    Args:
        file: Binary file; it is left at its start.
        allowed: Names of further types that it may hold.

    Raises:
        UnpicklingError: It asks for what no checkpoint needs, or claims more than it has.
        BadZipFile, ValueError, LookupError: It is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = file.read(4) == b'PK\3\4'
    file.seek(0)
    outline = _check_zip(file, size, allowed) if zipped else _check_legacy(file, size, allowed)
    require(outline.tensor_bytes <= SHARED * size + SMALL, 'its tensors are larger than the file')
    file.seek(0)


def _check_zip(file: IO[bytes], size: int, allowed: Collection[str]) -> Outline:
    if not _has_one_directory(file, size):
        raise zipfile.BadZipFile('its list of records is not at its end')
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        sizes = {record.filename: record.file_size for record in records}
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        require(stored and sum(sizes.values()) <= size, 'its records are compressed or overlap')
        require(len({name.lower() for name in sizes}) == len(records), 'records share a name')
        folder = records[0].filename.partition('/')[0]
        require(f'{folder}/constants.pkl' not in sizes, 'it is a TorchScript archive, a program')
        damaged = archive.testzip()  # torch itself leaves the checksums alone
        if damaged is not None:
            raise zipfile.BadZipFile(f'its record {damaged} is damaged')
        outline = Outline(io.BytesIO(archive.read(f'{folder}/data.pkl')), allowed)
    for key, claimed in outline.storages.items():
        has = sizes.get(f'{folder}/data/{key}', 0)
        require(claimed <= has, f'a storage claims {claimed} bytes and has {has}')
    return outline


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


def _check_legacy(file: IO[bytes], size: int, allowed: Collection[str]) -> Outline:
    require(not _is_tar(file), 'it is empty, or a tar archive of torch before 0.4')
    magic = Outline(file).result
    require(magic == MAGIC, 'it does not begin as a file of torch does')
    _version, _system, outline, keys = [Outline(file, allowed) for _ in range(4)]
    require(set(keys.result) == set(outline.storages), 'it lists other storages than it uses')
    claimed = sum(outline.storages.values()) + 8 * len(outline.storages)
    has = size - file.tell()
    require(claimed <= has, f'its storages claim {claimed} bytes and have {has}')
    return outline


def _is_tar(file: IO[bytes]) -> bool:
    try:
        tarfile.open(fileobj=file, mode='r:').close()
    except tarfile.TarError:
        return False
    finally:
        file.seek(0)
    return True
