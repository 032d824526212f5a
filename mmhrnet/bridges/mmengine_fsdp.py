"""Resuming a training with sharded parameters.

Needed by: mmengine <= 0.10.7, which gives the optimizer's state to FSDP in the order of arguments
that PyTorch had before 2.1; no such run could be resumed.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import wrap

if TYPE_CHECKING:
    from mmengine._strategy import FSDPStrategy


def reason() -> str | None:
    order = 'mmengine cannot resume the optimizer of FSDPStrategy with torch 2.1 and newer'
    return order if find_spec('mmengine') else None


def install() -> None:
    wrap('mmengine._strategy.fsdp', 'FSDPStrategy.load_optim_state_dict', load_in_todays_order)


def load_in_todays_order(_: object, self: FSDPStrategy, state_dict: dict[str, object]) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    optimizer = self.optim_wrapper.optimizer
    sharded = FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict)
    self.optim_wrapper.load_state_dict(sharded)
