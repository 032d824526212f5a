"""The web page: what it computes, what it refuses, and, in a real browser, how it is used."""

from __future__ import annotations

import http.client
import json
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

from mmhrnet.checkpoints.fetching import FetchError
from mmhrnet.datasets.images import read_image
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts
from mmhrnet.inference.web import serve
from mmhrnet.inference.web_choices import PUBLISHED, Choices
from mmhrnet.inference.web_demo import WHOLE_IMAGE, Demo, Result
from mmhrnet.inference.web_messages import for_visitors
from mmhrnet.inference.web_result import summarize, tabulate

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
def folder(untrained: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of each host, the last of segmentation, without those of other tests."""
    folder = tmp_path_factory.mktemp('trainings')
    for host in ('mmpretrain', 'mmpose', 'mmdet', 'mmseg'):
        for file in untrained(host):
            shutil.copy(file, folder)
    return folder


@pytest.fixture
def page(folder: Path) -> Iterator[object]:
    page = serve(port=free_port(), checkpoints=folder, max_upload='200kb', block=False)
    yield page
    page.close()


def test_a_result_has_picture_streams_and_numbers(
    folder: Path, scene: Path, tmp_path: Path
) -> None:
    demo = Demo(folder, 'cpu', tmp_path)
    assert f'{SEG}.pth' in demo.checkpoints()
    result = demo.run(str(scene), f'{SEG}.py', f'{SEG}.pth', 0.3)
    assert read_image(result.picture).shape[1] == 480
    assert result.streams is not None
    assert read_image(result.streams).shape[1] > 1000
    assert sum(one['share'] for one in result.found) == pytest.approx(1, abs=1e-3)
    content = json.loads(result.json.read_text())
    assert (result.json.stem, content['image']) == (scene.stem, scene.name)  # without its folder
    assert content['found'] == result.found
    assert demo.predictor.cache_info().currsize == 1
    again = demo.run(str(scene), f'{SEG}.py', f'{SEG}.pth', 0.3)
    assert demo.predictor.cache_info().hits == 1
    assert again.picture != result.picture  # nobody rewrites what another visitor is reading
    assert again.picture.read_bytes() == result.picture.read_bytes()


def test_pose_takes_a_detector(
    folder: Path, untrained: object, scene: Path, tmp_path: Path
) -> None:
    pose, detector = ([path.name for path in untrained(host)] for host in ('mmpose', 'mmdet'))
    arguments = (str(scene), *pose, 2.0)  # a score that nothing reaches
    demo = Demo(folder, 'cpu', tmp_path)
    assert len(demo.run(*arguments, WHOLE_IMAGE, PUBLISHED).found) == 1
    result = demo.run(*arguments, *detector)
    assert result.found == []
    assert result.streams is None  # the pose estimator did not run
    assert json.loads(result.json.read_text())['found'] == []


def test_what_cannot_work_is_said(folder: Path, tmp_path: Path) -> None:
    demo = Demo(folder, 'cpu', tmp_path)
    with pytest.raises(ConfigError, match='Drop an image first'):
        demo.run(None, f'{SEG}.py', f'{SEG}.pth', 0.3)
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(ConfigError, match='not a readable image'):
        demo.run(str(tmp_path / 'a.png'), f'{SEG}.py', f'{SEG}.pth', 0.3)


def test_a_visitor_is_told_the_reason_and_the_owner_all_of_it(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import gradio as gr

    from mmhrnet.inference.web_page import answer_with

    image = tmp_path / 'notes.jpg'
    image.write_text('no image')
    with pytest.raises(gr.Error, match=r'^.notes\.jpg is not a readable image: .*Choose') as info:
        answer_with(Demo(folder, 'cpu', tmp_path))(str(image), f'{SEG}.py', f'{SEG}.pth', 0.3)
    assert info.value.duration is None  # it stays until it is closed
    assert str(tmp_path) not in info.value.message
    assert str(image) in caplog.text


def test_a_bug_is_in_the_log_and_not_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import gradio as gr

    from mmhrnet.inference.web_page import answer_with

    monkeypatch.setattr(Demo, 'run', lambda *_: 1 / 0)
    with pytest.raises(gr.Error, match='The server failed'):
        answer_with(Demo(tmp_path, 'cpu', tmp_path))()
    assert 'ZeroDivisionError' in caplog.text


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('The weights /a b/runs/x/c.pth are <cut>', 'The weights c.pth are &lt;cut&gt;'),
        ("There is no config '/home/me/c.py'; see ~/d/e.py", "There is no config 'c.py'; see e.py"),
        ('Take https://a.org/b/c.pth and/or 1 / 2', 'Take https://a.org/b/c.pth and/or 1 / 2'),
        (
            'It has two networks: choose one; set MMHRNET_WEIGHTS_AT=x in the environment',
            'It has two networks: choose one. Choose other weights, or ask whoever runs this page',
        ),
    ],
)
def test_messages_name_no_folder_and_no_variable_of_the_server(text: str, shown: str) -> None:
    assert for_visitors(ConfigError(text), [Path('/a b/runs'), Path('/a b')]) == shown


def test_places_of_weights_are_for_those_who_run_the_server() -> None:
    error = ConfigError('The weights a cannot be loaded: b cannot be fetched:\n  http://mirror: no')
    error.__cause__ = FetchError('b')
    shown = 'The weights a cannot be loaded: b cannot be fetched'
    assert for_visitors(error, []).startswith(f'{shown}. Choose weights of this machine')


def test_what_cannot_be_downloaded_is_shown_whole() -> None:
    error = ConfigError('The weights https://a.org/b.pth cannot be loaded: <urlopen error no name>')
    error.__cause__ = urllib.error.URLError('no name')
    text = for_visitors(error, [])
    assert 'https://a.org/b.pth cannot be loaded: &lt;urlopen error no name&gt;. ' in text
    assert text.endswith('or try again later')


def test_the_newest_training_is_the_default_else_the_smallest_published_model(
    folder: Path, tmp_path: Path
) -> None:
    choices = Choices(tmp_path)
    published = {task: names[0] for task, names in choices.tasks().items()}
    assert choices.first_task() == 'detection'
    assert published['segmentation'] == f'configs/mmseg/{SEG}.py'
    assert 'fcos_hrnetv2p-w18' in published['detection']
    assert 'td-hm_hrnet-w32' in published['pose']  # not the smaller ones for faces
    assert 'hrnet-w18_' in published['classification']  # the small ones have no weights
    assert choices.weights_of(published['segmentation']) == PUBLISHED
    for age, run in enumerate(('new', 'old', 'without')):
        (tmp_path / run).mkdir()
        shutil.copy(folder / f'{SEG}.py', tmp_path / run)
        for name in ('iter_9.pth', 'best_mIoU_iter_6.pth', 'iter_3.pth')[: 0 if age == 2 else 3]:
            (tmp_path / run / name).touch()
            os.utime(tmp_path / run / name, (1000 - age, 1000 - age))
    assert choices.first_task() == 'segmentation'
    local = choices.tasks()['segmentation'][:3]
    assert local == [f'new/{SEG}.py', f'old/{SEG}.py', published['segmentation']]
    assert choices.weights_of(local[0]) == 'new/best_mIoU_iter_6.pth'
    (tmp_path / 'new' / 'best_mIoU_iter_6.pth').unlink()
    assert choices.weights_of(local[0]) == 'new/iter_9.pth'
    (tmp_path / 'new' / f'{SEG}-1a2b3c4d.pth').touch()  # as publishing names it
    assert choices.weights_of(local[0]) == f'new/{SEG}-1a2b3c4d.pth'


BOX = [1.23, 4.5, 60.7, 80.0]


@pytest.mark.parametrize(
    ('found', 'summary', 'headings', 'row'),
    [
        (
            [dict(label=0, score=0.987, bbox=BOX, **{'class': name}) for name in ('person', 'star')]
            + [dict(label=0, score=0.5, bbox=BOX, **{'class': 'person'})],
            '2 persons, 1 star',
            ['class', 'score', 'box (xyxy)'],
            ['person', '0.99', '1, 4, 61, 80'],
        ),
        (
            [dict(keypoints=[[1.0, 2.0]] * 2, keypoint_scores=[0.5, 0.9], bbox=BOX)],
            '1 person',
            ['joint score', 'box (xyxy)'],
            ['0.70', '1, 4, 61, 80'],
        ),
        ([{'class': 'sky', 'share': 0.4567}], 'sky 46%', ['class', 'share'], ['sky', '45.7%']),
        ([{'class': 'cat', 'score': 0.25}], 'cat 0.25', ['class', 'score'], ['cat', '0.25']),
    ],
)
def test_a_result_in_words_and_as_a_table(
    found: list, summary: str, headings: list[str], row: list[str]
) -> None:
    assert summarize(found) == summary
    columns, rows = tabulate(found)
    assert (columns, rows[0], len(rows)) == (headings, row, len(found))


def test_nothing_found_is_said() -> None:
    assert summarize([]) == 'nothing was found'
    assert tabulate([]) == ([], [])


def test_the_four_tasks_have_their_configs(folder: Path, tmp_path: Path) -> None:
    tasks = Demo(folder, 'cpu', tmp_path).tasks()
    assert list(tasks) == ['detection', 'pose', 'segmentation', 'classification']
    assert tasks['segmentation'][0] == f'{SEG}.py'
    for host in known_hosts().values():
        configs = [config for config in tasks[host.task] if '/' in config]
        assert len(configs) > 5
        assert all(config.startswith(f'configs/{host.name}/') for config in configs)


def test_one_thread_computes_for_all_visitors(
    page: object, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio_client import Client

    threads = []

    def run(*_: object) -> Result:
        threads.append(threading.current_thread().name)
        return Result(scene, None, [], scene)

    monkeypatch.setattr(Demo, 'run', run)
    clients = [Client(page.local_url, verbose=False) for _ in range(3)]
    choices = (None, f'{CLS}.py', PUBLISHED, 0.3, WHOLE_IMAGE, PUBLISHED)
    for client in clients:
        client.predict('classification', api_name='/choose')
    jobs = [client.submit(*choices, api_name='/run') for client in clients * 4]
    assert len([job.result() for job in jobs]) == 12
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
    answers = client.predict(
        handle_file(scene), f'{CLS}.py', f'{CLS}.pth', *choices, api_name='/run'
    )
    picture, table, found, streams = (answer['value'] for answer in answers)
    assert Path(picture).stat().st_size > 1000
    assert Path(streams).stat().st_size > 1000
    assert len(json.loads(Path(found).read_text())['found']) == len(table['data']) == 4
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


UNFIT = """
const unfit = [];
for (const part of document.querySelectorAll('button, a[href], input:not([type=file])')) {
  const target = part.type === 'radio' ? part.closest('label') : part;
  const {width, height} = target.getBoundingClientRect();
  const alt = [...part.querySelectorAll('img')].map(image => image.alt).join();
  const inner = [...part.querySelectorAll('[aria-label]')].map(e => e.ariaLabel).join();
  const name = part.ariaLabel || part.title || part.innerText || part.labels?.[0]?.innerText;
  if (width && height && (width < 24 || height < 24 || !(name || alt || inner)))
    unfit.push([part.outerHTML.slice(0, 200), width, height, name]);
}
return unfit;
"""


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason='needs chromium and chromedriver')
@pytest.mark.parametrize(('width', 'height'), [(1280, 800), (390, 844)])
def test_a_visitor_uploads_an_image_and_sees_the_result(
    width: int, height: int, page: object, scene: Path, tmp_path: Path
) -> None:
    driver = open_browser(tmp_path, width, height)
    try:
        driver.get(page.local_url)
        visit(driver, scene)
        driver.save_screenshot(str(tmp_path / 'page.png'))
        box = {name: driver.find_element('css selector', f'#{name}').rect for name in PARTS}
        assert box['run']['y'] + box['run']['height'] < height
        assert box['picture']['y'] < height  # nothing has to be scrolled to see both
        if width < 600:
            assert box['picture']['y'] - box['run']['y'] - box['run']['height'] < 30
            assert box['run']['y'] - box['image']['y'] - box['image']['height'] < 30
        table = find(driver, '#found', 'room').text
        assert all(name in table for name in ('meadow', 'beach', 'desert'))
        picture = driver.find_element('css selector', '#picture img')
        assert re.match(r'(meadow|beach|desert|room) \d\.\d\d, ', picture.get_attribute('alt'))
        assert driver.execute_script(UNFIT) == []
        outside = [
            entry['message'] for entry in driver.get_log('browser') if entry['level'] == 'SEVERE'
        ]
        assert outside == []  # no script, font or picture from elsewhere is missing
    finally:
        driver.quit()


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason='needs chromium and chromedriver')
def test_a_visitor_reads_why_a_file_is_refused(page: object, tmp_path: Path) -> None:
    (tmp_path / 'notes.jpg').write_text('no image')
    driver = open_browser(tmp_path, 390, 844)
    try:
        driver.get(page.local_url)
        find(driver, '#run')
        driver.find_element('css selector', 'input[type=file]').send_keys(
            str(tmp_path / 'notes.jpg')
        )
        find(driver, '#image img')
        find(driver, '#run').click()
        assert 'Choose another file' in find(driver, '.toast-body', 'notes.jpg is not').text
    finally:
        driver.quit()


PARTS = ('image', 'run', 'picture')


def open_browser(folder: Path, width: int, height: int) -> object:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        f'--user-data-dir={folder / "profile"}',
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    size = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)  # windows are wider
    return driver


def find(driver: object, css: str, text: str = '') -> object:
    """The first element with that text, as soon as there is one."""
    from selenium.webdriver.support.ui import WebDriverWait

    def found(driver: object) -> object:
        elements = driver.find_elements('css selector', css)
        return next((element for element in elements if text in element.text), None)

    return WebDriverWait(driver, 60).until(found)


def visit(driver: object, image: Path) -> None:
    """Chooses the task and an image, presses Run, and waits for the pictures.

    The config and the weights are those that are chosen by default.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    find(driver, 'label', 'classification').click()
    for label, chosen in (('config', f'{CLS}.py'), ('weights', f'{CLS}.pth')):
        WebDriverWait(driver, 60).until(
            lambda d, label=label, chosen=chosen: (
                find(d, f'input[aria-label="{label}"]').get_attribute('value') == chosen
            )
        )
    driver.find_element('css selector', 'input[type=file]').send_keys(str(image))
    find(driver, '#image img')
    find(driver, '#run').click()
    for name in ('picture', 'streams'):
        assert '/file=' in find(driver, f'#{name} img').get_attribute('src')
    find(driver, '#found', 'score')


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
