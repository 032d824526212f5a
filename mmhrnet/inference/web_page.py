"""The web page itself: its components, and what happens when a visitor uses them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.data_classes import ImageData

from mmhrnet.errors import UserError
from mmhrnet.inference.web_choices import PUBLISHED
from mmhrnet.inference.web_demo import WHOLE_IMAGE, Demo
from mmhrnet.inference.web_messages import BUG, for_visitors
from mmhrnet.inference.web_result import summarize, tabulate

LOGGER = logging.getLogger(__name__)
QUEUE = 1000  # requests that may wait; one is computed at a time
KEEP = 3600  # seconds that uploads and results stay on disk
BUTTONS: list[Any] = ['download', 'fullscreen']
STREAMS = 'The streams of the network, before and after each fusion'
CSS = """
#image img, #picture img { max-height: 400px; object-fit: contain }
.icon-button, button.icon, a.download-link { min-width: 24px; min-height: 24px }
input[role=combobox] { min-height: 24px; padding-right: 24px; text-overflow: ellipsis }
"""


def build_page(demo: Demo) -> gr.Blocks:
    """The page as gradio's Blocks, not yet served.

    Its three columns are what goes in, what was found, and by which model. A desktop shows them
    side by side, a phone below each other.
    """

    def choose(task: str) -> list[dict[str, object]]:
        return [gr.update(**options) for options in list_options(demo, task)]

    with gr.Blocks(title='mmhrnet', analytics_enabled=False, delete_cache=(KEEP, KEEP)) as page:
        gr.Markdown('# mmhrnet')
        with gr.Row():
            with gr.Column(scale=3, min_width=280):
                task = gr.Radio(list(demo.tasks()), value=demo.first_task(), label='task')
                image = place_upload()
                button = gr.Button('Run', variant='primary', elem_id='run')
            with gr.Column(scale=5, min_width=280):
                results = place_results()
            with gr.Column(scale=3, min_width=280):
                choices = place_choices(demo)
        button.click(
            answer_with(demo),
            [image, *choices],
            results,
            api_name='run',
            concurrency_limit=1,
            show_progress_on=results[0],
            scroll_to_output=True,
        )
        task.input(choose, task, choices, api_name='choose', show_progress='hidden')
        page.load(lambda: [demo.first_task(), *choose(demo.first_task())], None, [task, *choices])
    return page.queue(max_size=QUEUE)


def place_upload() -> gr.Image:
    """The image of the visitor, whose file is handed over as it is.

    gr.Image would open the file itself, and would not tell the visitor why that failed.
    """
    image = gr.Image(
        label='image',
        elem_id='image',
        sources=['upload', 'clipboard'],
        alt_text='the image that was dropped here',
    )
    image.preprocess = path_of  # type: ignore[method-assign]
    return image


def path_of(payload: ImageData | None) -> str | None:
    return payload.path if payload else None


def place_results() -> list[Component]:
    """Picture, table, JSON and streams; there is only the first until something was found."""
    return [
        gr.Image(show_label=False, elem_id='picture', format='png', buttons=BUTTONS),
        gr.Dataframe(label='found', elem_id='found', max_height=300, visible=False),
        gr.DownloadButton('Download JSON', elem_id='json', visible=False),
        gr.Image(show_label=False, elem_id='streams', format='png', buttons=BUTTONS, visible=False),
    ]


def place_choices(demo: Demo) -> list[Component]:
    """Config, weights and lowest score, and for pose a detector with its weights."""
    options = list_options(demo, demo.first_task())
    config = gr.Dropdown(label='config', **options[0])
    weights = gr.Dropdown(label='weights', **options[1])
    score = gr.Slider(0, 1, 0.3, step=0.05, label='lowest score', **options[2])
    det_config = gr.Dropdown(label='who finds the persons', **options[3])
    det_weights = gr.Dropdown(label='its weights', **options[4])
    config.input(demo.weights_of, config, weights, api_visibility='private')
    det_config.input(demo.weights_of, det_config, det_weights, api_visibility='private')
    return [config, weights, score, det_config, det_weights]


def list_options(demo: Demo, task: str) -> list[dict[str, Any]]:
    """What can be chosen for a task, and what is chosen by default, for each of the components."""
    configs, checkpoints, names = demo.configs(), demo.checkpoints(), demo.tasks()[task]
    _, host = configs[names[0]]
    detectors = [name for name, (_, other) in configs.items() if other.name == host.detectors]
    visible = bool(detectors)
    return [
        dict(choices=names, value=names[0]),
        dict(choices=checkpoints, value=demo.weights_of(names[0])),
        dict(visible=host.has_boxes),
        dict(choices=[WHOLE_IMAGE, *detectors], value=WHOLE_IMAGE, visible=visible),
        dict(choices=checkpoints, value=PUBLISHED, visible=visible),
    ]


def answer_with(demo: Demo) -> Callable[..., list[Component]]:
    """The function behind the button; what goes wrong is explained until the visitor closes it."""
    # One thread computes: each further one would keep PyTorch's buffers of its own (60 MiB).
    worker = ThreadPoolExecutor(1, 'network')

    def answer(*args: Any) -> list[Component]:
        try:
            result = worker.submit(demo.run, *args).result()
        except UserError as error:
            LOGGER.warning('The web page refused a request: %s', error)
            raise refusal(for_visitors(error, demo.folders())) from error
        except Exception as error:
            LOGGER.exception('A request of the web page failed')
            raise refusal(BUG) from error
        summary, (headings, rows) = summarize(result.found), tabulate(result.found)
        table = {'headers': headings, 'data': rows}
        streams = str(result.streams) if result.streams else None
        return [
            gr.Image(str(result.picture), alt_text=summary),
            gr.Dataframe(table, label=summary, visible=True),
            gr.DownloadButton(value=result.json, visible=True),
            gr.Image(streams, alt_text=STREAMS, visible=bool(streams)),
        ]

    return answer


def refusal(text: str) -> gr.Error:
    """A message that stays until it is closed."""
    return gr.Error(text, duration=None, print_exception=False)
