"""Weights from several places: servers that are dead, lie or cut, a folder, a cache, the Hub."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from fake_hub import Hub
from faulty_server import BODY, Server
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

import mmhrnet
from mmhrnet import checkpoints, cli, download
from mmhrnet.checkpoints import fetching as door
from mmhrnet.checkpoints import places
from mmhrnet.checkpoints.fetching import FetchError
from mmhrnet.checkpoints.places import checksum_of, known_weights, name_of
from mmhrnet.hub.models import load_weights
from mmhrnet.hub.names import TIMM_NAMES
from mmhrnet.hub.published import metafile_models
from mmhrnet.zoo import weights as zoo

ROOT = Path(__file__).resolve().parents[1]
DIGEST = hashlib.sha256(BODY).hexdigest()
NAME = f'net_20200101_120000-{DIGEST[:8]}.pth'
DEAD = 'http://127.0.0.1:9'
PAGE = b'<!DOCTYPE html><title>Please log in</title>'


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Makes servers that have the file and answer as a plan says."""
    if not shutil.which('curl'):
        pytest.skip('downloads are made by curl')
    running = []

    def make(*plan: dict, body: bytes = BODY) -> Server:
        server = Server()
        server.bodies = {f'/{NAME}': body, f'/deep/{NAME}': body, '/login': PAGE}
        server.plan = list(plan)
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        running.append((server, thread))
        return server

    yield make
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's cache; nothing is left of other tests, and pauses take no time."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('HF_HUB_DISABLE_PROGRESS_BARS', '1')
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    for name in ('MMHRNET_WEIGHTS', 'MMHRNET_MIRRORS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(door, 'SILENT', {})
    monkeypatch.setattr(download.time, 'sleep', lambda _: None)
    return tmp_path / 'torch' / 'hub' / 'checkpoints'


@pytest.fixture
def expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server whose certificate ended yesterday."""
    if not shutil.which('openssl'):
        pytest.skip('certificates are made by openssl')
    for command in (
        'openssl req -newkey rsa:2048 -nodes -keyout key -out request -subj /CN=127.0.0.1',
        'openssl x509 -req -in request -signkey key -days -1 -out cert',
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv('CURL_CA_BUNDLE', str(tmp_path / 'cert'))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / 'cert', tmp_path / 'key')
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url.replace('http:', 'https:')
        server.shutdown()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith('.'))


def mirror(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    monkeypatch.setenv('MMHRNET_MIRRORS', ' '.join(addresses))


@pytest.mark.parametrize(
    ('name', 'digits'),
    [
        ('faster_rcnn_hrnetv2p_w18_1x_coco_20200130-56651a6d.pth', '56651a6d'),
        ('td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909.pth', '81c58e40'),
        ('dekr_hrnet-w32_8xb10-140e_coco-512x512_ac7c17bf-20221228.pth', 'ac7c17bf'),
        ('hrnet-w64_3rdparty_8xb32_in1k_20220120-19126642.pth', '19126642'),
        ('fcn_hr18_512x512_160k_ade20k_20200614_214426.pth', None),
        ('epoch_12.pth', None),
        ('hrnet_w18.ms_in1k.safetensors', None),
    ],
)
def test_the_digits_of_a_name_are_no_date(name: str, digits: str | None) -> None:
    assert checksum_of(name) == digits


def test_every_published_name_has_digits_and_an_entry_in_the_table() -> None:
    for library in ('mmdet', 'mmpose', 'mmseg', 'mmpretrain'):
        table = yaml.safe_load((ROOT / f'configs/{library}/weights.yml').read_text())
        published = {
            name_of(model['Weights'])
            for model in metafile_models()
            if 'Weights' in model and model['Config'].startswith(f'configs/{library}/')
        }
        assert published == {name for name, entry in table.items() if 'url' not in entry}
        others = {name for name, entry in table.items() if 'config' in entry}  # no digits
        assert all(checksum_of(name) for name in table.keys() - others)
        assert all(name_of(e['url']) == name for name, e in table.items() if 'url' in e)
        configs = {table[name]['config'] for name in others}
        assert all((ROOT / f'configs/{library}/{config}.py').is_file() for config in configs)
        assert all({'source', 'published'} <= table[name].keys() for name in others)


def test_weights_on_the_hub_are_timms() -> None:
    tags = {f'hf://timm/{name}.{tag}' for name, (_, tags) in TIMM_NAMES.items() for tag in tags}
    others = {entry['also'] for entry in known_weights().values() if 'also' in entry}
    assert len(others) == 11
    assert others <= tags


FAULTS: dict[str, tuple[list[dict], str, list[str]]] = {
    'missing': ([{'status': 404}], 'error: 404', []),
    'broken': ([{'status': 503}] * 9, 'error: 503', []),
    'a login page': ([{'status': 302, 'headers': {'Location': '/login'}}], 'a web page', ['.bad']),
    'truncated': ([{'body': BODY[:-9]}], 'SHA-256 begins with', ['.bad']),
    'wrong': ([{'body': BODY[::-1]}], f'not with {DIGEST[:8]}', ['.bad']),
    'cut again and again': ([{'cut': 5000}] * 9, 'bytes remaining', []),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_another_place_is_asked(
    fault: str,
    servers: Callable[..., Server],
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan, reason, aside = FAULTS[fault]
    first, second = servers(*plan), servers()
    mirror(monkeypatch, f'{second.url}/deep/')
    path, place = door.fetch(f'{first.url}/{NAME}')
    assert path.read_bytes() == BODY
    assert place.url == f'{second.url}/deep/{NAME}'
    assert names(kept) == [NAME, *(f'{NAME}{end}' for end in aside)]
    assert reason in caplog.text
    if fault.startswith('cut'):
        assert second.requests == ['bytes=5000-']  # the other server goes on from there


def test_what_passes_is_asked_again(servers: Callable[..., Server], kept: Path) -> None:
    server = servers({'status': 500}, {'cut': 5000}, {'status': 429})
    assert door.fetch(f'{server.url}/{NAME}').path.read_bytes() == BODY
    assert server.requests == [None, None, 'bytes=5000-', 'bytes=5000-']
    assert names(kept) == [NAME]


def test_half_of_a_wrong_file_does_not_spoil_the_right_one(
    servers: Callable[..., Server], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = servers(*[{'body': BODY[::-1], 'cut': 5000}] * 9), servers()
    mirror(monkeypatch, second.url)
    assert door.fetch(f'{first.url}/{NAME}').path.read_bytes() == BODY
    assert second.requests == ['bytes=5000-', None]
    assert names(kept) == [NAME, f'{NAME}.bad']


def test_dead_expired_truncated_and_right(
    expired: str,
    servers: Callable[..., Server],
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut, right = servers(body=BODY[:-9]), servers()
    mirror(monkeypatch, expired, cut.url, right.url)
    path, _ = door.fetch(f'{DEAD}/{NAME}')
    assert path.read_bytes() == BODY
    reasons = f'{DEAD}/.*connect.*; {expired}/.*certificate has expired.*; {cut.url}/.*SHA-256'
    assert re.search(reasons, caplog.text)
    path.unlink()
    cut.bodies, right.bodies = {}, {}
    with pytest.raises(FetchError) as info:
        door.fetch(f'{DEAD}/{NAME}')
    first, *tried, last = str(info.value).splitlines()
    assert first == f'{NAME} cannot be fetched:'
    assert [line.split('/net')[0].strip() for line in tried] == [
        *(expired, cut.url, right.url),
        DEAD,  # it did not answer, so it is the last
    ]
    assert last.startswith('Set MMHRNET_WEIGHTS to a folder that has the file, or MMHRNET_MIRRORS')
    assert names(kept) == [f'{NAME}.bad']


def test_a_silent_server_is_asked_first_again_after_a_while(
    servers: Callable[..., Server], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = servers()
    mirror(monkeypatch, right.url)
    now = [1000.0]
    monkeypatch.setattr(door, 'monotonic', lambda: now[0])
    asked = []
    transfer = door.transfer
    monkeypatch.setattr(
        door, 'transfer', lambda place, *a, **b: asked.append(place.url) or transfer(place, *a, **b)
    )
    for seconds in (0, 1, 400):
        now[0] = 1000.0 + seconds
        door.fetch(f'{DEAD}/{NAME}').path.unlink()
    dead, mirrored = f'{DEAD}/{NAME}', f'{right.url}/{NAME}'
    assert asked == [dead, mirrored, mirrored, dead, mirrored]


def test_without_curl_torch_downloads(
    servers: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = servers()
    monkeypatch.setenv('PATH', '')
    mirror(monkeypatch, right.url)
    assert door.fetch(f'{DEAD}/{NAME}').path.read_bytes() == BODY
    assert set(door.SILENT) == {'127.0.0.1:9'}


def no_network(*_: object, **__: object) -> None:
    raise AssertionError('the network was asked')


def test_the_folder_comes_first_and_the_cache_is_verified_once(
    servers: Callable[..., Server], kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers()
    kept.mkdir(parents=True)
    (kept / NAME).write_bytes(b'wrong')
    url = f'{server.url}/{NAME}'
    assert door.fetch(url).path == kept / NAME
    assert names(kept) == [NAME, f'{NAME}.bad']
    digests = []
    digest_of = door.digest_of
    monkeypatch.setattr(door, 'digest_of', lambda p: digests.append(p) or digest_of(p))
    (tmp_path / 'own').mkdir()
    monkeypatch.setenv('MMHRNET_WEIGHTS', str(tmp_path / 'own'))
    (tmp_path / 'own' / NAME).write_bytes(b'wrong')
    for _ in range(2):
        assert door.fetch(url).path == kept / NAME
    assert digests == [tmp_path / 'own' / NAME, kept / NAME]
    assert names(tmp_path / 'own') == [NAME]  # it is not ours to rename
    shutil.copy(kept / NAME, tmp_path / 'own')
    assert door.fetch(url).path == tmp_path / 'own' / NAME
    assert len(server.requests) == 1


def test_the_whole_sha256_counts_where_it_is_known(
    servers: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers()
    other = DIGEST[:60] + 'ffff'
    for known, right in ((DIGEST, True), (other, False)):
        monkeypatch.setattr(places, 'known_weights', lambda sha=known: {NAME: {'sha256': sha}})
        if right:
            door.fetch(f'{server.url}/{NAME}').path.unlink()
            continue
        with pytest.raises(FetchError, match=f'begins with {DIGEST[:16]}, not with'):
            door.fetch(f'{server.url}/{NAME}')


@pytest.mark.parametrize('body', [PAGE, b'PK', b''])
def test_a_name_without_digits_must_be_a_whole_checkpoint(
    body: bytes, servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({'a': torch.ones(3)}, tmp_path / 'own.pth')
    first, second = servers(), servers()
    first.bodies = {'/own.pth': body or (tmp_path / 'own.pth').read_bytes()[:-40]}
    second.bodies = {'/own.pth': (tmp_path / 'own.pth').read_bytes()}
    mirror(monkeypatch, second.url)
    assert torch.equal(checkpoints.load_url(f'{first.url}/own.pth')['a'], torch.ones(3))


def test_a_repository_of_the_hub_is_a_mirror(
    hub: Hub, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files[f'/org/weights/resolve/v1/{NAME}'] = BODY
    mirror(monkeypatch, 'hf://org/empty', 'hf://org/weights@v1')
    path, place = door.fetch(f'{DEAD}/{NAME}')
    assert (path, path.read_bytes()) == (kept / NAME, BODY)
    assert place.url == f'hf://org/weights@v1/{NAME}'
    assert any(request.startswith('HEAD /org/empty/') for request in hub.requests)


def test_wrong_bytes_of_the_hub_are_found_by_its_own_sha256(
    hub: Hub, kept: Path, tmp_path: Path
) -> None:
    hub.files['/org/net/resolve/main/model.safetensors'] = BODY
    hub.etag = 'a' * 64
    with pytest.raises(FetchError, match=r'not with aaaaaaaaaaaaaaaa; it is now .*a\.bad'):
        door.fetch('hf://org/net')
    assert names(kept) == []
    save_file({'a': torch.ones(3)}, tmp_path / 'right.safetensors')
    hub.files['/org/net/resolve/main/model.safetensors'] = (
        tmp_path / 'right.safetensors'
    ).read_bytes()
    hub.etag = ''
    assert 'a' in CheckpointLoader.load_checkpoint('hf://org/net')
    assert names(kept) == []  # it is in the cache of huggingface_hub


def test_repositories_and_revisions_are_not_confused(
    hub: Hub, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(value: float) -> dict[str, bytes]:
        save_file({'a': torch.full((3,), value)}, tmp_path / 'a.safetensors')
        return {'model.safetensors': (tmp_path / 'a.safetensors').read_bytes()}

    def read(url: str) -> float:
        return checkpoints.load_url(url)['a'][0].item()

    first = hub.push('one/net', weights(1))
    hub.push('two/net', weights(2))
    hub.repositories['one/net'].refs['v1'] = first
    assert [read(f'hf://{name}') for name in ('one/net', 'two/net', 'one/net@v1')] == [1, 2, 1]
    hub.push('one/net', weights(3))
    pinned = (f'one/net@{first}', 'one/net@v1', 'one/net@v1/model.safetensors')
    assert [read(f'hf://{name}') for name in ('one/net', *pinned)] == [3, 1, 1, 1]
    own = tmp_path / 'own'
    zoo.fetch_weights(['hf://one/net@v1', 'hf://two/net'], bundle=own)
    hub.repositories.clear()
    assert names(own) == ['one--net@v1--model.safetensors', 'two--net--model.safetensors']
    assert not any(path.is_symlink() for path in own.iterdir())
    monkeypatch.setenv('MMHRNET_WEIGHTS', str(own))
    monkeypatch.setattr(socket, 'socket', no_network)
    assert [read(f'hf://{name}') for name in ('one/net@v1', 'two/net')] == [1, 2]


def test_a_hub_that_did_not_answer_is_asked_only_for_what_it_gave_before(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files[f'/org/weights/resolve/main/{NAME}'] = BODY
    mirror(monkeypatch, 'hf://org/weights')
    door.fetch(f'{DEAD}/{NAME}').path.unlink()
    hub.requests.clear()
    door.SILENT[places.HUB] = door.monotonic()
    assert door.fetch(f'{DEAD}/{NAME}').path.read_bytes() == BODY
    assert hub.requests == []


def test_the_same_weights_on_the_hub_stand_in_under_the_names_of_mmpretrain(
    hub: Hub,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import timm

    theirs = timm.create_model('hrnet_w18_small').state_dict()
    save_file(theirs, tmp_path / 'a.safetensors')
    address = '/timm/hrnet_w18_small.ms_in1k/resolve/main/model.safetensors'
    hub.files[address] = (tmp_path / 'a.safetensors').read_bytes()
    entry = {'sha256': None, 'also': 'hf://timm/hrnet_w18_small.ms_in1k'}
    monkeypatch.setattr(places, 'known_weights', lambda: {'net-01234567.pth': entry})
    state = checkpoints.load_url(f'{DEAD}/net-01234567.pth')['state_dict']
    assert torch.equal(state['backbone.conv1.weight'], theirs['conv1.weight'])
    assert 'net-01234567.pth cannot be had; hf://timm/hrnet_w18_small.ms_in1k has' in caplog.text
    assert names(kept) == ['timm--hrnet_w18_small.ms_in1k--model.safetensors']
    hub.requests.clear()
    model = mmhrnet.create_model('hrnet_w18_small_v1')
    load_weights(model, f'{DEAD}/net-01234567.pth')
    assert torch.equal(model.get_parameter('head.fc.weight'), theirs['classifier.weight'])
    assert not hub.requests  # what stands in is not asked for again


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these URLs all the weights that there are."""

    def make(**urls: str) -> None:
        monkeypatch.setattr(
            zoo, '_all_weights', lambda: [zoo.Weight(u, n) for n, u in urls.items()]
        )

    return make


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path, status: int = 0) -> None:
    monkeypatch.setattr('sys.argv', ['mmhrnet', 'weights', *map(str, words)])
    if not status:
        cli.main()
        return
    with pytest.raises(SystemExit, match=str(status)):
        cli.main()


def test_list_shows_what_a_config_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, 'list', 'mmhrnet::mmseg/fcn_hr18_4xb4-150k_ade20k-512x512')
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if '.pth' in line]
    assert rows == [
        [
            'fcn_hr18_512x512_160k_ade20k_20200614_214426-ca961836.pth',
            *('mmseg/fcn_hr18_4xb4-150k_ade20k-512x512', 'ca961836', '-'),
        ],
        ['hrnetv2_w18-00eb2006.pth', 'to', 'start', 'from', '00eb2006', '-'],
    ]
    run(monkeypatch, 'list')
    assert capsys.readouterr().out.count('.pth') == 65 + 7 + 12


def test_one_that_cannot_be_fetched_does_not_stop_the_others(
    servers: Callable[..., Server],
    kept: Path,
    table: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = servers()
    table(a=f'{server.url}/none-01234567.pth', b=f'{server.url}/{NAME}')
    run(monkeypatch, 'fetch', '--all', status=2)
    output = capsys.readouterr()
    assert f'1/2 none-01234567.pth cannot be fetched: {server.url}/none' in output.out
    assert f'2/2 {kept / NAME}, 1.0 MB' in output.out
    assert output.out.endswith('1 file, 1.0 MB\n')
    assert output.err.endswith('mmhrnet weights: 1 of 2 files cannot be fetched\n')
    run(monkeypatch, 'fetch', 'net_*')
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['fetch'], 'fetch: name configs or patterns, or give --all'),
        (['fetch', '*', '--all'], 'fetch: name configs or patterns, or give --all'),
        (['bundle', '--all'], 'bundle: name the folder to write'),
        (['bundle', 'folder'], 'bundle: name configs or patterns, or give --all'),
        (['list', '--all'], 'list takes no --all'),
        (['list', '--write'], 'list takes no --write'),
        (['list', 'nothing*'], 'No weights and no config match nothing*'),
        (['list', 'open-mmlab://none'], 'MMEngine knows no weights open-mmlab://none'),
        (['list', 'none.py'], 'There is no config none.py'),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(monkeypatch, *words, status=2)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_bundle_is_all_that_is_needed_without_a_network(
    servers: Callable[..., Server],
    kept: Path,
    table: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = servers()
    url = f'{server.url}/{NAME}'
    table(a=url)
    run(monkeypatch, 'bundle', tmp_path / 'bundle', '*')
    assert names(tmp_path / 'bundle') == [NAME]
    shutil.rmtree(kept)
    monkeypatch.setattr(door, 'transfer', no_network)
    monkeypatch.setattr(socket, 'socket', no_network)
    monkeypatch.setenv('MMHRNET_WEIGHTS', str(tmp_path / 'bundle'))
    assert door.fetch(url).path == tmp_path / 'bundle' / NAME
    assert not kept.exists()


def test_verify_finds_what_is_wrong_and_fills_the_table(
    kept: Path,
    table: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = f'other-{DIGEST[8:16]}.pth'
    table(a=f'{DEAD}/{NAME}', b=f'{DEAD}/{wrong}', c=f'{DEAD}/plain.pth')
    run(monkeypatch, 'verify')
    assert capsys.readouterr().out == f'None of these weights are in {kept} or MMHRNET_WEIGHTS\n'
    kept.mkdir(parents=True)
    for name in (NAME, wrong, 'plain.pth'):
        (kept / name).write_bytes(BODY)
    text = f'# Kept.\n{NAME}:\n  sha256:\n  also: hf://timm/a\n{wrong}:\n  sha256:\n'
    file = tmp_path / 'checkout' / 'mmdet' / 'weights.yml'
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.setattr(zoo, 'CONFIGS', tmp_path / 'checkout')
    run(monkeypatch, 'verify', NAME.replace('net', '?et'), '--write', status=2)
    assert 'is of an installed package: run this in a checkout' in capsys.readouterr().err
    (tmp_path / 'link').symlink_to(tmp_path / 'checkout')
    monkeypatch.setattr(zoo, 'CONFIGS', tmp_path / 'link')
    run(monkeypatch, 'verify', '--write', status=2)
    output = capsys.readouterr()
    assert f'{kept / wrong}: wrong: its SHA-256 begins with {DIGEST[:8]}, not with' in output.out
    assert output.out.endswith('1 right, 1 wrong, 1 unknown\n')
    assert output.err.endswith('1 file wrong: they are not used, and fetched anew\n')
    assert names(kept) == sorted([NAME, wrong, 'plain.pth'])
    assert file.read_text() == text.replace('sha256:\n', f'sha256: {DIGEST}\n', 1)
