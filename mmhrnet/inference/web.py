"""A local web page: drop an image, choose config and weights, see the result and the streams."""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhrnet.config.build import normalization
from mmhrnet.datasets.images import read_image, write_png
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts
from mmhrnet.hosts.host import Host, Things
from mmhrnet.hub.published import metafile_models
from mmhrnet.inference.predict import Predictor
from mmhrnet.inference.stream_maps import plot_streams, record_streams
from mmhrnet.terminal import CONSOLE

if TYPE_CHECKING:
    import gradio as gr

MAX_PIXELS = 25_000_000
QUEUE = 1000  # requests that may wait; one is computed at a time
KEEP = 3600  # seconds that uploads and results stay on disk
PUBLISHED = 'published'  # in place of a checkpoint
WHOLE_IMAGE = 'none: the image is one person'
SCOPE = re.compile(r"^default_scope = '(\w+)'", re.MULTILINE)
FONTS, MONO = ['system-ui', 'sans-serif'], ['ui-monospace', 'monospace']
CONFIGS = Path(__file__).resolve().parents[1] / '.mim'


class Demo:
    """What the page calls; the last few models stay in memory.

    Args:
        checkpoints: Folder to look for checkpoints in; no other file can be chosen.
        device: Device to run on; None is the GPU where there is one.
        results: Existing folder that takes the pictures, each result in a folder of its own.
    """

    def __init__(self, checkpoints: str | Path, device: str | None, results: str | Path) -> None:
        self.folder, self.device = Path(checkpoints), device
        self.results = Path(results)
        self.predictor = lru_cache(maxsize=3)(self._predictor)

    def configs(self) -> dict[str, tuple[Path, Host]]:
        """Those that trainings left in the folder, newest first, and those of the package."""
        found = {}
        for path in sorted(self.folder.rglob('*.py'), key=lambda path: -path.stat().st_mtime):
            scope = SCOPE.search(path.read_text(encoding='utf-8', errors='replace'))
            host = known_hosts().get(scope[1]) if scope else None
            if host and any(path.parent.glob('*.pth')) and not path.stem.endswith('_test'):
                found[str(path.relative_to(self.folder))] = path, host
        for model in metafile_models():
            name = model['Config']
            found[name] = CONFIGS / name, known_hosts()[name.split('/')[1]]
        return found

    def tasks(self) -> dict[str, list[str]]:
        """The names of the configs, by what they do."""
        names: dict[str, list[str]] = {host.task: [] for host in known_hosts().values()}
        for name, (_, host) in self.configs().items():
            names[host.task].append(name)
        return {task: configs for task, configs in names.items() if configs}

    def checkpoints(self) -> list[str]:
        """``published``, and the files below the folder, newest first."""
        files = [path for kind in ('pth', 'safetensors') for path in self.folder.rglob(f'*.{kind}')]
        files.sort(key=lambda path: -path.stat().st_mtime)
        return [PUBLISHED, *(str(path.relative_to(self.folder)) for path in files)]

    def _predictor(
        self,
        config: str,
        checkpoint: str,
        detector: tuple[str, str] | None,
    ) -> Predictor:
        weights = None if checkpoint == PUBLISHED else self.folder / checkpoint
        persons = self.predictor(*detector, None) if detector else None
        path, _ = self.configs()[config]
        return Predictor(path, weights, detector=persons, device=self.device)

    def run(
        self,
        image: str | None,
        config: str,
        checkpoint: str,
        score: float,
        det_config: str = WHOLE_IMAGE,
        det_checkpoint: str = PUBLISHED,
    ) -> tuple[Path, Path | None, Things]:
        """The files of the picture and of the figure of the streams, and what was found.

        Raises:
            ConfigError: An image or a choice that cannot work.
        """
        if image is None:
            raise ConfigError('Drop an image first')
        pixels = read_image(image, MAX_PIXELS)
        _, host = self.configs()[config]
        takes = host.detectors and det_config != WHOLE_IMAGE
        detector = (det_config, det_checkpoint) if takes else None
        predictor = self.predictor(config, checkpoint, detector)
        predictor.score = score
        with record_streams(predictor.model) as streams:
            prediction = predictor(pixels)
        folder = Path(tempfile.mkdtemp(dir=self.results))
        picture, figure = folder / 'picture.png', None
        write_png(picture, prediction.picture[..., ::-1])
        if streams.image is not None:  # the pose estimator does not run where nobody is found
            pixels = normalization(predictor.cfg).undo(streams.image)
            figure = plot_streams(streams, pixels, folder / 'streams.png')
        found = [{k: v for k, v in one.items() if k != 'mask'} for one in prediction.found]
        return picture, figure, found


def build_page(demo: Demo) -> gr.Blocks:
    """The page as gradio's Blocks, not yet served."""
    import gradio as gr

    # One thread computes: each further one would keep PyTorch's buffers of its own (60 MiB).
    worker = ThreadPoolExecutor(1, 'network')
    tasks = demo.tasks()

    def run(*args: Any) -> tuple[Path, Path | None, Things]:
        try:
            return worker.submit(demo.run, *args).result()
        except ConfigError as error:
            raise gr.Error(str(error)) from error

    def choose(task: str) -> gr.Dropdown:
        names = demo.tasks()[task]
        return gr.Dropdown(names, value=names[0])

    def reload() -> list[gr.Dropdown]:
        return [gr.Dropdown(demo.checkpoints()), gr.Dropdown(demo.checkpoints())]

    configs, checkpoints = tasks['detection'], demo.checkpoints()
    detectors = [WHOLE_IMAGE, *configs]
    with gr.Blocks(title='mmhrnet', analytics_enabled=False, delete_cache=(KEEP, KEEP)) as page:
        gr.Markdown('# mmhrnet\nOne HRNet for detection, pose, segmentation and classification.')
        with gr.Row():
            with gr.Column(scale=1):
                image = gr.Image(
                    type='filepath', image_mode=None, label='image', sources=['upload', 'clipboard']
                )
                task = gr.Radio(list(tasks), value='detection', label='task')
                config = gr.Dropdown(configs, value=configs[0], label='config')
                checkpoint = gr.Dropdown(checkpoints, value=checkpoints[0], label='weights')
                score = gr.Slider(0, 1, 0.3, step=0.05, label='lowest score')
                with gr.Accordion('pose: who finds the persons', open=False):
                    det_config = gr.Dropdown(detectors, value=WHOLE_IMAGE, label='detector')
                    det_checkpoint = gr.Dropdown(checkpoints, value=PUBLISHED, label='its weights')
                button = gr.Button('Run', variant='primary', elem_id='run')
            with gr.Column(scale=2):
                picture = gr.Image(
                    label='result',
                    elem_id='picture',
                    format='png',
                    buttons=['download', 'fullscreen'],
                )
                streams = gr.Image(
                    show_label=False,
                    elem_id='streams',
                    format='png',
                    buttons=['download', 'fullscreen'],
                )
                found = gr.JSON(label='found', max_height=300)
        inputs = [image, config, checkpoint, score, det_config, det_checkpoint]
        button.click(run, inputs, [picture, streams, found], concurrency_limit=1)
        task.change(choose, task, config)
        page.load(reload, None, [checkpoint, det_checkpoint])
    return page.queue(max_size=QUEUE)


def serve(
    *,
    host: str = '127.0.0.1',
    port: int = 7860,
    checkpoints: str | Path = 'work_dirs',
    device: str | None = None,
    max_upload: str = '10mb',
    allow_hosts: Iterable[str] = (),
    block: bool = True,
) -> gr.Blocks:
    """Serves the page until it is stopped; returns it, with its ``local_url``.

    Requests are refused unless the page was opened by an IP address, as localhost, by the name of
    this machine if ``host`` shows it to the network, or by a name in ``allow_hosts``. Uploads and
    results are removed when the process ends.

    Args:
        host: Address to bind to; any other than 127.0.0.1 shows it to the network.
        port: TCP port.
        checkpoints: Folder to choose checkpoints from.
        device: Device to run on; None is the GPU where there is one.
        max_upload: Largest file that is taken, like '10mb'.
        allow_hosts: Further names to open the page by, for example of a reverse proxy.
        block: Wait in the main thread for Ctrl-C or SIGTERM; a second signal ends at once.

    Raises:
        ConfigError: gradio is not installed, or the port is taken.
    """
    try:
        from mmhrnet.inference.web_guard import SameOriginMiddleware, private_folder

        folder = private_folder()  # gradio reads its name from the environment when imported
        import gradio as gr
        from starlette.middleware import Middleware
    except ImportError as error:
        raise ConfigError('The web page needs gradio: pip install gradio') from error
    # Files in gradio's own folder: it rewrites arrays in place while another visitor reads them.
    page = build_page(Demo(checkpoints, device, folder))
    try:
        page.launch(
            server_name=host,
            server_port=port,
            max_file_size=max_upload,
            theme=gr.themes.Default(font=FONTS, font_mono=MONO),  # its own fonts are a download
            footer_links=[],
            ssr_mode=False,
            enable_monitoring=False,  # otherwise everybody may read how much it is used
            app_kwargs=dict(middleware=[Middleware(SameOriginMiddleware, host, allow_hosts)]),
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise ConfigError(f'The page cannot be served at {host}:{port}: {error}') from error
    CONSOLE.print(f'web page: {page.local_url} (Ctrl-C ends it)')
    if block:
        tempfile.tempdir = str(folder)  # gradio does not keep recordings in its own folder
        wait(page)
    return page


def wait(page: gr.Blocks) -> None:
    """Waits until Ctrl-C or SIGTERM, then closes the page."""

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        page.close()  # unlike gradio's own end by Ctrl-C, this does not wait for open browsers

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    page.block_thread()
