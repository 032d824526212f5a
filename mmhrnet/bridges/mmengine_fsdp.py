"""Resuming a training with sharded parameters.

Needed by: mmengine <= 0.10.7, which gives the optimizer's state to FSDP in the order of arguments
that PyTorch had before 2.1; no such run could be resumed.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import

MODULE = 'mmengine._strategy.fsdp'


def reason() -> str | None:
    if find_spec('mmengine') is None:
        return None
    return 'mmengine cannot resume the optimizer of FSDPStrategy with torch 2.1 and newer'


def install() -> None:
    after_import(MODULE, _load_in_todays_order)


def _load_in_todays_order(module: ModuleType) -> None:
    def load_optim_state_dict(self: Any, state_dict: dict) -> None:
        wrapper = self.optim_wrapper
        sharded = module.FSDP.optim_state_dict_to_load(self.model, wrapper.optimizer, state_dict)
        wrapper.load_state_dict(sharded)

    module.FSDPStrategy.load_optim_state_dict = load_optim_state_dict
