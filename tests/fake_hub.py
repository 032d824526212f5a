"""A Hugging Face Hub on this machine: the requests by which its library uploads and downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

TOKEN = 'hf_right'  # noqa: S105 (of this server alone)
READS = 'hf_reads'  # a token that may not write
LICENSES = ('apache-2.0', 'mit', 'bsd-3-clause', 'cc-by-nc-4.0', 'other')
LARGE = ('.safetensors', '.bin', '.pth')


class Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', strict=True)


class Task(Strict):
    type: str
    name: str = ''


class Data(Strict):
    type: str
    name: str
    split: str = ''


class Metric(Strict):
    type: str
    value: float
    name: str = ''


class Result(Strict):
    task: Task
    dataset: Data
    metrics: list[Metric]


class Index(Strict):
    name: str
    results: list[Result]


class Repository:
    """Files by commit; branches and tags lead to commits."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.refs = {'main': '0' * 40}
        self.commits: dict[str, dict[str, bytes]] = {'0' * 40: {}}

    def at(self, revision: str) -> str | None:
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None

    def commit(self, revision: str, changed: dict[str, bytes]) -> str:
        files = {**self.commits[self.refs[revision]], **changed}
        commit = _sha1(repr((self.refs, sorted(files.items()))).encode())
        self.refs[revision], self.commits[commit] = commit, files
        return commit

    @property
    def files(self) -> dict[str, bytes]:
        """Those of the newest commit of the main branch."""
        return self.commits[self.refs['main']]


class Hub(ThreadingHTTPServer):
    """The server.

    Attributes:
        repositories: Those that were pushed to, by their names.
        files: Single files by the path of the URL, for tests that only download.
        etag: Instead of the SHA-256 of those.
        requests: Method and path of each request.
        endpoint: Its address.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.etag = ''
        self.endpoint = f'http://127.0.0.1:{self.server_port}'

    def push(self, name: str, files: dict[str, bytes]) -> str:
        """A commit without the library."""
        return self.repositories.setdefault(name, Repository(False)).commit('main', files)


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(self._get())

    def do_GET(self) -> None:
        self._answer(self._get())

    def do_PUT(self) -> None:
        body = self._body()
        oid = self.path.rpartition('/')[2]
        if hashlib.sha256(body).hexdigest() == oid:
            self.server.large[oid] = body
        self._answer((200 if oid in self.server.large else 400, {}, b''))

    def do_POST(self) -> None:
        path, body = self.path.partition('?')[0], self._body()
        routes = {
            r'/api/validate-yaml': self._validate,
            r'/api/repos/create': self._create,
            r'/api/models/(\w+/[\w.-]+)/preupload/([^/]+)': self._preupload,
            r'/(\w+/[\w.-]+)\.git/info/lfs/objects/batch': self._batch,
            r'/api/models/(\w+/[\w.-]+)/commit/([^/]+)': self._commit,
        }
        for pattern, answer in routes.items():
            match = re.fullmatch(pattern, path)
            if match:
                self._answer(answer(body, *match.groups()))
                return
        self._answer(_fail(404, 'no such page'))

    def _answer(self, answer: tuple[int, dict[str, str], bytes]) -> None:
        self.server.requests.append(f'{self.command} {self.path}')
        status, headers, body = answer
        self.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(b'' if self.command == 'HEAD' else body)

    def _body(self) -> bytes:
        if self.headers.get('Transfer-Encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('Content-Length', 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(parts)

    def _may(self, *tokens: str) -> bool:
        return self.headers.get('Authorization') in [f'Bearer {token}' for token in tokens]

    def _refusal(self) -> tuple[int, dict[str, str], bytes] | None:
        """What those who may not write are told."""
        if not self._may(TOKEN, READS):
            return _fail(401, 'Invalid username or password.')
        return None if self._may(TOKEN) else _fail(403, 'You need a token with write access.')

    def _get(self) -> tuple[int, dict[str, str], bytes]:
        if self.path in self.server.files:
            return self._file(self.server.files[self.path], '0' * 40, self.server.etag)
        path = self.path.partition('?')[0]
        info = re.fullmatch(r'/api/models/(\w+/[\w.-]+)(?:/revision/(.+))?', path)
        file = re.fullmatch(r'/(\w+/[\w.-]+)/resolve/([^/]+)/(.+)', path)
        asked = info or file
        if asked is None:
            return _fail(404, 'no such page')
        name, revision = asked.groups()[:2]
        found = self.server.repositories.get(name)
        if found is None or (found.private and not self._may(TOKEN, READS)):
            return _fail(401, 'Invalid username or password.', 'RepoNotFound')
        commit = found.at(revision or 'main')
        if commit is None:
            return _fail(404, f'Invalid rev id: {revision}', 'RevisionNotFound')
        if file is None:
            return _json({'id': name, 'sha': commit, 'private': found.private})
        if file[3] not in found.commits[commit]:
            return _fail(404, 'Entry not found', 'EntryNotFound', {'X-Repo-Commit': commit})
        return self._file(found.commits[commit][file[3]], commit, is_large=file[3].endswith(LARGE))

    def _file(
        self, body: bytes, commit: str, etag: str = '', is_large: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {'X-Repo-Commit': commit, 'ETag': f'"{_git_sha(body)}"'}
        if is_large:
            headers['X-Linked-Etag'] = f'"{etag or hashlib.sha256(body).hexdigest()}"'
            headers['X-Linked-Size'] = str(len(body))
            headers['ETag'] = '"of the cache of the server"'
        return 200, headers, body

    def _validate(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        errors = list(_faults(json.loads(body)['content']))
        answer = {'errors': [{'message': error} for error in errors], 'warnings': []}
        return _json(answer, 400 if errors else 200)

    def _create(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked = json.loads(body)
        owner = asked.get('organization') or 'user'  # that of the token
        name = f'{owner}/{asked["name"]}'
        refusal = self._refusal()
        if refusal:
            return refusal
        if owner != 'user':
            rights = 'You don\'t have the rights to create a model under the namespace "{}"'
            return _fail(403, rights.format(owner))
        answer = {'url': f'{self.server.endpoint}/{name}', 'name': name}
        if name in self.server.repositories:
            return _json(answer | {'error': 'You already created this model repo'}, 409)
        private = asked.get('visibility') == 'private' or asked.get('private', False)
        self.server.repositories[name] = Repository(private)
        return _json(answer)

    def _preupload(self, body: bytes, name: str, _: str) -> tuple[int, dict[str, str], bytes]:
        mode = {True: 'lfs', False: 'regular'}
        files = [
            {
                'path': file['path'],
                'uploadMode': mode[file['path'].endswith(LARGE)],
                'shouldIgnore': False,
                'oid': None,
            }
            for file in json.loads(body)['files']
        ]
        return self._refusal() or _json({'files': files})

    def _batch(self, body: bytes, name: str) -> tuple[int, dict[str, str], bytes]:
        objects = [
            {**item, 'actions': {'upload': {'href': f'{self.server.endpoint}/lfs/{item["oid"]}'}}}
            for item in json.loads(body)['objects']
        ]
        return self._refusal() or _json({'transfer': 'basic', 'objects': objects})

    def _commit(self, body: bytes, name: str, branch: str) -> tuple[int, dict[str, str], bytes]:
        changed = {}
        for line in map(json.loads, body.splitlines()):
            value = line['value']
            if line['key'] == 'file':
                changed[value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'lfsFile':
                changed[value['path']] = self.server.large[value['oid']]
        refusal = self._refusal()
        if refusal:
            return refusal
        commit = self.server.repositories[name].commit(branch, changed)
        url = f'{self.server.endpoint}/{name}/commit/{commit}'
        return _json({'commitUrl': url, 'commitOid': commit, 'success': True})

    def log_message(self, *_: Any) -> None:
        pass


def _json(answer: object, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {'Content-Type': 'application/json'}, json.dumps(answer).encode()


def _fail(
    status: int, message: str, code: str = '', headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    body = _json({'error': message})[2]
    coded = {'X-Error-Code': code, 'X-Error-Message': message} if code else {}
    return status, {'Content-Type': 'application/json', **coded, **(headers or {})}, body


def _git_sha(body: bytes) -> str:
    return _sha1(b'blob %d\0' % len(body) + body)


def _sha1(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def _faults(card: str) -> Iterator[str]:
    """What the Hub would say of the head of a card."""
    head = yaml.safe_load(card.split('---\n')[1])
    if head.get('license', 'other') not in LICENSES:
        yield f'"license" must be one of {LICENSES}'
    if head.get('license') == 'other' and not re.fullmatch(
        r'[a-z0-9-.]+', head.get('license_name', '')
    ):
        yield '"license_name" must be a slug'
    try:
        TypeAdapter(list[Index]).validate_python(head.get('model-index', []))
    except ValidationError as error:
        yield f'"model-index" is wrong: {error}'


@contextmanager
def running_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub without a token, which huggingface_hub asks; what it keeps is in a folder."""
    from huggingface_hub import constants, file_download

    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_OIDC_RESOURCE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with Hub() as server:
        # The library reads the environment when it is imported.
        pattern = f'{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
        for name, value in {
            'ENDPOINT': server.endpoint,
            'HUGGINGFACE_CO_URL_TEMPLATE': pattern,
            'HF_HUB_CACHE': str(folder / 'hub'),
            'HF_TOKEN_PATH': str(folder / 'token'),
            'HF_HUB_DISABLE_XET': True,
            'HF_HUB_DISABLE_PROGRESS_BARS': True,
        }.items():
            monkeypatch.setattr(constants, name, value, raising=False)  # old ones lack some
        monkeypatch.setattr(file_download, 'HUGGINGFACE_CO_URL_TEMPLATE', pattern, raising=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
