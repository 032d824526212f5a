"""From a picture to the result: a whole file beside the inferencer of its host library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from rich.table import Table

from mmhrnet import runtime
from mmhrnet.benchmark.measure import Timing, interleaved, processor
from mmhrnet.benchmark.report import ms
from mmhrnet.config.build import build_tensor_model
from mmhrnet.config.stored import make_config_for
from mmhrnet.deploy.from_config import export_config
from mmhrnet.deploy.whole import draw_images
from mmhrnet.errors import ConfigError
from mmhrnet.files import write_text
from mmhrnet.hosts import host_of
from mmhrnet.inference.predict import Predictor
from mmhrnet.models import HRNet
from mmhrnet.terminal import CONSOLE, markdown_table

HEADERS = ('who and how', 'ms (middle 80 %)', 'times faster')


def benchmark_whole(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    shape: tuple[int, int] = (480, 640),
    rounds: int = 15,
    files: Sequence[str | Path] = (),
    cfg_options: Mapping[str, object] | None = None,
    out: str | Path = 'work_dirs/benchmark',
) -> dict[str, Timing]:
    """Times one picture on a CPU, prints and writes a table.

    The host's inferencer and plain export run the host's network and the same weights, without
    mirror images and without drawing. A plain export has the size of this picture.

    Args:
        config: Config of a host, with its own HRNet, such as ``mmpose::...``.
        checkpoint: Its weights; None takes random ones.
        shape: Height and width of the picture.
        rounds: Samples of each contestant.
        files: Whole models in ONNX that run beside, such as those of lower precision.
        cfg_options: Settings over the config.
        out: Folder for ``whole_<config>.md``.

    Returns:
        Seconds, by the names of the contestants.

    Raises:
        ConfigError: The config uses mmhrnet already, or is none.
    """
    options = dict(cfg_options or {})
    with TemporaryDirectory() as folder:
        cfg, weights = make_config_for(config, checkpoint, cfg_options=options)
        if 'flip_test' in (cfg.model.get('test_cfg') or {}):
            options['model.test_cfg.flip_test'] = False
        weights = weights or _draw_weights(cfg, Path(folder))
        build = partial(Predictor, config, weights, device='cpu', cfg_options=options)
        theirs = build()
        if any(isinstance(part, HRNet) for part in theirs.model.modules()):
            raise ConfigError(
                f'{config} uses mmhrnet already: give the config of the host that it comes from, '
                'whose own HRNet runs beside'
            )
        predictors = {
            f'{theirs.host.name} inferencer': theirs,
            'the same with mmhrnet': build(swap=True),
        }
        image = draw_images(1, *shape)[0].numpy()[..., ::-1].copy()
        write = partial(export_config, config, weights, format='onnx', cfg_options=options)
        file = write(out=Path(folder, 'model.onnx'), swap=True)
        fixed: dict[str, Any] = dict(static=True, batch=1)
        if not host_of(cfg).fixed_size(cfg):
            fixed['shape'] = _input_size(runtime.load(file), image)
        plain = write(out=Path(folder, 'plain.onnx'), rewrites=None, **fixed)
        own = {f'{theirs.host.name} plain export': plain, 'whole file': file}
        with torch.no_grad():
            given = {Path(path).name: Path(path) for path in files}
            runs = dict(_runs(predictors, own | given, image))
            timings = interleaved(runs, rounds, 'cpu')
    _report(timings, Path(str(config)).stem, shape, Path(out))
    return timings


def _draw_weights(cfg: Config, folder: Path) -> Path:
    path = folder / 'random.pth'
    torch.save({'state_dict': build_tensor_model(cfg).model.state_dict()}, path)
    return path


def _input_size(model: runtime.Model, image: np.ndarray) -> Sequence[int]:
    """Height and width of what a picture becomes before the network."""
    seen: list[Sequence[int]] = []

    def session(images: np.ndarray) -> Sequence[np.ndarray]:
        seen.append(images.shape[1:3])
        return model.session(images)

    replace(model, session=session)(image)
    return seen[0]


def _runs(
    predictors: Mapping[str, Predictor], files: Mapping[str, Path], image: np.ndarray
) -> Iterator[tuple[str, Callable[[], object]]]:
    for name, predictor in predictors.items():

        def predict(predictor: Predictor = predictor) -> object:
            with DefaultScope.overwrite_default_scope(predictor.host.name):
                return predictor.host.run(predictor, image)

        yield name, predict
    for backend, (name, file) in product(filter(find_spec, runtime.BACKENDS), files.items()):
        model = runtime.load(file, backend, torch.get_num_threads())
        yield f'{name}, {file.stat().st_size / 1e6:.0f} MB, {backend}', partial(model, image)


def _report(timings: Mapping[str, Timing], name: str, shape: tuple[int, int], folder: Path) -> None:
    first = next(iter(timings.values())).median
    rows = [
        (who, f'{ms(t.median)} ({ms(t.low)} to {ms(t.high)})', f'{first / t.median:.2f}')
        for who, t in timings.items()
    ]
    title = f'{name}, a picture of {shape[0]}x{shape[1]}'
    table = Table(*HEADERS, title=title)
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)
    machine = f'{processor()}, {torch.get_num_threads()} threads; torch {torch.__version__}'
    path = folder / f'whole_{name}.md'
    write_text(path, f'# {title}\n\n{machine}\n\n{markdown_table(HEADERS, rows)}\n')
    CONSOLE.print(str(path))
