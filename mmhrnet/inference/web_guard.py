"""What keeps the web page to its own visitors: who may send requests, and where files are kept."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = 'mmhrnet-web-'


@cache
def private_folder() -> Path:
    """A folder of this process and this user alone, which is removed when the process ends.

    It becomes gradio's folder for uploads and is created in ``GRADIO_TEMP_DIR``, by default the
    system's folder for temporary files. Folders of processes that were killed are removed first.
    """
    parent = Path(os.environ.get('GRADIO_TEMP_DIR') or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f'{PREFIX}*'):
        if lock(left):
            shutil.rmtree(left, ignore_errors=True)
    unlocked = Path(tempfile.mkdtemp(prefix=f'new-{PREFIX}', dir=parent))
    lock(unlocked)
    # Only now does the folder have the name that other processes look for.
    folder = unlocked.rename(parent / unlocked.name.removeprefix('new-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ['GRADIO_TEMP_DIR'] = str(folder)
    return folder


def lock(folder: Path) -> bool:
    """Locks a folder until this process ends, however it ends; false where that is impossible."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class SameOriginMiddleware:
    """Refuses requests that a web page from elsewhere makes through a visitor's browser.

    The browser puts the address of that page into the Origin header, or says in Sec-Fetch-Site
    that there is one. If the page made its own name point to this machine (DNS rebinding), the
    Host header has that name. An IP address cannot be made to point elsewhere, so any address is
    accepted as Host. Starlette's TrustedHostMiddleware can only compare with a list of names.

    Args:
        app: The application to guard.
        bound: Address that the server listens on.
        allowed: Further names that visitors reach the page by, for example of a reverse proxy.
            Pages of these names may send requests from any port.
    """

    def __init__(self, app: ASGIApp, bound: str, allowed: Iterable[str]) -> None:
        self.app = app
        self.allowed = {host_name(name) for name in allowed}
        self.names = {'localhost', *self.allowed}
        bound = bound.strip('[]')
        # On loopback the name of this machine is refused: a hostile network can answer for it.
        if bound != 'localhost' and not (is_address(bound) and ip_address(bound).is_loopback):
            self.names |= {name.lower() for name in (bound, socket.gethostname(), socket.getfqdn())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = None if scope['type'] == 'lifespan' else self.problem(Headers(scope=scope))
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse(f'{problem}\n', 403)(scope, receive, send)

    def problem(self, headers: Headers) -> str | None:
        """Why a request is refused, in one line; None if it is not."""
        host, origin = headers.get('host', ''), headers.get('origin')
        name = host_name(host)
        if name not in self.names and not is_address(name):
            return (
                f'Host header {host!r}: the page does not answer to this name; '
                'start it with --allow-host NAME to add one.'
            )
        if origin is None:
            # Browsers send no Origin for pictures, scripts and frames of another page.
            foreign = headers.get('sec-fetch-site') in ('cross-site', 'same-site')
            if foreign and headers.get('sec-fetch-dest') != 'document':
                return (
                    'Sec-Fetch-Site header: requests from other pages are refused; open this one.'
                )
            return None
        sender = origin.partition('://')[2]
        if sender.lower() == host.lower() or host_name(sender) in self.allowed:
            return None
        return (
            f'Origin header {origin!r}: requests from other pages are refused; '
            'start this one with --allow-host NAME to accept those from NAME.'
        )


def host_name(authority: str) -> str:
    """``name`` of ``name:port`` in lower case, without the brackets of IPv6; empty if invalid."""
    try:
        return urlsplit(f'//{authority}').hostname or ''
    except ValueError:
        return ''


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
