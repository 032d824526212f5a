"""Serves the web page: drop an image, choose a model, see the result and the streams."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.errors import ConfigError
from mmhrnet.inference.web_demo import Demo
from mmhrnet.terminal import CONSOLE

if TYPE_CHECKING:
    import gradio as gr

FONTS, MONO = ['system-ui', 'sans-serif'], ['ui-monospace', 'monospace']


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

        from mmhrnet.inference.web_page import CSS, build_page
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
            css=CSS,
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
