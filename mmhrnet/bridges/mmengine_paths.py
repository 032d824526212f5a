"""A checkpoint to resume reaches no file of others.

Needed by: every mmengine, whose CheckpointHook removes what a checkpoint calls the best one before
it, even a folder. Of the paths in a checkpoint only those are kept that the hook itself writes to.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import wrap

if TYPE_CHECKING:
    from mmengine.hooks import CheckpointHook
    from mmengine.runner import Runner

STEP = r'\d+(?:_iter_\d+)?'  # what the names of checkpoints count by


def reason() -> str | None:
    removes = 'mmengine removes the files that a checkpoint to resume names'
    return removes if find_spec('mmengine') else None


def install() -> None:
    wrap('mmengine.hooks.checkpoint_hook', 'CheckpointHook.after_load_checkpoint', keep_own_files)


def keep_own_files(
    _: object, hook: CheckpointHook, runner: Runner, checkpoint: dict[str, dict[str, dict]]
) -> None:
    """Removes from a checkpoint to resume, in place, each path that the hook does not write to."""
    if not runner._resume:
        return
    hub, folder = checkpoint['message_hub'], checkpoint_folder(hook, runner)
    info = hub['runtime_info']
    step = re.sub(r'\\\{.*?\\\}', lambda _: STEP, re.escape(hook.filename_tmpl))
    for key in [key for key in info if key.startswith(('best_ckpt', 'last_ckpt'))]:
        name = f'best_.+_{step}' if key.startswith('best') else step
        if not _is_in(folder, info[key], name):
            del info[key]
            hub['resumed_keys'].pop(key, None)  # else MMEngine warns that it is missing
    kept, outdated = _list(info.get('keep_ckpt_ids')), _list(info.get('outdated_ckpts'))
    info['keep_ckpt_ids'] = [item for item in kept if re.fullmatch(STEP, str(item))]
    info['outdated_ckpts'] = [path for path in outdated if _is_in(folder, path, step)]


def checkpoint_folder(hook: CheckpointHook, runner: Runner) -> str:
    """The folder that a CheckpointHook writes to, as MMEngine derives it from ``out_dir``."""
    from mmengine.fileio import join_path

    if hook.out_dir in (None, runner.work_dir):
        return str(runner.work_dir)
    return str(join_path(hook.out_dir, Path(runner.work_dir).name))


def _is_in(folder: str, path: object, name: str) -> bool:
    """Whether a path from a checkpoint is that of a file of this folder whose name matches."""
    if not isinstance(path, str) or not re.fullmatch(name, Path(path).name):
        return False
    return '\0' not in path and Path(path).parent.resolve() == Path(folder).resolve()


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
