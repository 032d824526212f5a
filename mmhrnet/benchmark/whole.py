"""From a picture to the result: whole files beside the inferencer of their host library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from rich.table import Table

from mmhrnet import runtime
from mmhrnet.benchmark.latencies import Latencies
from mmhrnet.benchmark.measure import Timing, interleaved, processor
from mmhrnet.benchmark.report import ms
from mmhrnet.config.build import build_tensor_model
from mmhrnet.config.make import make_config
from mmhrnet.config.stored import make_config_for
from mmhrnet.deploy import load
from mmhrnet.deploy.evaluate import as_model, as_shipped, file_runner
from mmhrnet.deploy.from_config import export_config
from mmhrnet.deploy.precision import points
from mmhrnet.deploy.whole import draw_images
from mmhrnet.errors import ConfigError
from mmhrnet.files import write_text
from mmhrnet.hosts import host_of
from mmhrnet.hosts.host import Host
from mmhrnet.inference.predict import Predictor
from mmhrnet.models import HRNet
from mmhrnet.terminal import CONSOLE, markdown_table
from mmhrnet.training.evaluate import build_test_runner

Run = Callable[[], object]
Metrics = Mapping[str, float]


class Contestant(NamedTuple):
    """Something that turns a picture into a result.

    Attributes:
        predict: Does so once.
        evaluate: Its metrics on the data of the config; None of a file that takes one size only.
        size: Bytes of the file; None of an inferencer.
        runtime: What runs the file.
        model: The file.
        input: What the picture becomes before its network, RGB, (H, W, 3) uint8.
    """

    predict: Run
    evaluate: Callable[[], Metrics] | None
    size: int | None = None
    runtime: str = ''
    model: runtime.Model | None = None
    input: np.ndarray | None = None


def benchmark_whole(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    shape: tuple[int, int] = (480, 640),
    batch: int | None = None,
    rounds: int = 15,
    files: Sequence[str | Path] = (),
    evaluate: bool = False,
    results: str | Path | None = None,
    by: str | None = None,
    cfg_options: Mapping[str, object] | None = None,
    out: str | Path = 'work_dirs/benchmark',
) -> dict[str, Timing]:
    """Times one picture on a CPU, prints and writes a table.

    Of a config with the host's own HRNet, the host's inferencer and a plain export of its network
    run beside, with the same weights, without mirror images and without drawing. A plain export
    has the size of this picture.

    Args:
        config: Config of a host, such as ``mmpose::...``, or one of mmhrnet.
        checkpoint: Its weights; None takes random ones.
        shape: Height and width of the picture.
        batch: Time the network of each file on that many pictures at once, too.
        rounds: Samples of each contestant.
        files: Whole models of the config in ONNX, 'pt2' or 'aoti' that run beside, such as those of
            lower precision.
        evaluate: Evaluate each on the test data of the config, too.
        results: Folder for result files of the zoo with the time of each network.
        by: Who measures, for the result files; None is as git knows them.
        cfg_options: Settings over the config.
        out: Folder for ``whole_<config>.md``.

    Returns:
        Seconds for a picture, by the names of the contestants.

    Raises:
        ConfigError: The config, the data or a file cannot work, or ``results`` of a config that is
            not in the zoo.
        ExportError: A file is no whole model.
    """
    if evaluate and checkpoint is None:
        raise ConfigError('--evaluate needs trained weights: give them by --checkpoint')
    name, batch = Path(str(config)).stem, batch or (1 if results else None)
    latencies = Latencies(name, results, by) if results else None
    if latencies and any(key.startswith('model.') for key in cfg_options or ()):
        raise ConfigError(
            '--results is for the config as it stands: leave out settings of the model'
        )
    options = dict(cfg_options or {})
    image = draw_images(1, *shape)[0].numpy()[..., ::-1].copy()
    with TemporaryDirectory() as folder, torch.no_grad():
        cfg, weights = make_config_for(config, checkpoint, cfg_options=options)
        if 'flip_test' in (cfg.model.get('test_cfg') or {}):
            options['model.test_cfg.flip_test'] = False
        weights = weights or _draw_weights(cfg, Path(folder))
        who = dict(_contestants(config, weights, options, files, image, Path(folder)))
        if latencies:
            latencies.check({name: one.model for name, one in who.items() if one.model})
        timings = interleaved({name: one.predict for name, one in who.items()}, rounds, 'cpu')
        columns = {'who and how': [*who], **_latency(timings)}
        columns['MB'] = [f'{one.size / 1e6:.1f}' if one.size else '-' for one in who.values()]
        batches = _time_batches(who, batch, rounds) if batch else {}
        if batch:
            columns |= _throughput(who, batches, batch)
        _report(columns, name, shape, Path(out))
        if latencies and batch:
            _record(who, batches, batch, latencies)
        if evaluate:
            columns |= _accuracy(host_of(cfg), who)
            _report(columns, name, shape, Path(out))
    return timings


def _draw_weights(cfg: Config, folder: Path) -> Path:
    path = folder / 'random.pth'
    torch.save({'state_dict': build_tensor_model(cfg).model.state_dict()}, path)
    return path


def _contestants(
    config: str | Path,
    weights: str | Path,
    options: dict[str, object],
    given: Sequence[str | Path],
    image: np.ndarray,
    folder: Path,
) -> Iterator[tuple[str, Contestant]]:
    """The inferencers, then each file in each backend."""
    build = partial(Predictor, config, weights, device='cpu', cfg_options=options)
    theirs = build()
    is_host = not any(isinstance(part, HRNet) for part in theirs.model.modules())
    edits: dict[str, Any] = dict(cfg_options=options, work_dir=str(folder))
    test = partial(_test, config, weights, **edits)
    if is_host:
        name = f'{theirs.host.name} inferencer'
        yield name, Contestant(partial(_predict, theirs, image), test)
    ours = build(swap=True) if is_host else theirs
    name = 'the same with mmhrnet' if is_host else f'{theirs.host.name} inferencer with mmhrnet'
    yield name, Contestant(partial(_predict, ours, image), partial(test, swap=is_host))
    write = partial(export_config, config, weights, format='onnx', cfg_options=options)
    file = write(out=folder / 'model.onnx', swap=is_host)
    files = {'whole file': file}
    if is_host:
        fixed: dict[str, Any] = dict(static=True, batch=1)
        if not theirs.host.fixed_size(theirs.cfg):
            fixed['shape'] = _input_of(runtime.load(file), image).shape[:2]
        plain = write(out=folder / 'plain.onnx', rewrites=None, **fixed)
        files = {f'{theirs.host.name} plain export': plain, **files}
    files |= {Path(path).name: Path(path) for path in given}
    for name, path in files.items():
        for backend, model in _models(path):
            takes_all = model.about['shape'] == 'free' or model.about['fixed_size']
            yield (
                f'{name}, {backend}',
                Contestant(
                    partial(model, image),
                    partial(_test_file, config, path, model, **edits) if takes_all else None,
                    path.stat().st_size,
                    backend,
                    model,
                    _input_of(model, image),
                ),
            )


def _models(path: Path) -> Iterator[tuple[str, runtime.Model]]:
    """A file in each backend that runs it."""
    if path.suffix != '.onnx':
        yield 'torch', as_model(load(path))
        return
    for backend in filter(find_spec, runtime.BACKENDS):
        yield backend, runtime.load(path, backend, torch.get_num_threads())


def _predict(predictor: Predictor, image: np.ndarray) -> object:
    with DefaultScope.overwrite_default_scope(predictor.host.name):
        return predictor.host.run(predictor, image)


def _test(config: str | Path, weights: str | Path, **edits: Any) -> Metrics:
    return build_test_runner(config, weights, **edits).test()


def _test_file(config: str | Path, path: Path, model: runtime.Model, **edits: Any) -> Metrics:
    return file_runner(make_config(config, **edits), as_shipped(model), path).test()


def _input_of(model: runtime.Model, image: np.ndarray) -> np.ndarray:
    """What a picture becomes before the network, RGB, (H, W, 3) uint8."""
    seen: list[np.ndarray] = []

    def session(images: np.ndarray) -> Sequence[np.ndarray]:
        seen.append(images[0])
        return model.session(images)

    replace(model, session=session)(image)
    return seen[0]


Columns = dict[str, list[str]]


def _latency(timings: Mapping[str, Timing]) -> Columns:
    found = list(timings.values())
    texts = [f'{ms(t.median)} ({ms(t.low)} to {ms(t.high)})' for t in found]
    ratios = [f'{found[0].median / t.median:.2f}' for t in found]
    return {'ms (middle 80 %)': texts, 'times faster': ratios}


def _time_batches(who: Mapping[str, Contestant], batch: int, rounds: int) -> dict[str, Timing]:
    """Seconds of the networks in files of free batch size, for a batch."""
    runs = {
        name: partial(one.model.run, np.stack([one.input] * batch))
        for name, one in who.items()
        if one.model and one.input is not None and one.model.about['shape'] == 'free'
    }
    return interleaved(runs, rounds, 'cpu')


def _throughput(who: Iterable[str], timings: Mapping[str, Timing], batch: int) -> Columns:
    rates = {name: f'{batch / timing.median:.1f}' for name, timing in timings.items()}
    return {f'images/s, network, {batch} at once': [rates.get(name, '-') for name in who]}


def _record(
    who: Mapping[str, Contestant], timings: Mapping[str, Timing], batch: int, latencies: Latencies
) -> None:
    for name, timing in timings.items():
        one = who[name]
        if one.model and one.input is not None:
            height, width = one.input.shape[:2]
            latencies.write(one.model, one.runtime, (height, width), batch, timing.median)


def _accuracy(host: Host, who: Mapping[str, Contestant]) -> Columns:
    """Metrics in points, and how far they are below those of the first contestant."""
    found = [points(host, one.evaluate()) if one.evaluate else {} for one in who.values()]
    columns = {}
    for name, first in found[0].items():
        values = [one.get(name) for one in found]
        columns[name] = ['-' if v is None else f'{v:.2f}' for v in values]
        columns[f'{name}, drop'] = ['-' if v is None else f'{first - v:.2f}' for v in values]
    return columns


def _report(
    columns: Mapping[str, Sequence[str]], name: str, shape: tuple[int, int], folder: Path
) -> None:
    title = f'{name}, a picture of {shape[0]}x{shape[1]}'
    table = Table(*columns, title=title)
    rows = list(zip(*columns.values()))
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)
    machine = f'{processor()}, {torch.get_num_threads()} threads; torch {torch.__version__}'
    path = folder / f'whole_{name}.md'
    write_text(path, f'# {title}\n\n{machine}\n\n{markdown_table([*columns], rows)}\n')
    CONSOLE.print(str(path))
