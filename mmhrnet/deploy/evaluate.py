"""Evaluates an exported file with a config's own data and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor
from typing_extensions import Unpack

from mmhrnet import runtime
from mmhrnet.config.build import input_size
from mmhrnet.config.make import Edits, make_config
from mmhrnet.deploy.export import ExportError, Shipped, load
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import host_of
from mmhrnet.hosts.whole import Outputs, Whole
from mmhrnet.training.evaluate import Split, build_runner_of, evaluate


def evaluate_file(
    config: str | Path,
    checkpoint: str | Path,
    *,
    split: Split = 'test',
    show_dir: str | None = None,
    **edits: Unpack[Edits],
) -> dict[str, float]:
    """Evaluates a whole model as :func:`mmhrnet.apis.test` evaluates a checkpoint.

    Beside its metrics are those that the training measured of the checkpoint.

    Args:
        config: Config file, whose data, pipeline and metric are used.
        checkpoint: The file that :func:`mmhrnet.deploy.from_config.export_config` wrote of it.
        split: 'test', or 'train' for the training data through the test's pipeline.
        show_dir: Folder for pictures of predictions.
        edits: Arguments of :func:`mmhrnet.config.make.make_config`.

    Raises:
        ConfigError: The arguments, the data or the file cannot work.
        ExportError: The file does not load, or is not a whole model.
    """
    shipped = load(checkpoint)
    runner = file_runner(make_config(config, **edits), shipped, checkpoint, split)
    figures: Any = shipped.metadata.get('figures')
    return evaluate(runner, config, split, show_dir, mini=bool(edits.get('mini')), beside=figures)


def file_runner(cfg: Config, shipped: Shipped, path: str | Path, split: Split = 'test') -> Runner:
    """The runner of a test that takes the results of a file for those of the model.

    Raises:
        ConfigError: The file is for another task or size.
        ExportError: It is not a whole model.
    """
    about = shipped.metadata
    if 'task' not in about:
        raise ExportError(f'{path} is not a whole model: export it without --raw and --features')
    runner = build_runner_of(cfg, None, split)
    host, size = host_of(runner.cfg), list(input_size(runner.cfg))
    if host.whole is None or about['task'] != host.task:
        raise ConfigError(f'{path} is for {about["task"]}, the config for {host.task}')
    if about['fixed_size'] and about['size'] != size:
        raise ConfigError(
            f'{path} takes pictures of {about["size"]}, the config makes them {size}: give '
            'the config that it was exported from'
        )
    step = partial(predict, host.whole, runner.model, shipped)
    runner.model.test_step = runner.model.val_step = step
    runner.cfg.load_from = str(path)  # for the summary on the screen
    return runner


def as_shipped(model: runtime.Model) -> Shipped:
    """A model of the runtime as :func:`mmhrnet.deploy.load` returns files."""
    return Shipped(
        lambda images: [*map(torch.as_tensor, model.session(images.numpy()))], model.about
    )


def as_model(shipped: Shipped) -> runtime.Model:
    """A file of any format as the runtime takes those in ONNX: from a picture to a record.

    Raises:
        ExportError: It is not a whole model.
    """
    if 'task' not in shipped.metadata:
        raise ExportError('This is not a whole model: export it without --raw and --features')

    def session(images: np.ndarray) -> list[np.ndarray]:
        return [y.numpy() for y in shipped(torch.from_numpy(images))]

    return runtime.Model(dict(shipped.metadata), session)


def predict(whole: Whole, model: Any, shipped: Shipped, data: Mapping[str, Any]) -> Sequence[Any]:
    """The host's data samples of a batch of its data loader, filled by a file."""
    data = model.data_preprocessor.cast_data(data)
    images, samples = list(data['inputs']), list(data['data_samples'])
    one_size = len({image.shape for image in images}) == 1
    parts = [slice(None)] if one_size else [slice(i, i + 1) for i in range(len(images))]
    done: list[Any] = []
    with torch.no_grad():
        for part in parts:
            bgr = torch.stack(images[part])  # (N, 3, H, W)
            outputs = whole.run(model, shipped.metadata, partial(_run, shipped), bgr)
            done += whole.fill(model, outputs, samples[part])
    return done


def _run(shipped: Shipped, bgr: Tensor) -> Outputs:
    images, shape = bgr.flip(1).permute(0, 2, 3, 1), shipped.metadata['shape']
    if isinstance(shape, list):
        if list(images.shape[1:3]) != shape[1:3]:
            raise ConfigError(
                f'The file takes pictures of {shape[1:3]}, not {list(images.shape[1:3])}: export '
                'it without --static'
            )
        parts = [_run_part(shipped, part, shape[0]) for part in images.split(shape[0])]
    else:
        parts = [_run_part(shipped, images, len(images))]
    names: Any = shipped.metadata['outputs']
    return {name: torch.cat(ys) for name, ys in zip(names, zip(*parts))}


def _run_part(shipped: Shipped, images: Tensor, count: int) -> list[Tensor]:
    """The outputs for a batch, which is filled up to the number that the file takes."""
    filled = torch.cat([images, images[:1].expand(count - len(images), -1, -1, -1)])
    return [y[: len(images)] for y in shipped(filled)]
