"""A server that cuts, lies and changes its mind."""

from __future__ import annotations

import re
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY = bytes(range(256)) * 4096  # 1 MiB


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.bodies`` well, or as the next entry of ``server.plan`` says."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        self.server.requests.append(self.headers.get('Range'))
        act = self.server.plan.pop(0) if self.server.plan else {}
        body = act.get('body', self.server.bodies.get(self.path))
        asked = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range') or '')
        start = int(asked[1]) if asked and not act.get('ignores_range') else 0
        default = 404 if body is None else 416 if start >= len(body) > 0 else 206 if start else 200
        status = act.get('status', default)
        self.send_response(status)
        for name, value in act.get('headers', {}).items():
            self.send_header(name, value)
        if status in (200, 206):
            shown = act.get('shown', start)
            self.send_header('Content-Range', f'bytes {shown}-{len(body) - 1}/{len(body)}')
        if act.get('length', True):
            self.send_header('Content-Length', str(len(body or b'') - start))
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):
            self.wfile.write((body or b'')[start : act.get('cut')])
            while act.get('endless'):
                self.wfile.write(BODY)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.bodies: dict[str, bytes] = {'/file': BODY}
        self.plan: list[dict] = []
        self.requests: list[str | None] = []  # their ranges
        self.url = f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, *args: Any) -> None:
        pass
