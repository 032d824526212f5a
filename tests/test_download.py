"""Downloads from a server on this machine that cuts, lies and changes its mind."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from mmhrnet import apis
from mmhrnet.apis.checks import check_paths
from mmhrnet.datasets import download, sources
from mmhrnet.datasets.download import DownloadError, download_dataset, fetch
from mmhrnet.datasets.sources import SOURCES, File, Source, guide

ROOT = Path(__file__).resolve().parents[1]
BODY = bytes(range(256)) * 4096  # 1 MiB
CHECKSUM = f'sha256:{hashlib.sha256(BODY).hexdigest()}'
QUIET = Progress(disable=True)


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.bodies`` well, or as the next entry of ``server.plan`` says."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get('Range')))
        act = self.server.plan.pop(0) if self.server.plan else {}
        body = act.get('body', self.server.bodies.get(self.path))
        if 'status' in act or body is None:
            self.send_error(act.get('status', 404))
            return
        etag = f'"{hashlib.sha256(body).hexdigest()}"' if act.get('etag', True) else None
        start = self._start(etag, act)
        shown = act.get('shown', start)
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {shown}-{len(body) - 1}/{len(body)}')
        if etag:
            self.send_header('ETag', etag)
        self.send_header('Content-Length', str(act.get('length', len(body) - start)))
        self.end_headers()
        self.wfile.write(body[start : act.get('cut', act.get('length'))])
        self.close_connection = True

    def _start(self, etag: str | None, act: dict) -> int:
        asked = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range') or '')
        fresh = self.headers.get('If-Range') in (None, etag) or act.get('stubborn')
        return int(asked[1]) if asked and fresh and not act.get('ignores_range') else 0

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.bodies: dict[str, bytes] = {'/file': BODY}
        self.plan: list[dict] = []
        self.requests: list[tuple[str, str | None]] = []
        self.url = f'http://127.0.0.1:{self.server_port}'

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(download.time, 'sleep', taken.append)
    return taken


def get(server: Server, folder: Path, checksum: str | None = CHECKSUM) -> Path:
    path = folder / 'file'
    fetch(f'{server.url}/file', path, checksum, QUIET)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('cuts', [[1], [1000, 1001, 700_000], [len(BODY) - 1]])
def test_a_cut_download_goes_on_where_it_was_cut(
    cuts: list[int], server: Server, tmp_path: Path
) -> None:
    server.plan = [{'cut': cut} for cut in cuts]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, *(f'bytes={cut}-' for cut in cuts)]
    assert names(tmp_path) == ['file']


def test_a_server_that_ignores_ranges_is_read_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.plan = [{'cut': 5000}, {'ignores_range': True}]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, 'bytes=5000-']


@pytest.mark.parametrize('etag', [True, False])
@pytest.mark.parametrize('stubborn', [True, False])
def test_a_file_that_changed_is_never_mixed_with_what_was_there(
    etag: bool, stubborn: bool, server: Server, tmp_path: Path
) -> None:
    """With and without validators; ``stubborn`` servers know no If-Range."""
    old = b'x' * 9000
    server.plan = [{'body': old, 'cut': 5000, 'etag': etag}, {'stubborn': stubborn, 'etag': etag}]
    assert get(server, tmp_path).read_bytes() == BODY
    in_one_answer = etag and not stubborn
    assert server.ranges == [None, 'bytes=5000-', *([] if in_one_answer else [None])]


def test_a_wrong_content_range_starts_again(server: Server, tmp_path: Path) -> None:
    server.plan = [{'cut': 5000}, {'shown': 4000}]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, 'bytes=5000-', None]


def test_a_partial_file_of_an_unknown_server_state_is_not_continued(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / 'file.part').write_bytes(b'what is this')
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None]


def test_a_partial_file_that_is_complete_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(server, tmp_path)
    (tmp_path / 'file.part').write_bytes(BODY)
    get(server, tmp_path)
    assert len(server.requests) == 1


def test_a_partial_file_that_is_too_long_starts_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(server, tmp_path)
    (tmp_path / 'file.part').write_bytes(BODY + b'more')
    server.plan = [{'status': 416}]
    assert get(server, tmp_path).read_bytes() == BODY


def interrupt(server: Server, folder: Path) -> None:
    class Impatient(Progress):
        def advance(self, *args: Any) -> None:
            raise KeyboardInterrupt

    fetch(f'{server.url}/file', folder / 'file', CHECKSUM, Impatient(disable=True))


def test_an_interrupted_download_goes_on_in_the_next_run(server: Server, tmp_path: Path) -> None:
    server.plan = [{'cut': 6000}]
    with pytest.raises(KeyboardInterrupt):
        interrupt(server, tmp_path)
    have = (tmp_path / 'file.part').stat().st_size
    assert 0 < have <= 6000
    assert not (tmp_path / 'file').exists()
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, f'bytes={have}-']


def test_a_missing_file_is_one_error_at_once(server: Server, tmp_path: Path) -> None:
    server.bodies = {}
    with pytest.raises(DownloadError, match=r'/file: HTTP 404 .*put it at .*/file$'):
        get(server, tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.plan = [{'status': 500}, {'status': 503}]
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_server_that_stays_broken_is_given_up_after_growing_pauses(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    server.plan = [{'status': 500}] * 99
    with pytest.raises(DownloadError, match='HTTP 500'):
        get(server, tmp_path)
    assert len(server.requests) == download.ATTEMPTS
    assert pauses == [1, 2, 4, 8]


def test_any_number_of_cuts_is_fine_as_long_as_bytes_come(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    server.plan = [{'cut': 1000 * i} for i in range(1, 4 * download.ATTEMPTS)]
    assert get(server, tmp_path).read_bytes() == BODY
    assert set(pauses) == {1}


def test_cuts_without_progress_end_and_keep_what_came(server: Server, tmp_path: Path) -> None:
    server.plan = [{'cut': 5000}] * 99
    with pytest.raises(DownloadError, match=r'cut after 5000 of \d+ bytes; 5000 bytes are kept'):
        get(server, tmp_path)
    assert len(server.requests) == download.ATTEMPTS
    assert (tmp_path / 'file.part').read_bytes() == BODY[:5000]


def test_an_announced_length_that_never_comes_is_no_file(server: Server, tmp_path: Path) -> None:
    server.plan = [{'length': len(BODY) + 10, 'cut': len(BODY)}] + [{'status': 416}] * 99
    with pytest.raises(DownloadError, match='HTTP 416'):
        get(server, tmp_path, None)
    assert not (tmp_path / 'file').exists()


@pytest.mark.parametrize('act', [{'length': 700_000}, {'body': b'<html>login</html>'}])
def test_a_wrong_checksum_sets_the_file_aside(act: dict, server: Server, tmp_path: Path) -> None:
    """Announced too short, or another file."""
    server.plan = [act]
    with pytest.raises(
        DownloadError, match=f'does not have the checksum {CHECKSUM}; .*bad'
    ) as info:
        get(server, tmp_path)
    assert '\n' not in str(info.value)
    assert names(tmp_path) == ['file.bad']
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_finished_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.requests) == 1


def test_an_address_without_server_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match='refused'):
        fetch('http://127.0.0.1:9/file', tmp_path / 'file', None, QUIET)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


IMAGES = {'top/images/1.jpg': b'one', 'top/images/2.jpg': b'two'}


@pytest.fixture(params=['/a.zip', '/a.tar.gz'])
def toy(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of one archive with two images, in the table as 'toy'."""
    path = request.param
    server.bodies = {path: (zipped if path.endswith('zip') else tarred)(IMAGES)}
    put(monkeypatch, File(server.url + path, 'toy/images', '1.jpg', 10))
    return path


def put(monkeypatch: pytest.MonkeyPatch, *files: File, **kwargs: Any) -> None:
    monkeypatch.setitem(SOURCES, 'toy', Source('images', 'toy', ('mmdet/*',), '', files, **kwargs))


def test_an_archive_is_unpacked_into_place_and_removed(toy: str, tmp_path: Path) -> None:
    download_dataset('toy', tmp_path)
    assert names(tmp_path) == ['toy']
    assert names(tmp_path / 'toy') == ['images']
    assert (tmp_path / 'toy/images/2.jpg').read_bytes() == b'two'


def test_what_is_in_place_is_skipped(toy: str, server: Server, tmp_path: Path) -> None:
    download_dataset('toy', tmp_path)
    download_dataset('toy', tmp_path)
    assert len(server.requests) == 1


def test_archives_are_kept_when_asked(toy: str, server: Server, tmp_path: Path) -> None:
    download_dataset('toy', tmp_path, keep_archives=True)
    assert names(tmp_path / 'downloads') == [toy[1:]]
    shutil.rmtree(tmp_path / 'toy')
    download_dataset('toy', tmp_path)
    assert len(server.requests) == 1


def test_a_folder_that_is_there_keeps_its_files(toy: str, tmp_path: Path) -> None:
    mine = tmp_path / 'toy/images/mine.jpg'
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b'mine')
    download_dataset('toy', tmp_path)
    assert names(mine.parent) == ['1.jpg', '2.jpg', 'mine.jpg']


def test_a_damaged_archive_is_set_aside(toy: str, server: Server, tmp_path: Path) -> None:
    body = server.bodies[toy]
    middle = body.find(b'two') if toy.endswith('zip') else len(body) // 2
    server.bodies[toy] = body[:middle] + b'???' + body[middle + 3 :]
    with pytest.raises(DownloadError, match='cannot be unpacked'):
        download_dataset('toy', tmp_path)
    assert names(tmp_path / 'downloads') == [f'{toy[1:]}.bad']
    assert names(tmp_path / 'toy') == []
    server.bodies[toy] = body
    download_dataset('toy', tmp_path)
    assert names(tmp_path / 'toy/images') == ['1.jpg', '2.jpg']


@pytest.mark.parametrize('evil', ['../evil', '../../evil', 'top/../../evil'])
def test_no_archive_writes_outside(evil: str, toy: str, server: Server, tmp_path: Path) -> None:
    pack = zipped if toy.endswith('zip') else tarred
    server.bodies[toy] = pack({**IMAGES, evil: b'evil'})
    data = tmp_path / 'a/b'
    with pytest.raises(DownloadError, match=r'evil.* outside'):
        download_dataset('toy', data)
    assert not list(tmp_path.rglob('evil'))
    assert not list(data.rglob('*.jpg'))


def test_no_tar_links_outside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        link = tarfile.TarInfo('images')
        link.type, link.linkname = tarfile.SYMTYPE, '../../..'
        archive.addfile(link)
    server.bodies = {'/a.tar': buffer.getvalue()}
    put(monkeypatch, File(f'{server.url}/a.tar', 'toy/images', '1.jpg'))
    with pytest.raises(DownloadError, match='outside'):
        download_dataset('toy', tmp_path)


def test_no_zip_has_absolute_members(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.bodies = {'/a.zip': zipped({**IMAGES, f'{tmp_path}/evil': b''})}
    put(monkeypatch, File(f'{server.url}/a.zip', 'toy/images', '1.jpg'))
    with pytest.raises(DownloadError, match='outside'):
        download_dataset('toy', tmp_path)


def test_an_archive_of_something_else_is_set_aside(
    toy: str, server: Server, tmp_path: Path
) -> None:
    server.bodies[toy] = (zipped if toy.endswith('zip') else tarred)({'top/3.jpg': b''})
    with pytest.raises(DownloadError, match=r'it has no 1\.jpg'):
        download_dataset('toy', tmp_path)
    assert names(tmp_path / 'toy') == []


def test_interrupted_unpacking_leaves_the_archive_and_no_folder(
    toy: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, '_place', stop)
        with pytest.raises(KeyboardInterrupt):
            download_dataset('toy', tmp_path)
    assert names(tmp_path / 'toy') == []
    download_dataset('toy', tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path / 'toy/images') == ['1.jpg', '2.jpg']


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: shutil._ntuple_diskusage(0, 0, free))


@pytest.mark.parametrize(('free', 'message'), [(19, '19 bytes.* 20 bytes'), (20, '20 bytes')])
def test_a_full_disk_is_one_error_before_the_file(
    free: int, message: str, toy: str, server: Server, tmp_path: Path, monkeypatch: Any
) -> None:
    """By the sizes of the table before anything is asked, then by the size of the server."""
    set_free(monkeypatch, free)
    with pytest.raises(DownloadError, match=message):
        download_dataset('toy', tmp_path)
    assert len(server.requests) == (free == 20)
    assert not list(tmp_path.rglob('a.*.part'))


def test_a_disk_too_small_for_the_unpacked_files_keeps_the_archive(
    toy: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not toy.endswith('zip'):
        pytest.skip('a tar archive does not say what is in it')
    server.bodies[toy] = zipped({**IMAGES, 'top/images/3.jpg': b'3' * 10_000})
    download_dataset('toy', tmp_path, keep_archives=True)
    shutil.rmtree(tmp_path / 'toy')
    set_free(monkeypatch, 10_000)
    with pytest.raises(DownloadError, match='10006 bytes'):
        download_dataset('toy', tmp_path)
    assert names(tmp_path / 'downloads') == [toy[1:]]


def test_only_takes_the_files_that_match(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.bodies = {'/a.zip': zipped(IMAGES), '/b.json': b'{}'}
    first = File(f'{server.url}/a.zip', 'toy/images', '1.jpg')
    put(monkeypatch, first, File(f'{server.url}/b.json?download=1', 'toy', 'b.json'))
    server.bodies['/b.json?download=1'] = b'{}'
    download_dataset('toy', tmp_path, only='b*')
    assert names(tmp_path / 'toy') == ['b.json']
    with pytest.raises(DownloadError, match=r'--only c\* matches no file of toy: a.zip, b.json'):
        download_dataset('toy', tmp_path, only='c*')


def test_links_lead_to_the_shared_images(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, *SOURCES['toy'].files, links=(('other/images/train', 'toy/images'),))
    for _ in range(2):
        download_dataset('toy', tmp_path)
        assert (tmp_path / 'other/images/train/1.jpg').read_bytes() == b'one'
    assert not (tmp_path / 'other/images/train').readlink().is_absolute()


def test_coco_is_where_the_configs_look_for_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archives have COCO's own layout: each its folder, the maps two of them."""
    archives = {
        'annotations_trainval2017.zip': [
            f'annotations/{kind}_{split}2017.json'
            for kind in ('instances', 'person_keypoints')
            for split in ('train', 'val')
        ],
        'train2017.zip': ['train2017/000000000009.jpg'],
        'val2017.zip': ['val2017/000000000139.jpg'],
        'stuffthingmaps_trainval2017.zip': [
            'train2017/000000000009.png',
            'val2017/000000000139.png',
        ],
    }
    server.bodies = {f'/{a}': zipped(dict.fromkeys(n, b'')) for a, n in archives.items()}
    source = SOURCES['coco']
    files = [f._replace(url=f'{server.url}/{f.name}', size=1, checksum=None) for f in source.files]
    monkeypatch.setitem(SOURCES, 'coco', source._replace(files=tuple(files)))
    download_dataset('coco', tmp_path)
    options = {f'{name}_dataloader.dataset.bbox_file': None for name in ('val', 'test')}
    for config, cfg_options in (
        ('mmdet/htc_hrnetv2p-w18_20e_coco', {}),
        ('mmpose/td-hm_hrnet-w32_4xb32-210e_coco-256x192', options),
    ):
        path = ROOT / f'configs/{config}.py'
        root = str(tmp_path / 'coco')
        check_paths(apis.make_config(path, data_root=root, cfg_options=cfg_options))


@pytest.mark.parametrize('name', SOURCES)
def test_the_table_is_of_the_configs(name: str) -> None:
    source = SOURCES[name]
    for pattern in source.configs:
        configs = sorted((ROOT / 'configs').glob(f'{pattern}.py'))
        assert configs, pattern
        roots = {Path(d.data_root) for d in apis.config.datasets(apis.load_config(configs[0]))}
        assert roots == {Path('data', source.root)}
    for file in source.files:
        assert file.checksum is None or re.fullmatch(
            r'sha256:[0-9a-f]{64}|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}', file.checksum
        )


def test_every_config_is_in_the_table() -> None:
    listed = [
        path
        for source in SOURCES.values()
        for pattern in source.configs
        for path in (ROOT / 'configs').glob(f'{pattern}.py')
    ]
    assert sorted(listed) == sorted((ROOT / 'configs').glob('mm*/*.py'))


@pytest.mark.parametrize('name', SOURCES)
def test_the_guide_names_scripts_that_are_there(name: str) -> None:
    text = guide(SOURCES[name], Path('data'))
    assert f'--data-root data/{SOURCES[name].root}' in text
    scripts = re.findall(r'python (\S+\.py)', text)
    assert all(Path(script).is_file() or script == 'tools/train.py' for script in scripts), scripts
    assert (len(scripts) == 2) == ('convert' in SOURCES[name].how or name == 'cityscapes')


def test_a_host_that_is_not_installed_has_its_scripts_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, 'find_spec', lambda _: None)
    text = guide(SOURCES['cityscapes'], Path('data'))
    assert '<mmseg>/tools/dataset_converters/cityscapes.py' in text


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / 'tools/download_dataset.py'), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_tool_says_what_needs_a_login(tmp_path: Path) -> None:
    result = run('cityscapes', '--data-root', str(tmp_path))
    assert result.returncode == 0, result.stderr
    for word in ('register', 'leftImg8bit_trainvaltest.zip', f'{tmp_path}/cityscapes', 'convert'):
        assert word in result.stdout
    assert names(tmp_path) == []


def test_the_tool_lists_the_data_sets() -> None:
    result = run('--list')
    assert result.returncode == 0
    assert all(name in result.stdout for name in SOURCES)


def test_the_tool_says_errors_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    file.touch()
    for arguments in (['nothing'], ['coco', '--data-root', str(file)], ['coco', '--only', 'x']):
        result = run(*arguments)
        assert result.returncode == 1
        assert re.fullmatch(r'download_dataset\.py: .+\n', result.stderr)
