"""The newest checkpoint of a folder that can be read to its last byte."""

from __future__ import annotations

from logging import WARNING
from pathlib import Path

from mmengine.logging import print_log

from mmhrnet import checkpoints
from mmhrnet.hooks.errors import TrainingError


def newest_intact(work_dir: str | Path) -> Path | None:
    """The checkpoint to go on from; damaged ones are named in one warning.

    Args:
        work_dir: Folder of a run, with MMEngine's ``last_checkpoint`` and the checkpoints.

    Returns:
        The last one if it is intact, else the newest that is; None where there are none at all.

    Raises:
        TrainingError: There are some, all damaged.
    """
    damaged: list[str] = []
    for path in _candidates(Path(work_dir)):
        reason = _damage(path)
        if reason is None:
            if damaged:
                print_log(f'Resuming from {path}: {_listed(damaged)}', 'current', WARNING)
            return path
        damaged.append(reason)
    if not damaged:
        return None
    raise TrainingError(
        f'No checkpoint in {work_dir} can be resumed: {_listed(damaged)}. Name one that can, of '
        'another folder: --resume PATH'
    )


def _candidates(work_dir: Path) -> list[Path]:
    """The last one by its name, then the others, newest first."""
    pointer = work_dir / 'last_checkpoint'
    named = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    folder = Path(named).parent if named else work_dir
    found = {*work_dir.glob('*.pth'), *folder.glob('*.pth')}
    found = {path for path in found if not path.name.startswith(('best_', '.'))}
    others = sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return list(dict.fromkeys([*([Path(named)] if named else []), *others]))


def _damage(path: Path) -> str | None:
    """Why a training cannot go on from it; loading compares the checksums too."""
    try:
        content = checkpoints.load(path, 'cpu')
        checkpoints.state_of(content)
    except (checkpoints.CheckpointError, OSError) as error:
        text = str(error).partition('\n')[0]
        return text if str(path) in text else f'{path}: {text}'
    if not {'meta', 'message_hub', 'optimizer'} <= content.keys():
        return f'{path} holds weights alone'
    return None


def _listed(reasons: list[str]) -> str:
    return '; '.join(reasons)
