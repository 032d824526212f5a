"""The newest checkpoint of a folder that can be read completely."""

from __future__ import annotations

from logging import WARNING
from pathlib import Path

from mmengine.logging import print_log

from mmhrnet import checkpoints
from mmhrnet.errors import TrainingError


def newest_intact(*folders: str | Path) -> Path | None:
    """The checkpoint to resume from; damaged ones are named in one warning.

    Args:
        folders: That of a run, with MMEngine's ``last_checkpoint``, and others of its checkpoints.

    Returns:
        The last one if it is intact, else the newest that is; None where there are none at all.

    Raises:
        TrainingError: There are some, all damaged.
    """
    damaged: list[str] = []
    for path in _candidates(list(map(Path, folders))):
        reason = _damage(path)
        if reason is None:
            if damaged:
                print_log(f'Resuming from {path}: {"; ".join(damaged)}', 'current', WARNING)
            return path
        damaged.append(reason)
    if not damaged:
        return None
    raise TrainingError(
        f'No checkpoint in {folders[0]} can be resumed: {"; ".join(damaged)}. Name one of another '
        'folder that can: --resume PATH'
    )


def _candidates(folders: list[Path]) -> list[Path]:
    """The last one, then the others, newest first.

    Of ``last_checkpoint``, only the file's name counts: the folder may have been moved, and a file
    elsewhere is not of this run.
    """
    pointer = folders[0] / 'last_checkpoint'
    last = Path(pointer.read_text(errors='replace').strip()).name if pointer.is_file() else ''
    found = {path for folder in folders for path in folder.glob('*.pth')}
    found = {path for path in found if not path.name.startswith(('best_', '.'))}
    # A link may lead nowhere.
    newest = sorted(found, key=lambda path: path.lstat().st_mtime_ns, reverse=True)
    return sorted(newest, key=lambda path: path.name != last)


def _damage(path: Path) -> str | None:
    """Why a training cannot resume from it; loading also compares the checksums."""
    try:
        content = checkpoints.read_ahead(path)
        checkpoints.state_of(content)
    except (checkpoints.CheckpointError, OSError) as error:
        text = str(error).partition('\n')[0]
        return text if str(path) in text else f'{path}: {text}'
    if not isinstance(content, dict) or not {'meta', 'message_hub'} <= content.keys():
        return f'{path} contains only weights'
    return None
