"""A config and its checkpoint as one file that runs without OpenMMLab."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from rich.table import Table

import mmhrnet
from mmhrnet.config.build import build_tensor_model, input_size, normalization
from mmhrnet.config.check import check_device
from mmhrnet.config.stored import make_config_for
from mmhrnet.config.weights import check_complete, loading
from mmhrnet.deploy.export import FORMATS, INPUT, FormatName, check_format, export
from mmhrnet.files import check_file
from mmhrnet.models.checks import check_choice
from mmhrnet.terminal import CONSOLE


def export_config(
    config: str | Path | None,
    checkpoint: str | Path | None = None,
    *,
    format: FormatName = 'pt2',
    out: str | Path | None = None,
    shape: Sequence[int] | None = None,
    batch: int = 2,
    static: bool = False,
    device: str = 'cpu',
    swap: bool = False,
    cfg_options: dict[str, Any] | None = None,
    opset: int | None = None,
) -> Path:
    """Writes the deploy form of a config's model into one file and prints how it was checked.

    Args:
        config: Config file of any host; None, or a checkpoint in this place, takes the config that
            the checkpoint contains.
        checkpoint: Its weights; None exports random ones, to measure speed and shapes.
        format: 'pt2' (torch.export), 'aoti' (compiled by AOTInductor) or 'onnx'.
        out: File to write; None is ``work_dirs/export/<config>.<suffix>``.
        shape: Height and width, or one side; None is that of the config.
        batch: Images in the example; with ``static``, the batch size of the file.
        static: Fix batch size, height and width instead of leaving them free.
        device: Device to export for.
        swap: Put mmhrnet in place of the host's HRNet.
        cfg_options: Settings over the config.
        opset: Version of ONNX's operators, for 'onnx'; None is that of torch.

    Returns:
        The file.

    Raises:
        ConfigError: Arguments that cannot work.
        ExportError: The model, format or machine does not allow it.
    """
    suffix = FORMATS[check_choice('format', format, FORMATS)].suffix
    cfg, checkpoint = make_config_for(config, checkpoint, swap=swap, cfg_options=cfg_options)
    name = Path(cfg.filename).stem
    out = Path(out or f'work_dirs/export/{name}{suffix}')
    check_format(format, out, opset, not static)
    check_device(device)
    check_file(out)
    height, width = (shape[0], shape[-1]) if shape else input_size(cfg)
    model = build_tensor_model(cfg).eval()
    if checkpoint is None:
        CONSOLE.print('No checkpoint is given, so the file gets random weights.')
    else:
        with loading(str(checkpoint)):
            load_checkpoint(model.model, str(checkpoint), map_location='cpu')
        check_complete(model.model, str(checkpoint))
    images = torch.zeros(batch, 3, height, width, device=device)
    with torch.no_grad():
        outputs = model.to(device)(images)
    metadata = describe(cfg, name, len(outputs), images.shape if static else None)
    checks = export(
        model, images, out, format=format, dynamic=not static, metadata=metadata, opset=opset
    )
    table = Table('input', 'largest difference / largest output', title=f'{out} against eager')
    for check in checks:
        table.add_row('x'.join(map(str, check.shape)), f'{check.error:.1e}')
    CONSOLE.print(table)
    return out


def describe(
    cfg: Config, name: str, outputs: int, fixed: Sequence[int] | None
) -> dict[str, object]:
    """What a user of the file needs to know: normalization, names, sizes, versions."""
    return dict(
        config=name,
        input=INPUT,
        **normalization(cfg)._asdict(),
        outputs=['output'] if outputs == 1 else [f'output_{i}' for i in range(outputs)],
        shape=list(fixed) if fixed else 'free',
        mmhrnet=mmhrnet.__version__,
        torch=torch.__version__,
    )
