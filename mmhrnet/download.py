"""Downloads by curl that resume where they were cut."""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import BinaryIO, Protocol, TypedDict, cast

import rich.progress as bars
from rich.console import Console
from rich.filesize import decimal

from mmhrnet.errors import UserError
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
UNKNOWN_SIZE = 2 << 30  # bytes that are expected, at most, of a file of unknown size

# --disable leaves ~/.curlrc out; a connection below 1 kB/s for 30 seconds is cut.
CURL = """curl --disable --globoff --fail --location --silent --show-error --user-agent mmhrnet
    --speed-limit 1000 --speed-time 30 --write-out %{stderr}\\n%{http_code}"""
CONNECT = (30, 10)  # seconds to wait for a connection: patiently, and where others may have it
CURL_NAME = re.compile(r'curl: \(\d+\) ')  # before its messages
CURL_NO_RANGE, CURL_TOO_LARGE = 33, 63  # exit codes
CURL_SILENT = (5, 6, 7, 28, 35, 52)  # no name, no connection, no answer
# No answer, a line that was cut or slow: another attempt may help.
CURL_RETRIED = (*CURL_SILENT, 16, 18, CURL_NO_RANGE, 55, 56, 92)
BUSY = ('408', '425', '429', '500', '502', '503', '504')


class DownloadError(UserError, RuntimeError):
    """A file cannot be downloaded or is not what it should be; the message says what to do."""


class TransferError(DownloadError):
    """Why a server did not give a file; the caller adds what to do about it.

    Attributes:
        kept: Bytes of the file that are there, to be continued.
        passing: Another attempt, later, may help.
        silent: Nothing answers there.
    """

    def __init__(self, reason: str, kept: int = 0, *, passing: bool = False, silent: bool = False):
        super().__init__(reason)
        self.kept, self.passing, self.silent = kept, passing, silent


class Remote(Protocol):
    """A file on a server; ``size`` is in bytes, about; ``checksum`` is like 'sha256:0123...'.

    A checksum may be only the beginning of one.
    """

    @property
    def url(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def checksum(self) -> str | None: ...


def transfer(file: Remote, part: Path, *, quick: bool = False, show: bool = True) -> None:
    """Brings a file, or the rest of it, to ``part``; nothing checks it.

    Args:
        quick: Wait 10 seconds for a connection, not 30, and once; the caller knows other servers.
        show: Draw a progress bar, on a terminal.

    Raises:
        TransferError: No answer, no such file, no space. What came is kept where it can be
            continued.
    """
    best = failures = 0
    while failure := _attempt(file, part, CONNECT[quick], show):
        size = failure.kept
        failures = 1 if size > best else failures + 1
        best = max(best, size)
        if failures >= ATTEMPTS or not failure.passing or (quick and failure.silent):
            raise failure
        time.sleep(min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))


def _kept(file: Remote, part: Path) -> int:
    """Bytes to continue after, where a check would find that the file changed on the server.

    zip and gzip carry checksums of their content; a plain tar does not.
    """
    checked = file.checksum or Path(file.name).suffix in ('.zip', '.gz')
    return size_of(part) if checked else 0


def _attempt(file: Remote, part: Path, connect: int, show: bool) -> TransferError | None:
    """Asks once for what is missing; returns why the file is not complete, or None."""
    have = _kept(file, part)
    code, status, message = _run_curl(file, part, have, connect, show)
    expected = ('200', '206') if have else ('200',)  # an unasked 206 is a piece of the file
    if status not in expected or code == CURL_TOO_LARGE:
        os.truncate(part, have)
    complete = code == 0 and status in expected and size_of(part)
    if complete or (have and status == '416'):  # 416: nothing follows the last byte
        return None
    if code == CURL_NO_RANGE or not size_of(part):
        part.unlink()
    return TransferError(
        message or f'HTTP {status} without a file',
        _kept(file, part),
        passing=code in CURL_RETRIED or status in BUSY,
        silent=code in CURL_SILENT and status == '000',
    )


def _run_curl(
    file: Remote, part: Path, have: int, connect: int, show: bool
) -> tuple[int, str, str]:
    """Continues after ``have`` bytes; returns curl's exit code, the HTTP status and a message."""
    free = shutil.disk_usage(part.parent).free - SPARE
    limit = left = max(1, min(2 * (file.size or UNKNOWN_SIZE) - have, free))
    options = ['--continue-at', str(have), '--max-filesize', str(limit)]
    options += ['--connect-timeout', str(connect)]
    options += ['--proto-redir', '=https'] if file.url.startswith('https:') else []
    command, pipe = [*CURL.split(), *options, '--url', file.url], subprocess.PIPE
    rest = max((file.size or 0) - have, 0)
    shown: Bar = {**SHOWN, 'disable': SHOWN['disable'] or not show}
    with (
        part.open('ab' if have else 'wb') as output,
        subprocess.Popen(command, stdout=pipe, stderr=pipe, bufsize=0) as curl,  # noqa: S603
        bars.wrap_file(cast(BinaryIO, curl.stdout), rest, description=file.name, **shown) as body,
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
    return curl.returncode, status, CURL_NAME.sub('', message.partition('\n')[0])


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def digest_of(path: Path, algorithm: str = 'sha256') -> str:
    """The checksum of a file, in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with bars.open(path, 'rb', description=f'checking {path.name}', **SHOWN) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def set_aside(file: Path, path: Path) -> Path:
    """Renames a wrong file to ``<name of path>.bad``, with a number if another file has that name.

    The same content is kept once, however often a server gives it.
    """
    names = (path.with_name(f'{path.name}.bad{number or ""}') for number in count())
    free = (n for n in names if not n.exists() or filecmp.cmp(n, file, shallow=False))
    return file.replace(next(free))
