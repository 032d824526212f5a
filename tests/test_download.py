"""Downloads from a server that cuts, lies and changes its mind, and hostile archives."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import re
import shutil
import ssl
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from faulty_server import BODY, Server

from mmhrnet import apis
from mmhrnet import download as curl
from mmhrnet.config.check import check_paths
from mmhrnet.datasets import download, sources
from mmhrnet.datasets.download import DownloadError, download_dataset, fetch, unpack
from mmhrnet.datasets.sources import SOURCES, File, Source, guide
from mmhrnet.walk import datasets

ROOT = Path(__file__).resolve().parents[1]
CHECKSUM = f'sha256:{hashlib.sha256(BODY).hexdigest()}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if not shutil.which('curl'):
        pytest.skip('downloads are made by curl')
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(curl.time, 'sleep', taken.append)
    return taken


def get(
    server: Server, folder: Path, checksum: str | None = CHECKSUM, size: int | None = len(BODY)
) -> Path:
    path = folder / 'file'
    fetch(File(f'{server.url}/file', '', 'file', size, checksum), path)
    return path


def fails(server: Server, folder: Path, message: str, **kwargs: Any) -> None:
    """One line of error, and no file in place."""
    with pytest.raises(DownloadError, match=message) as info:
        get(server, folder, **kwargs)
    assert '\n' not in str(info.value)
    assert not (folder / 'file').exists()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_cut_download_goes_on_as_long_as_bytes_come(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    cuts = [1, *range(1000, 1000 * curl.ATTEMPTS, 900), len(BODY) - 1]
    server.plan = [{'status': 500}, *({'cut': cut} for cut in cuts)]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.requests == [None, None, *(f'bytes={cut}-' for cut in cuts)]
    assert set(pauses) == {1}
    assert names(tmp_path) == ['file']


@pytest.mark.parametrize('again', [{'ignores_range': True}, {'shown': 4000}])
def test_an_answer_that_does_not_continue_the_part_starts_again(
    again: dict, server: Server, tmp_path: Path
) -> None:
    server.plan = [{'cut': 5000}, again]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.requests == [None, 'bytes=5000-', None]


def test_a_plain_tar_without_checksum_is_never_continued(server: Server, tmp_path: Path) -> None:
    """Nothing would tell that its halves are of two files; gzip's checksum does."""
    for name, ranges in (('a.tar', [None, None]), ('a.tar.gz', [None, 'bytes=5000-'])):
        server.bodies = {f'/{name}': BODY}
        server.plan, server.requests = [{'cut': 5000}], []
        fetch(File(f'{server.url}/{name}', 'toy', '1.jpg'), tmp_path / name)
        assert (tmp_path / name).read_bytes() == BODY
        assert server.requests == ranges


@pytest.mark.parametrize('part', [b'x' * 5000, BODY + b'more'])
def test_a_file_that_changed_between_two_runs_is_set_aside(
    part: bytes, server: Server, tmp_path: Path
) -> None:
    (tmp_path / 'file.part').write_bytes(part)
    fails(server, tmp_path, f'does not have the checksum {CHECKSUM}; .*run the same command again')
    assert names(tmp_path) == ['file.bad']
    assert get(server, tmp_path).read_bytes() == BODY


def test_wrong_files_are_all_kept_but_the_same_only_once(tmp_path: Path) -> None:
    for content in (b'one', b'two', b'one', b'two'):
        (tmp_path / 'part').write_bytes(content)
        curl.set_aside(tmp_path / 'part', tmp_path / 'file')
    assert names(tmp_path) == ['file.bad', 'file.bad1']
    assert (tmp_path / 'file.bad').read_bytes() == b'one'


@pytest.mark.parametrize('ignores_range', [True, False])
def test_a_complete_part_is_only_checked(
    ignores_range: bool, server: Server, tmp_path: Path
) -> None:
    (tmp_path / 'file.part').write_bytes(BODY)
    server.plan = [{'ignores_range': ignores_range}]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.requests == [f'bytes={len(BODY)}-']


@pytest.mark.parametrize(
    ('act', 'message'),
    [
        ({'status': 404}, '404; fetch it by other means as .*/file and run the same command again'),
        ({'status': 204, 'body': b''}, 'HTTP 204 without a file'),
        ({'status': 206, 'body': BODY[:1000]}, 'HTTP 206 without a file'),
        ({'status': 302}, 'HTTP 302 without a file'),
        ({'body': b''}, 'HTTP 200 without a file'),
        ({'body': b'', 'length': False}, 'HTTP 200 without a file'),
        ({'body': 3 * BODY}, 'larger than 2.1 MB'),
        ({'endless': True, 'length': False}, 'larger than 2.1 MB'),
    ],
)
def test_a_wrong_answer_is_one_error_at_once(
    act: dict, message: str, server: Server, tmp_path: Path
) -> None:
    server.plan = [act]
    fails(server, tmp_path, message, checksum=None)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_an_endless_answer_stops_before_the_disk_is_full(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, curl.SPARE + 5_000_000)
    server.plan = [{'endless': True, 'length': False}]
    fails(server, tmp_path, r'larger than 5\.0 MB', size=None)
    set_free(monkeypatch, curl.SPARE)
    fails(server, tmp_path, 'larger than 1 byte', size=None)
    assert names(tmp_path) == []


def test_a_server_that_stays_broken_is_given_up_after_growing_pauses(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    server.plan = [{'status': 500}] * 99
    fails(server, tmp_path, '500')
    assert len(server.requests) == curl.ATTEMPTS
    assert pauses == [1, 2, 4, 8]


def test_cuts_without_progress_end_and_keep_what_came(server: Server, tmp_path: Path) -> None:
    server.plan = [{'cut': 5000}] * 99
    fails(server, tmp_path, '5000 bytes are kept: run the same command again')
    assert len(server.requests) == curl.ATTEMPTS
    server.plan = [{'status': 404}]
    fails(server, tmp_path, '404')
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.requests[-1] == 'bytes=5000-'


def test_an_address_without_server_is_one_error(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match='connect'):
        fetch(File('http://127.0.0.1:9/file', '', 'file'), tmp_path / 'file')
    assert names(tmp_path) == []


@pytest.mark.skipif(not shutil.which('openssl'), reason='a certificate is made by openssl')
def test_https_is_never_left_for_http(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = (
        'openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 1 '
        '-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1'
    )
    subprocess.run(request.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / 'cert', tmp_path / 'key')
    http = f'{server.url}/file'
    with Server() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        secure.url = secure.url.replace('http:', 'https:')
        secure.plan = [{'status': 302, 'headers': {'Location': http}}, {}]
        threading.Thread(target=secure.serve_forever, daemon=True).start()
        fails(secure, tmp_path, 'certificate')
        monkeypatch.setenv('CURL_CA_BUNDLE', str(tmp_path / 'cert'))
        fails(secure, tmp_path, 'http.*disabled', checksum=None)
        assert server.requests == []
        server.plan = [{'status': 302, 'headers': {'Location': f'{secure.url}/file'}}]
        assert get(server, tmp_path).read_bytes() == BODY
        secure.shutdown()


def test_without_curl_the_way_out_is_named_and_works(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', '')
    fails(server, tmp_path, f'install it, or fetch {server.url}/file .* as {tmp_path}/file and')
    (tmp_path / 'file').write_bytes(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    (tmp_path / 'file').write_bytes(BODY[:-1])
    fails(server, tmp_path, 'does not have the checksum')


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], **fields: Any) -> bytes:
    """A plain tar, whose last member has these fields of tarfile.TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == list(files)[-1]:
                for field, value in fields.items():
                    setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


IMAGES = {'top/images/1.jpg': b'one', 'top/images/2.jpg': b'two'}


@pytest.fixture(params=['/a.zip', '/a.tar.gz'])
def toy(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of one archive with two images, in the table as 'toy'."""
    path = request.param
    server.bodies = {path: zipped(IMAGES) if path == '/a.zip' else gzip.compress(tarred(IMAGES))}
    put(monkeypatch, File(server.url + path, 'toy/images', '1.jpg', 10_000))
    return path


def put(monkeypatch: pytest.MonkeyPatch, *files: File, **kwargs: Any) -> None:
    monkeypatch.setitem(SOURCES, 'toy', Source('images', 'toy', ('mmdet/*',), '', files, **kwargs))


def test_an_archive_is_unpacked_into_place_and_removed(
    toy: str, server: Server, tmp_path: Path
) -> None:
    for _ in range(2):  # what is in place is skipped
        download_dataset('toy', tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == ['toy']
    assert names(tmp_path / 'toy') == ['images']
    assert (tmp_path / 'toy/images/2.jpg').read_bytes() == b'two'


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


def test_a_damaged_archive_is_set_aside_and_downloaded_anew(
    toy: str, server: Server, tmp_path: Path
) -> None:
    body = server.bodies[toy]
    server.bodies[toy] = body[:-20]
    with pytest.raises(DownloadError, match=r'cannot be unpacked.*run the same command again'):
        download_dataset('toy', tmp_path)
    assert names(tmp_path / 'downloads') == [f'{toy[1:]}.bad']
    assert names(tmp_path / 'toy') == []
    server.bodies[toy] = body
    download_dataset('toy', tmp_path)
    assert names(tmp_path / 'toy/images') == ['1.jpg', '2.jpg']


def plain_tar(name: str = 'top/2.jpg', content: bytes = b'two', **fields: Any) -> bytes:
    """The wanted image, and a member with these fields."""
    return tarred({'top/1.jpg': b'', name: content}, **fields)


def negative_size() -> bytes:
    """A size that leads back to the header itself."""
    header = bytearray(plain_tar()[512:1024])
    header[124:136] = tarfile.itn(-512, 12, tarfile.GNU_FORMAT)
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return plain_tar()[:512] + bytes(header) + bytes(1024)


def encrypted() -> bytes:
    body = bytearray(zipped({'top/1.jpg': b'one'}))
    body[6] |= 1  # of the local header
    body[body.index(b'PK\x01\x02') + 8] |= 1  # of the central directory
    return bytes(body)


def compressed(method: int) -> bytes:
    """Damaged in the middle of the compressed bytes."""
    noise = b''.join(hashlib.sha256(bytes([i])).digest() for i in range(200))
    body = zipped({'top/1.jpg': noise}, method)
    middle = body.index(b'PK\x01\x02') // 2
    return body[:middle] + b'????' + body[middle + 4 :]


def lying_zip() -> bytes:
    """A member of a million bytes that says three."""
    body = bytearray(zipped({'top/1.jpg': bytes(1_000_000)}, zipfile.ZIP_DEFLATED))
    start = body.index(b'PK\x01\x02')
    body[start + 24 : start + 28] = (3).to_bytes(4, 'little')
    return bytes(body)


LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
TARS: dict[str, bytes] = {
    **{f'type {t.decode()}': plain_tar(content=b'', type=t, linkname='top/1.jpg') for t in LINKS},
    'sparse': plain_tar(type=tarfile.GNUTYPE_SPARSE),
    'parent': plain_tar('../evil'),
    'inner parent': plain_tar('top/../../evil'),
    'absolute': plain_tar('/mmhrnet/evil'),
    'deep': plain_tar('a/' * 1500 + 'x'),
    'long': plain_tar('a' * 300),
    'file and folder': plain_tar('top/1.jpg/2.jpg'),
    'no end': plain_tar()[: 3 * 512],
    'cut file': plain_tar(content=bytes(5000))[:2000],
    'cut header': plain_tar()[:1000],
    'damaged header': plain_tar().replace(b'top/2.jpg', b'top/3.jpg'),
    'negative size': negative_size(),
    'not a tar': b'<html>login</html>' * 100,
    'empty': b'',
}
GZIPS = {
    'cut': gzip.compress(plain_tar())[:-20],
    'without checksum': gzip.compress(plain_tar())[:-8],
    'wrong checksum': gzip.compress(plain_tar())[:-8] + bytes(8),
    'not gzip': plain_tar(),
    'a link inside': gzip.compress(TARS['type 2']),
}
ZIPS = {
    'encrypted': encrypted(),
    'lzma': compressed(zipfile.ZIP_LZMA),
    'bz2': compressed(zipfile.ZIP_BZIP2),
    'deflate': compressed(zipfile.ZIP_DEFLATED),
    'stored': compressed(zipfile.ZIP_STORED),
    'lying size': lying_zip(),
    'cut': zipped({'top/1.jpg': b'one'})[:-10],
    'parent': zipped({'top/1.jpg': b'', '../evil': b''}),
    'absolute': zipped({'top/1.jpg': b'', '/mmhrnet/evil': b''}),
    'backslashes': zipped({'top/1.jpg': b'', 'top\\..\\..\\evil': b''}),
    'deep': zipped({'top/1.jpg': b'', 'a/' * 1500 + 'x': b''}),
    'long': zipped({'top/1.jpg': b'', 'a' * 300: b''}),
    'file and folder': zipped({'top/1.jpg': b'', 'top/1.jpg/2.jpg': b''}),
    'something else': zipped({'top/3.jpg': b''}),
    'not a zip': b'<html>login</html>',
    'empty': b'',
}
ARCHIVES = [
    pytest.param(f'a{end}', body, id=f'{end} {kind}')
    for end, bodies in (('.tar', TARS), ('.tar.gz', GZIPS), ('.zip', ZIPS))
    for kind, body in bodies.items()
]


@pytest.mark.parametrize(('name', 'body'), ARCHIVES)
def test_a_hostile_or_damaged_archive_is_one_line_and_set_aside(
    name: str, body: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / 'deep/er'
    folder.mkdir(parents=True)
    (folder / name).write_bytes(body)
    with pytest.raises(
        DownloadError, match=r'cannot be unpacked: .+; .*run the same command again to download it$'
    ) as info:
        unpack(folder / name, folder / 'images', '1.jpg')
    assert '\n' not in str(info.value)
    assert [p for p in tmp_path.rglob('*') if p.is_file()] == [folder / f'{name}.bad']
    assert names(folder) == [f'{name}.bad']
    assert not Path('/mmhrnet').exists()


@pytest.mark.parametrize('name', ['a.tar', 'a.tar.gz', 'a.zip'])
def test_an_archive_that_does_not_fit_on_the_disk_stays_and_nothing_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten bytes are a block each; the content is much larger than the archive."""
    zeros = plain_tar(content=bytes(1_000_000))
    body = {'a.tar': zeros, 'a.tar.gz': gzip.compress(zeros)}.get(name)
    body = body or zipped({'1.jpg': bytes(1_000_000)}, zipfile.ZIP_DEFLATED)
    (tmp_path / name).write_bytes(body)
    set_free(monkeypatch, 1_000_000)
    with pytest.raises(DownloadError, match=r'1000000 bytes\), .* are needed'):
        unpack(tmp_path / name, tmp_path / 'images', '1.jpg')
    assert names(tmp_path) == [name]
    monkeypatch.undo()
    unpack(tmp_path / name, tmp_path / 'images', '1.jpg')
    assert (tmp_path / 'images/1.jpg').exists()


def test_an_error_of_the_disk_does_not_blame_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Mock(side_effect=OSError(errno.ENOSPC, 'No space left on device'))
    (tmp_path / 'a.zip').write_bytes(zipped({'1.jpg': b''}))
    monkeypatch.setattr(zipfile.ZipFile, 'extractall', full)
    with pytest.raises(OSError, match='No space left'):
        unpack(tmp_path / 'a.zip', tmp_path / 'images', '1.jpg')
    assert names(tmp_path) == ['a.zip']


def test_interrupted_unpacking_leaves_the_archive_and_no_folder(
    toy: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(download, '_place', Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            download_dataset('toy', tmp_path)
    assert names(tmp_path / 'toy') == []
    download_dataset('toy', tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path / 'toy/images') == ['1.jpg', '2.jpg']


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: shutil._ntuple_diskusage(0, 0, free))


def test_a_full_disk_is_one_error_before_anything_is_asked(
    toy: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, 19_999)
    with pytest.raises(DownloadError, match=r'\(19999 bytes\).* \(20000 bytes\)'):
        download_dataset('toy', tmp_path)
    assert server.requests == []


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
    files = [
        f._replace(url=f'{server.url}/{f.name}', size=10_000, checksum=None) for f in source.files
    ]
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
        roots = {Path(d.data_root) for d in datasets(apis.load_config(configs[0]))}
        assert roots == {Path('data', source.root)}
    for file in source.files:
        assert file.checksum or file.is_archive, 'nothing would check that it is whole'
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


def test_what_needs_a_login_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    download_dataset('cityscapes', tmp_path)
    said = capsys.readouterr().out
    for word in ('register', 'leftImg8bit_trainvaltest.zip', f'{tmp_path}/cityscapes', 'convert'):
        assert word in said
    assert names(tmp_path) == []


def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(DownloadError, match='no data set nothing: choose one of coco, '):
        download_dataset('nothing')
