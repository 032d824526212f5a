"""A config and its checkpoint as one file that runs without OpenMMLab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from rich.table import Table
from torch import Tensor, nn

import mmhrnet
from mmhrnet.checkpoints import read_ahead
from mmhrnet.config.build import build_tensor_model, input_size, normalization
from mmhrnet.config.check import check_device
from mmhrnet.config.stored import make_config_for
from mmhrnet.config.weights import check_complete, loading
from mmhrnet.deploy import whole
from mmhrnet.deploy.bundle import write_bundle
from mmhrnet.deploy.export import (
    FORMATS,
    INPUT,
    SIDES,
    Check,
    FormatName,
    Shipped,
    check_format,
    export,
)
from mmhrnet.deploy.precision import FLOAT32, Lower, check_lower, write_lower
from mmhrnet.deploy.rewrites import PORTABLE, Rewrites
from mmhrnet.errors import ConfigError
from mmhrnet.files import check_file
from mmhrnet.hosts import find_host, host_of
from mmhrnet.models.checks import check_choice
from mmhrnet.terminal import CONSOLE

Content = Literal['whole', 'raw', 'features']
EXAMPLE = 128  # pixels: the smallest side with which every neck can have free sizes


@dataclass(frozen=True)
class Job:
    """What is exported.

    Attributes:
        model: Takes one tensor of images.
        images: Example of it.
        about: Metadata of the file.
        sides: Dimensions of the images that a file of free sizes leaves free.
        check: Compares the file with the host, if not with ``model``.
    """

    model: nn.Module
    images: Tensor
    about: dict[str, object]
    sides: Sequence[int] = SIDES
    check: Callable[[Shipped, Tensor], Check] | None = None


def export_config(
    config: str | Path | None,
    checkpoint: str | Path | None = None,
    *,
    format: FormatName = 'pt2',
    out: str | Path | None = None,
    content: Content | None = None,
    flip_test: bool = False,
    probabilities: bool = False,
    shape: Sequence[int] | None = None,
    batch: int = 2,
    static: bool = False,
    device: str = 'cpu',
    swap: bool = False,
    cfg_options: dict[str, Any] | None = None,
    opset: int | None = None,
    bundle: str | Path | None = None,
    license: str = 'not stated',
    rewrites: Rewrites | None = PORTABLE,
    lower: Lower = FLOAT32,
) -> Path:
    """Writes the deploy form of a config's model into one file and prints how it was checked.

    Args:
        config: Config file of any host; None, or a checkpoint in this place, takes the config that
            the checkpoint contains.
        checkpoint: Its weights; None exports random ones, to measure speed and shapes.
        format: 'pt2' (torch.export), 'aoti' (compiled by AOTInductor) or 'onnx'.
        out: File to write; None is ``work_dirs/export/<config>.<suffix>``.
        content: 'whole' takes the pixels of a picture and returns the result. 'raw' takes
            normalized images and returns what the head does, 'features' what the neck does. None
            is 'whole', or 'raw' for a host that has no whole files.
        flip_test: For whole pose estimators: average the picture and its mirror image.
        probabilities: For whole segmentors: return the probability of each class, too.
        shape: Height and width, or one side; None is that of the config.
        batch: Images in the example; with ``static``, the batch size of the file.
        static: Fix batch size, height and width instead of leaving them free. Whole classifiers
            and top-down pose estimators always have the height and width of the config.
        device: Device to export for.
        swap: Put mmhrnet in place of the host's HRNet.
        cfg_options: Settings over the config.
        opset: Version of ONNX's operators, for 'onnx'; None is that of torch.
        bundle: Folder for a whole model in 'onnx' with all that it needs to run; ``out`` is in it.
        license: That of the weights, for the README of the bundle.
        rewrites: Those of the deploy form; None writes the host's own network as it stands.
        lower: Precision of a whole model, and what it may cost.

    Returns:
        The file.

    Raises:
        ConfigError: Arguments that cannot work.
        ExportError: The model, format or machine does not allow it.
    """
    suffix = FORMATS[check_choice('format', format, FORMATS)].suffix
    evaluates = lower.precision != FLOAT32.precision
    cfg, checkpoint = make_config_for(
        config, checkpoint, with_data=evaluates, swap=swap, cfg_options=cfg_options
    )
    name = Path(cfg.filename).stem
    if bundle:
        _check_bundle(format, out, content)
        content = 'whole'
    out = Path(out or Path(bundle or 'work_dirs/export', f'{name}{suffix}'))
    check_format(format, out, opset, not static)
    check_device(device)
    check_file(out)
    options = dict(flip_test=flip_test, probabilities=probabilities)
    content = _check_content(cfg, content, shape, **options)
    if evaluates:
        check_lower(lower, content, format)
    size = (shape[0], shape[-1]) if shape else input_size(cfg)
    if not (shape or static or (content == 'whole' and host_of(cfg).fixed_size(cfg))):
        size = (max(size[0], EXAMPLE), max(size[1], EXAMPLE))
    weights = str(checkpoint) if checkpoint else None
    figures = _figures(weights)
    if content == 'whole':
        job = _whole(cfg, weights, device, (batch, *size), **options)
    else:
        job = _tensors(cfg, weights, device, (batch, *size), with_head=content == 'raw')
    about = dict(config=name, **job.about, **_origin(weights), figures=figures)
    about['shape'] = list(job.images.shape) if static else 'free'
    write = partial(
        export,
        job.model,
        job.images,
        dynamic=not static,
        opset=opset,
        sides=job.sides,
        rewrites=rewrites,
    )
    if job.check is None or not evaluates:
        checks = write(out, format=format, metadata=about, check=job.check)
    else:
        checks = write_lower(cfg, write, out, format, about, job.check, lower)
    if checks:
        _print(out, checks)
    if bundle:
        for path in write_bundle(out, license):
            CONSOLE.print(str(path))
    return out


def _check_bundle(format: FormatName, out: str | Path | None, content: Content | None) -> None:
    if format != 'onnx' or content not in (None, 'whole') or out:
        raise ConfigError('--bundle needs --format onnx, and neither --out, --raw nor --features')


def _check_content(
    cfg: Config,
    content: Content | None,
    shape: Sequence[int] | None,
    flip_test: bool,
    probabilities: bool,
) -> Content:
    """What to write of a model; raises a ConfigError for options that it cannot have."""
    host = find_host(cfg)
    has_head = host is None or host.has_tensor_head(cfg)
    has_whole = host is not None and host.whole is not None
    if content is None:
        content = 'whole' if has_whole else 'raw' if has_head else 'features'
    if content == 'whole' and not has_whole:
        raise ConfigError(f'There are no whole files of {cfg.model.type} yet: export --features')
    if content == 'raw' and not has_head:
        raise ConfigError(
            f'What the head of {cfg.model.type} does depends on the image: export --features'
        )
    if content != 'whole' and (flip_test or probabilities):
        raise ConfigError('--flip-test and --probabilities are for whole models')
    if content == 'whole' and shape and host_of(cfg).fixed_size(cfg):
        height, width = input_size(cfg)
        if (shape[0], shape[-1]) != (height, width):
            raise ConfigError(
                f'This whole model takes pictures of {height} x {width}: leave --shape out, or '
                'export --raw'
            )
    return content


def _whole(
    cfg: Config, weights: str | None, device: str, shape: tuple[int, int, int], **options: bool
) -> Job:
    built = whole.build_whole(cfg, weights, device, **options)
    images = torch.zeros(*shape, 3, dtype=torch.uint8, device=device)
    fixed = host_of(cfg).fixed_size(cfg)
    about = dict(
        input=whole.IMAGE,
        outputs=list(built.outputs),
        size=list(shape[1:]),
        fixed_size=fixed,
        **built.about,
    )
    sides = () if fixed else whole.SIDES
    return Job(built.model, images, about, sides, partial(whole.compare, built))


def _tensors(
    cfg: Config, weights: str | None, device: str, shape: tuple[int, int, int], with_head: bool
) -> Job:
    model = build_tensor_model(cfg).eval()
    model.with_head = with_head
    if weights:
        with loading(weights):
            load_checkpoint(model.model, weights, map_location='cpu')
        check_complete(model.model, weights)
    count, height, width = shape
    images = torch.zeros(count, 3, height, width, device=device)
    with torch.no_grad():
        outputs = len(model.to(device)(images))
    names = ['output'] if outputs == 1 else [f'output_{i}' for i in range(outputs)]
    return Job(model, images, dict(input=INPUT, **normalization(cfg)._asdict(), outputs=names))


def _origin(weights: str | None) -> dict[str, object]:
    """The hash of the weights, if they are a file, and the versions that wrote a file."""
    known = weights is not None and Path(weights).is_file()
    return dict(
        weights=sha256(Path(str(weights)).read_bytes()).hexdigest() if known else None,
        mmhrnet=mmhrnet.__version__,
        torch=torch.__version__,
    )


def _figures(weights: str | None) -> dict[str, float]:
    """The metrics of the evaluation that a training made of the weights, if it did."""
    content = read_ahead(weights) if weights and Path(weights).is_file() else {}
    if not isinstance(content, dict) or not content.get('evaluated'):
        return {}
    logged = content['message_hub']['log_scalars']
    names = {key.removeprefix('val/') for key in logged if key.startswith('val/')}
    return {
        name: float(logged[f'val/{name}'].current())
        for name in sorted(names - {'time', 'data_time'})
    }


def _print(out: Path, checks: Sequence[Check]) -> None:
    table = Table('input', 'largest difference / largest output', title=f'{out} against the model')
    for check in checks:
        table.add_row('x'.join(map(str, check.shape)), f'{check.error:.1e}')
    CONSOLE.print(table)
