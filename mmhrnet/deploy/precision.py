"""Files of lower precision: the images that they are calibrated on, and the gate they pass."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from rich.table import Table
from torch import Tensor

from mmhrnet import runtime
from mmhrnet.deploy.evaluate import as_shipped, file_runner
from mmhrnet.deploy.export import FORMATS, Check, ExportError, FormatName, Shipped, load
from mmhrnet.deploy.quantize import quantize
from mmhrnet.deploy.sensitivity import report
from mmhrnet.deploy.units import has_bf16
from mmhrnet.deploy.whole import WholeModel
from mmhrnet.errors import ConfigError
from mmhrnet.files import beside
from mmhrnet.hosts import host_of
from mmhrnet.hosts.host import Host
from mmhrnet.terminal import CONSOLE

LOGGER = logging.getLogger(__name__)
Precision = Literal['fp32', 'fp16', 'bf16', 'int8']
HALF: Mapping[str, torch.dtype] = {'fp16': torch.float16, 'bf16': torch.bfloat16}
NOT_MEASURED = 'not measured'


class Lower(NamedTuple):
    """How a file of lower precision is made.

    Attributes:
        precision: That of the network; the decoding stays in float32. An ONNX file of 'bf16' has
            float32 weights: OpenVINO computes it in bf16, others in float32.
        calibrate: For 'int8', the number of images of the training data, or a folder of images.
        max_drop: Points that a metric may lose; None writes the file unmeasured.
    """

    precision: Precision = 'fp32'
    calibrate: int | str = 128
    max_drop: float | None = 0.5

    @property
    def accuracy(self) -> str:
        """What the file says about its accuracy, which is true if the gate lets it out."""
        if self.max_drop is None:
            return NOT_MEASURED
        return f'at most {self.max_drop:g} points below float32 on the validation data'


FLOAT32 = Lower()


def check_lower(lower: Lower, content: str, format: FormatName) -> None:
    """Raises a ConfigError for what has no lower precision."""
    if content != 'whole':
        raise ConfigError('--precision is for whole models: leave --raw and --features out')
    if lower.precision == 'int8' and format != 'onnx':
        raise ConfigError('--precision int8 needs --format onnx')


def write_lower(
    cfg: Config,
    write: Callable[..., list[Check]],
    out: Path,
    format: FormatName,
    about: Mapping[str, object],
    compare: Callable[..., Check],
    lower: Lower,
) -> list[Check]:
    """Writes a whole model of lower precision, if its metrics allow.

    Args:
        cfg: Config with the data.
        write: Writes it: :func:`mmhrnet.deploy.export.export` without what follows here.
        out: File to write.
        format: Its format.
        about: Its metadata.
        compare: Compares a file with the model.
        lower: The precision, and what it may cost.

    Returns:
        Differences to the model.

    Raises:
        ConfigError: The data cannot be read.
        ExportError: A metric falls further than allowed.
    """
    _warn_of_cpu(lower.precision)
    about = {**about, 'precision': lower.precision, 'accuracy': lower.accuracy}
    anything = partial(compare, tolerance=math.inf)
    with beside(out) as file, TemporaryDirectory() as folder:
        is_onnx = format == 'onnx'
        plain = Path(folder, 'float32.onnx' if is_onnx else 'float32.pt2')
        # Quantizing keeps the metadata.
        own = about if lower.precision == 'int8' else {**about, 'precision': FLOAT32.precision}
        if lower.precision == 'int8' or lower.max_drop is not None:
            write(plain, format='onnx' if is_onnx else 'pt2', metadata=own, check=compare)
        if lower.precision == 'int8':
            images = calibration_images(cfg, plain, lower.calibrate)
            report(quantize(plain, images, file), out)
            checks = []
        elif is_onnx and lower.precision == 'bf16':
            checks = write(file, format=format, metadata=about, check=compare)
        else:
            prepare = partial(WholeModel.halve, dtype=HALF[lower.precision])
            options = dict(format=format, metadata=about, prepare=prepare)
            checks = write(file, check=anything, **options)
        if lower.max_drop is not None:
            check_drop(cfg, plain, file, lower.max_drop)
    return checks


def _warn_of_cpu(precision: Precision) -> None:
    """Says what to expect of an x86 CPU that lacks the instructions of a precision."""
    checks = {'int8': getattr(torch.cpu, '_is_vnni_supported', None), 'bf16': has_bf16}
    has = checks.get(precision) or (lambda: True)
    if platform.machine().lower() in ('x86_64', 'amd64') and not has():
        LOGGER.warning(
            'This CPU has no instructions for %s: the file will be smaller here, but hardly faster',
            precision,
        )


def calibration_images(cfg: Config, file: Path, source: int | str) -> list[np.ndarray]:
    """What a file is given for pictures of the training data, or of a folder.

    Args:
        cfg: Config with data, whose test's pipeline makes the pictures.
        file: Whole model in ONNX.
        source: The number of images, chosen at random but the same each time, or a folder.

    Returns:
        RGB images, (H, W, 3) uint8 each.

    Raises:
        ConfigError: The data or the folder cannot be read.
    """
    if isinstance(source, str) and not source.isdecimal():
        return list(_of_folder(file, Path(source)))
    return list(islice(_of_training(cfg, file), int(source)))


def _of_training(cfg: Config, file: Path) -> Iterator[np.ndarray]:
    shipped = load(file)
    seen: list[np.ndarray] = []

    def run(images: Tensor) -> Sequence[Tensor]:
        seen.extend(images.numpy())
        return shipped.run(images)

    cfg = Config(cfg.to_dict(), cfg.text, cfg.filename)
    cfg.test_dataloader.sampler = dict(type='DefaultSampler', shuffle=True, seed=0)
    runner = file_runner(cfg, replace(shipped, run=run), file, 'train')
    for data in runner.test_dataloader:
        runner.model.test_step(data)
        yield from seen
        seen.clear()


def _of_folder(file: Path, folder: Path) -> Iterator[np.ndarray]:
    model = runtime.load(file)
    seen: list[np.ndarray] = []

    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        seen.extend(images)
        return model.session(images)

    try:
        for path, _ in runtime.find_images(folder):
            replace(model, session=run)(runtime.read_image(path))
    except runtime.ModelError as error:
        raise ConfigError(str(error)) from error
    return iter(seen)


def check_drop(cfg: Config, plain: Path, file: Path, max_drop: float) -> None:
    """Evaluates a file beside its float form with the config's data and metric.

    Raises:
        ExportError: A metric falls further than allowed.
    """
    figures = [
        points(host_of(cfg), file_runner(cfg, _load(path), path).test()) for path in (plain, file)
    ]
    table = Table('metric', 'float32', 'this file', 'drop', title='Points on the validation data')
    drops = {name: figures[0][name] - figures[1][name] for name in figures[0]}
    for name, drop in drops.items():
        table.add_row(name, *(f'{one[name]:.2f}' for one in figures), f'{drop:.2f}')
    CONSOLE.print(table)
    worst = max(drops, key=lambda name: drops[name])
    if not drops[worst] <= max_drop:
        raise ExportError(
            f'{worst} falls by {drops[worst]:.2f} points, more than --max-drop {max_drop:g}; no '
            'file is written: calibrate on more images (--calibrate), allow more, or take fp16 or '
            'bf16'
        )


def _load(file: Path) -> Shipped:
    """A file as it runs where it is fast: OpenVINO computes an ONNX file of bf16 in bf16."""
    shipped = load(file)
    is_bf16 = file.suffix == FORMATS['onnx'].suffix and shipped.metadata.get('precision') == 'bf16'
    if not is_bf16:
        return shipped
    try:
        return as_shipped(runtime.load(file, 'openvino'))
    except runtime.ModelError as error:
        raise ExportError(f'An ONNX file of bf16 is evaluated by OpenVINO. {error}') from error


def points(host: Host, metrics: Mapping[str, float]) -> dict[str, float]:
    """The host's metrics in points of 100, of which more is better."""
    known = {name: host.metrics[name] for name in metrics if name in host.metrics}
    return {
        name: metrics[name] * metric.factor * metric.percent * (-1 if metric.less_is_better else 1)
        for name, metric in known.items()
    }
