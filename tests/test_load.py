"""Many images, many visitors: nothing is lost, memory stays flat, a bad image stops nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
CLS = 'hrnet-w18-small-v1_4xb64_in1k'  # what a training left: .py and .pth
IMAGES, BAD, REQUESTS, CLIENTS = 1000, 5, 200, 10
DEMO = """
import sys, threading, time
from pathlib import Path
from mmhrnet.config.edit import ConfigError
from mmhrnet.inference.demo import demo

def watch():
    while True:
        count = len(list(Path(sys.argv[4]).glob('*.json')))
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        print('memory', count, pages * 4096 / 2**20, flush=True)
        time.sleep(1)

threading.Thread(target=watch, daemon=True).start()
try:
    demo(*sys.argv[1:4], out_dir=sys.argv[4])
except ConfigError as error:
    print('error', len(str(error).splitlines()) - 1)
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='memory is read from /proc'),
]


def resident(pid: int) -> float:
    """Memory of a process in MiB."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * 4096 / 2**20


def test_a_thousand_images_through_the_demo(
    untrained: Callable, scene: Path, tmp_path: Path, figure: Callable
) -> None:
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    content = scene.read_bytes()
    for index in range(IMAGES):
        bad = index % (IMAGES // BAD) == 7
        (source / f'{index:04d}.jpg').write_bytes(content[:1000] if bad else content)
    arguments = map(str, (source, *untrained('mmpretrain'), out))
    result = subprocess.run(
        [sys.executable, '-c', DEMO, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert f'error {BAD}' in result.stdout, result.stdout[-1000:] + result.stderr[-2000:]
    written = sorted(out.glob('*.json'))
    assert len(written) == len(list(out.glob('*.png'))) == IMAGES - BAD
    assert all(json.loads(path.read_text())['found'] for path in written)
    samples = [line.split()[1:] for line in result.stdout.splitlines() if 'memory' in line]
    memory = [(int(count), float(mib)) for count, mib in samples]
    early = max(mib for count, mib in memory if count <= IMAGES // 5)
    growth = max(mib for _, mib in memory) - early
    figure('images through the demo, of 1000 with 5 bad', f'{len(written)}, 5 named')
    figure('memory growth from image 200 to 1000, MiB', round(growth))
    assert growth < 100


class Server(NamedTuple):
    url: str
    pid: int


@pytest.fixture
def server(untrained: Callable) -> Iterator[Server]:
    pytest.importorskip('gradio', reason='the web page needs gradio')
    folder = untrained('mmpretrain').checkpoint.parent
    words = [sys.executable, '-u', 'tools/web_demo.py', '--checkpoints', str(folder)]
    process = subprocess.Popen(
        [*words, '--port', '7931'], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Server(re.search(r'http\S+', process.stdout.readline())[0], process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_two_hundred_requests_at_once(
    server: Server, scene: Path, tmp_path: Path, figure: Callable
) -> None:
    from gradio_client import Client, handle_file

    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(scene.read_bytes()[:1000])
    clients = [
        Client(server.url, verbose=False, download_files=str(tmp_path / f'{index}'))
        for index in range(CLIENTS)
    ]
    for client in clients:
        client.predict('classification', api_name='/choose')
    arguments = (f'{CLS}.py', f'{CLS}.pth', 0.3, 'none: the image is one person', 'published')
    clients[0].predict(handle_file(scene), *arguments, api_name='/run')
    jobs = []
    for index in range(REQUESTS):
        image = bad if index % 50 == 7 else scene
        client = clients[index % CLIENTS]
        jobs.append(client.submit(handle_file(image), *arguments, api_name='/run'))
    errors = [job.exception(timeout=900) for job in jobs[: REQUESTS // 4]]
    early = resident(server.pid)
    errors += [job.exception(timeout=900) for job in jobs[REQUESTS // 4 :]]
    growth = resident(server.pid) - early
    failed = [str(error) for error in errors if error is not None]
    assert len(failed) == REQUESTS // 50
    assert all('not a readable image' in message for message in failed)
    answers = [job.result() for job, error in zip(jobs, errors) if error is None]
    for picture, table, found, _ in answers:
        assert Path(picture['value']).stat().st_size
        assert len(json.loads(Path(found['value']).read_text())['found']) == 4
        assert len(table['value']['data']) == 4
    figure('web requests at once, answered of 200 with 4 bad', f'{len(answers)}, 4 named')
    figure('memory growth from web request 50 to 200, MiB', round(growth))
    assert growth < 50
