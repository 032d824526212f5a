"""Converts checkpoint files from one library's names to another's."""

from __future__ import annotations

from pathlib import Path

from mmengine.runner import CheckpointLoader

from mmhrnet.checkpoints import Report, convert, save, unwrap
from mmhrnet.files import check_file


def convert_checkpoint(src: str | Path, dst: str | Path, to: str) -> Report:
    """Reads a checkpoint of any published form and writes it under the names of ``to``.

    A ``.pth`` also keeps what folding removed, so that converting it back gives exactly the same
    tensors; a ``.safetensors`` file cannot keep it.

    Args:
        src: File, URL or ``open-mmlab://`` name.
        dst: File to write; it appears when it is complete.
        to: One of ``mmhrnet.checkpoints.FORMS``.

    Raises:
        CheckpointError: The file cannot be read, or contains no HRNet.
    """
    check_file(dst)
    checkpoint = CheckpointLoader.load_checkpoint(str(src), map_location='cpu', logger='silent')
    state, folded, report = convert(unwrap(checkpoint), to, checkpoint.get('folded'))
    save({'state_dict': state, 'folded': folded}, dst)
    return report
