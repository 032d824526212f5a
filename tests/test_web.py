"""The web page: what it computes, what it refuses, and, in a real browser, how it is used."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmhrnet.datasets.images import read_image
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts
from mmhrnet.inference.web import PUBLISHED, WHOLE_IMAGE, Demo, serve

pytest.importorskip('gradio', reason='the web page needs gradio')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
CHROMEDRIVER = shutil.which('chromedriver')
ROOT = Path(__file__).resolve().parents[1]
FORM = (
    b'--B\r\nContent-Disposition: form-data;name="files";filename="../a.png"\r\n\r\nx\r\n--B--\r\n'
)
SEG = 'fcn_hr18s_4xb3-120k_cityscapes-512x1024'
CLS = 'hrnet-w18-small-v1_4xb64_in1k'  # what a training left: .py and .pth


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='module')
def folder(untrained: object) -> Path:
    return untrained('mmseg').checkpoint.parent


@pytest.fixture
def page(folder: Path, untrained: object) -> Iterator[object]:
    untrained('mmpretrain')
    page = serve(port=free_port(), checkpoints=folder, max_upload='200kb', block=False)
    yield page
    page.close()


def test_a_result_has_picture_streams_and_numbers(
    folder: Path, scene: Path, tmp_path: Path
) -> None:
    demo = Demo(folder, 'cpu', tmp_path)
    assert f'{SEG}.pth' in demo.checkpoints()
    picture, streams, found = demo.run(str(scene), f'{SEG}.py', f'{SEG}.pth', 0.3)
    assert read_image(picture).shape[1] == 480
    assert streams is not None
    assert read_image(streams).shape[1] > 1000
    assert sum(one['share'] for one in found) == pytest.approx(1)
    assert demo.predictor.cache_info().currsize == 1
    again = demo.run(str(scene), f'{SEG}.py', f'{SEG}.pth', 0.3)
    assert demo.predictor.cache_info().hits == 1
    assert again[0] != picture  # nobody rewrites what another visitor is reading
    assert again[0].read_bytes() == picture.read_bytes()


def test_pose_takes_a_detector(
    folder: Path, untrained: object, scene: Path, tmp_path: Path
) -> None:
    pose, detector = ([path.name for path in untrained(host)] for host in ('mmpose', 'mmdet'))
    arguments = (str(scene), *pose, 2.0)  # a score that nothing reaches
    demo = Demo(folder, 'cpu', tmp_path)
    assert len(demo.run(*arguments, WHOLE_IMAGE, PUBLISHED)[2]) == 1
    _, streams, found = demo.run(*arguments, *detector)
    assert found == []
    assert streams is None  # the pose estimator did not run


def test_what_cannot_work_is_said(folder: Path, tmp_path: Path) -> None:
    demo = Demo(folder, 'cpu', tmp_path)
    with pytest.raises(ConfigError, match='Drop an image first'):
        demo.run(None, f'{SEG}.py', f'{SEG}.pth', 0.3)
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(ConfigError, match='not a readable image'):
        demo.run(str(tmp_path / 'a.png'), f'{SEG}.py', f'{SEG}.pth', 0.3)


def test_the_four_tasks_have_their_configs(folder: Path, tmp_path: Path) -> None:
    tasks = Demo(folder, 'cpu', tmp_path).tasks()
    assert list(tasks) == ['detection', 'pose', 'segmentation', 'classification']
    assert tasks['segmentation'][0] == f'{SEG}.py'
    for host in known_hosts().values():
        configs = [config for config in tasks[host.task] if '/' in config]
        assert len(configs) > 5
        assert all(config.startswith(f'configs/{host.name}/') for config in configs)


def test_one_thread_computes_for_all_visitors(
    page: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio_client import Client

    threads = []

    def run(*_: object) -> tuple:
        threads.append(threading.current_thread().name)
        return None, None, []

    monkeypatch.setattr(Demo, 'run', run)
    clients = [Client(page.local_url, verbose=False) for _ in range(3)]
    choices = (None, f'{CLS}.py', PUBLISHED, 0.3, WHOLE_IMAGE, PUBLISHED)
    for client in clients:
        client.predict('classification', api_name='/choose')
    jobs = [client.submit(*choices, api_name='/run') for client in clients * 4]
    assert [job.result()[2] for job in jobs] == [[]] * 12
    assert threads == ['network_0'] * 12


def test_the_page_is_for_this_machine_and_takes_small_files_from_lists_only(
    page: object, scene: Path, tmp_path: Path
) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    assert page.server_name == '127.0.0.1'
    assert page.share is False
    client = Client(page.local_url, verbose=False, download_files=str(tmp_path))
    client.predict('classification', api_name='/choose')
    choices = (0.3, WHOLE_IMAGE, PUBLISHED)
    picture, streams, found = client.predict(
        handle_file(scene), f'{CLS}.py', f'{CLS}.pth', *choices, api_name='/run'
    )
    assert Path(picture).stat().st_size > 1000
    assert Path(streams).stat().st_size > 1000
    assert len(found) == 4
    for config, checkpoint in (
        (f'{CLS}.py', '../secret.pth'),
        ('configs/../evil.py', f'{CLS}.pth'),
    ):
        with pytest.raises(AppError, match='not in the list of choices'):
            client.predict(handle_file(scene), config, checkpoint, *choices, api_name='/run')
    large = tmp_path / 'large.png'
    large.write_bytes(bytes(300_000))
    with pytest.raises(Exception, match=r'(?i)too large|413|exceed'):
        client.predict(handle_file(large), f'{CLS}.py', f'{CLS}.pth', *choices, api_name='/run')


def test_a_taken_port_is_said(page: object, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r'cannot be served at 127\.0\.0\.1'):
        serve(port=page.server_port, checkpoints=folder, block=False)


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason='needs chromium and chromedriver')
def test_a_visitor_uploads_an_image_and_sees_the_result(
    page: object, scene: Path, tmp_path: Path
) -> None:
    driver = open_browser(tmp_path)
    try:
        driver.get(page.local_url)
        visit(driver, scene)
        driver.save_screenshot(str(tmp_path / 'page.png'))
        outside = [
            entry['message'] for entry in driver.get_log('browser') if entry['level'] == 'SEVERE'
        ]
        assert outside == []  # no script, font or picture from elsewhere is missing
    finally:
        driver.quit()


def open_browser(folder: Path) -> object:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        '--window-size=1500,1500',
        f'--user-data-dir={folder / "profile"}',
    ):
        options.add_argument(flag)
    return webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))


def visit(driver: object, image: Path) -> None:
    """Chooses the task, the config, the weights and an image, presses Run, waits for pictures."""
    from selenium.webdriver.support.ui import WebDriverWait

    def find(css: str, text: str = '') -> object:
        def found(driver: object) -> object:
            elements = driver.find_elements('css selector', css)
            return next((element for element in elements if text in element.text), None)

        return WebDriverWait(driver, 60).until(found)

    def choose(label: str, text: str) -> None:
        box = find(f'input[aria-label="{label}"]')
        box.click()
        box.send_keys('\ue009a', '\ue000', text)  # Control-A, no key, the text
        find('[role=option]', text).click()

    find('label', 'classification').click()
    WebDriverWait(driver, 60).until(
        lambda d: (
            'mmpretrain'
            in d.find_element('css selector', 'input[aria-label="config"]').get_attribute('value')
        )
    )
    choose('config', f'{CLS}.py')
    choose('weights', f'{CLS}.pth')
    driver.find_element('css selector', 'input[type=file]').send_keys(str(image))
    find('.image-container img, [data-testid=image] img')
    find('#run').click()
    for name in ('picture', 'streams'):
        assert '/file=' in find(f'#{name} img').get_attribute('src')


def test_files_of_the_machine_are_not_served(page: object) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r'404|403'):
        urllib.request.urlopen(f'{page.local_url}gradio_api/file=/etc/passwd')  # noqa: S310


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of the answer to a request with other headers than a client would send."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    if body:
        headers['Content-Type'] = 'multipart/form-data; boundary=B'
    headers = {name.replace('_', '-'): value for name, value in headers.items()}
    try:
        connection.request('POST' if body else 'GET', f'/{path}', body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


FOREIGN = (
    dict(Host='attacker.example'),
    dict(Host='localhost.attacker.example:7860', Origin='http://localhost.attacker.example:7860'),
    dict(Host='[broken'),
    dict(Origin='http://attacker.example'),
    dict(Origin='http://127.0.0.1:1'),  # another server of this machine
    dict(Origin='null'),
    dict(Host='localhost', Origin='http://127.0.0.1'),
    dict(Host='192.168.1.2:7860', Origin='http://attacker.example'),
    dict(Sec_Fetch_Site='cross-site', Sec_Fetch_Dest='image'),
    dict(Sec_Fetch_Site='same-site', Sec_Fetch_Dest='iframe'),
)


@pytest.mark.parametrize('host', ['127.0.0.1', '0.0.0.0'])  # noqa: S104
def test_requests_of_other_pages_and_names_are_refused(host: str, folder: Path) -> None:
    page = serve(
        host=host, port=free_port(), checkpoints=folder, allow_hosts=['Demo.example'], block=False
    )
    port = page.server_port
    try:
        status, text = ask(port, 'gradio_api/upload', FORM, Origin=f'http://127.0.0.1:{port}')
        upload = f'gradio_api/file={text[2:-2]}'
        assert (status, ask(port, upload)) == (200, (200, 'x'))
        for headers in FOREIGN:
            for path, body in (
                ('', None),
                ('config', None),
                (upload, None),
                ('gradio_api/heartbeat/a', None),
                ('gradio_api/queue/data?session_hash=a', None),
                ('gradio_api/upload', FORM),
                ('gradio_api/queue/join', FORM),
            ):
                status, text = ask(port, path, body, **headers)
                assert status == 403, (headers, path)
                assert re.fullmatch(r'(Host|Origin|Sec-Fetch-Site) header.*\n', text)
        for headers in (
            dict(Host='localhost:1', Origin='http://LOCALHOST:1'),  # a port forwarded by ssh
            dict(Host='[::1]:7860', Origin='http://[::1]:7860'),
            dict(Host='192.168.1.2:7860', Origin='http://192.168.1.2:7860'),
            dict(Host='demo.example', Origin='https://demo.example'),
            dict(Origin='https://demo.example'),  # of a proxy that rewrites the Host header
            dict(Sec_Fetch_Site='cross-site', Sec_Fetch_Dest='document'),  # a link to the page
        ):
            assert ask(port, 'config', **headers)[0] == 200, headers
        machine = ask(port, 'config', Host=f'{socket.gethostname()}:{port}')[0]
        assert machine == (403 if host == '127.0.0.1' else 200)
        assert ask(port, 'monitoring/summary')[0] == 403
    finally:
        page.close()


def test_only_folders_of_killed_pages_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmhrnet.inference.web_guard import PREFIX, lock, private_folder

    monkeypatch.setenv('GRADIO_TEMP_DIR', str(tmp_path))
    killed, served, other = (tmp_path / name for name in (f'{PREFIX}1', f'{PREFIX}2', 'other'))
    for folder in (killed, served, other):
        folder.mkdir()
        (folder / 'a.png').touch()
    assert lock(served)
    (tmp_path / f'{PREFIX}3').symlink_to(other)
    folder = private_folder.__wrapped__()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not killed.exists()
    assert (served / 'a.png').exists()
    assert (other / 'a.png').exists()


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_no_upload_stays_when_the_server_is_stopped(
    number: int, folder: Path, tmp_path: Path
) -> None:
    words = [sys.executable, '-u', 'tools/web_demo.py', '--checkpoints', str(folder)]
    for ending, left in ((signal.SIGKILL, 1), (number, 0)):
        port = free_port()
        server = subprocess.Popen(
            [*words, '--port', str(port)],
            cwd=ROOT,
            env=dict(os.environ, GRADIO_TEMP_DIR=str(tmp_path)),
            stdout=subprocess.PIPE,
        )
        assert b'web page' in server.stdout.readline()
        assert ask(port, 'gradio_api/upload', FORM)[0] == 200
        assert len(list(tmp_path.rglob('a.png'))) == 1  # the first server's was removed
        with socket.create_connection(('127.0.0.1', port)) as browser:
            browser.sendall(b'GET /gradio_api/heartbeat/a HTTP/1.1\r\nHost: localhost\r\n\r\n')
            browser.recv(100)
            server.send_signal(ending)
            assert server.wait(timeout=20) == (-ending if left else 0)
        assert len(list(tmp_path.iterdir())) == left
