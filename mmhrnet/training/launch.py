"""Training and testing in several processes, also on a machine without a GPU."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from datetime import timedelta

import torch
from mmengine.config import Config
from torch import distributed as dist
from torch import nn

from mmhrnet.config.processes import COMMANDS, LOCAL_RANKS, is_first
from mmhrnet.errors import ConfigError
from mmhrnet.walk import dicts


def start_processes(cfg: Config) -> None:
    """Connects the processes of a machine without GPUs over gloo; with GPUs MMEngine does it.

    MMEngine sets a CUDA device first and gives it to its model wrapper, whatever the backend. An
    existing process group is left as it is.

    Args:
        cfg: Config with its launcher; edited to what runs on a CPU. The timeout of the process
            group is ``env_cfg.dist_cfg.timeout``, in seconds.

    Raises:
        ConfigError: The launcher needs GPUs, there are more processes than GPUs, or sharded
            gradients are to be clipped.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    if is_sharded(cfg) and cfg.get('optim_wrapper', {}).get('clip_grad'):
        raise ConfigError(
            'MMEngine would clip the gradients of each process by the norm of its own share: train '
            'with optim_wrapper.clip_grad=None'
        )
    if torch.cuda.is_available():
        _check_gpus(launcher)
        return
    if launcher != 'pytorch':
        raise ConfigError(
            f'--launcher {launcher} needs GPUs, and torch sees none here; to start processes on a '
            f'CPU, run {COMMANDS["pytorch"]}'
        )
    _fit_cpu(cfg)
    _revert_sync_norms(cfg)
    seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    if dist.is_initialized():
        return
    dist.init_process_group('gloo', timeout=seconds and timedelta(seconds=seconds))
    atexit.register(_end_processes)


def _end_processes() -> None:
    """Joins gloo's threads: the interpreter aborts if one still runs when it ends."""
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()  # the wrapped model refers to the group too


def _check_gpus(launcher: str) -> None:
    rank, count = int(os.environ.get(LOCAL_RANKS[launcher], 0)), torch.cuda.device_count()
    if rank >= count:
        raise ConfigError(
            f'Process {rank} of this machine has no GPU: torch sees {count}. Start one process '
            'for each GPU'
        )


def _fit_cpu(cfg: Config) -> None:
    strategy = cfg.get('strategy')
    if strategy is None:
        find_unused = cfg.get('find_unused_parameters', False)
        defaults = dict(broadcast_buffers=False, find_unused_parameters=find_unused)
        wrapper = cfg.get('model_wrapper_cfg') or dict(type='MMDistributedDataParallel', **defaults)
        cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
    elif strategy.type == 'FSDPStrategy':
        strategy.setdefault('model_wrapper', dict(type='MMFullyShardedDataParallel'))
        strategy.model_wrapper.device_id = 'cpu'
        for part in dicts(strategy.get('state_dict_cfg')):
            if 'offload_to_cpu' in part:  # it would free the weights, pytorch issue 188989
                part.offload_to_cpu = False


def _revert_sync_norms(cfg: Config) -> None:
    """As MMEngine does for one process: PyTorch's SyncBatchNorm does not run on a CPU."""
    norms = [part for part in dicts(cfg.model) if part.get('type') in ('SyncBN', 'MMSyncBN')]
    for norm in norms:
        norm.type = 'BN'
    if (norms or cfg.get('sync_bn')) and is_first(cfg):
        print(
            'No GPU: SyncBN becomes BN, and each process normalizes with its own statistics',
            file=sys.stderr,
        )
    cfg.sync_bn = None


def is_sharded(cfg: Config) -> bool:
    """Whether each process holds a part of the model only, so that using it takes all of them."""
    return cfg.get('strategy', {}).get('type', 'DDPStrategy') != 'DDPStrategy'


def wrap_modules(module: nn.Module, recurse: bool, **_: int) -> bool:
    """Policy of FSDP: each multi-resolution module and each bottleneck of stage 1 is a unit."""
    from mmhrnet.models.blocks import Bottleneck
    from mmhrnet.models.hrnet import HRModule

    return recurse or isinstance(module, (HRModule, Bottleneck))
