"""A checkpoint to resume names no file of others.

Needed by: every mmengine, whose CheckpointHook removes what a checkpoint calls the best one before
it, a folder too. Of the paths in a checkpoint only those are left that the hook itself writes to.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import


def reason() -> str | None:
    if find_spec('mmengine') is None:
        return None
    return 'mmengine removes the files that a checkpoint to resume names'


def install() -> None:
    after_import('mmengine.hooks.checkpoint_hook', _keep_own_files)


def _keep_own_files(module: ModuleType) -> None:
    def after_load_checkpoint(self: Any, runner: Any, checkpoint: dict[str, Any]) -> None:
        from mmhrnet.bridges.own_files import keep_own_files

        keep_own_files(self, runner, checkpoint)

    module.CheckpointHook.after_load_checkpoint = after_load_checkpoint
