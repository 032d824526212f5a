"""Which of the files that a checkpoint names are a run's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mmengine.fileio import join_path

STEP = r'\d+(?:_iter_\d+)?'  # what the names of checkpoints count by


def checkpoint_folder(hook: Any, runner: Any) -> str:
    """Where a CheckpointHook writes, as MMEngine makes it out of ``out_dir``."""
    if hook.out_dir in (None, runner.work_dir):
        return str(runner.work_dir)
    return str(join_path(hook.out_dir, Path(runner.work_dir).name))


def keep_own_files(hook: Any, runner: Any, checkpoint: dict[str, Any]) -> None:
    """Leaves of the paths in a checkpoint to resume those that the hook writes to.

    They say what is removed later on: no other file is to be reached by them.

    Args:
        hook: CheckpointHook of MMEngine.
        runner: Runner that resumes.
        checkpoint: Content of the file; edited.
    """
    if not runner._resume:
        return
    info, folder = checkpoint['message_hub']['runtime_info'], checkpoint_folder(hook, runner)
    step = re.sub(r'\\\{.*?\\\}', lambda _: STEP, re.escape(hook.filename_tmpl))
    for key in [key for key in info if key.startswith(('best_ckpt', 'last_ckpt'))]:
        name = f'best_.+_{step}' if key.startswith('best') else step
        if not _is_in(folder, info[key], name):
            del info[key]
    kept, outdated = _list(info.get('keep_ckpt_ids')), _list(info.get('outdated_ckpts'))
    info['keep_ckpt_ids'] = [item for item in kept if re.fullmatch(STEP, str(item))]
    info['outdated_ckpts'] = [path for path in outdated if _is_in(folder, path, step)]


def _is_in(folder: str, path: Any, name: str) -> bool:
    """Whether a path from a checkpoint is that of a file of this folder whose name matches."""
    if not isinstance(path, str) or not re.fullmatch(name, Path(path).name):
        return False
    return '\0' not in path and Path(path).parent.resolve() == Path(folder).resolve()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
