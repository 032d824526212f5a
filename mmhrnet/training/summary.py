"""What a run is, in six lines on the screen; its log file contains the rest."""

from __future__ import annotations

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmhrnet.errors import plural
from mmhrnet.terminal import CONSOLE
from mmhrnet.training.launch import is_sharded
from mmhrnet.walk import datasets, dicts


class SummaryHook(Hook):
    """Prints the summary when everything is built.

    Args:
        config: The config as the user named it.
        train: Whether the runner trains; else it tests.
    """

    priority = 'LOWEST'

    def __init__(self, config: str, *, train: bool) -> None:
        self.config, self.train = config, train

    @master_only
    def before_run(self, runner: Runner) -> None:
        if not self.train:
            data = _data(runner.cfg, 'test_dataloader', runner.test_dataloader)
            self._print(runner, data, weights=runner.cfg.load_from)
            return
        data = _data(runner.cfg, 'train_dataloader', runner.train_dataloader)
        if runner.val_loop is not None:
            data += f'; {len(runner.val_dataloader.dataset)} for validation'
        self._print(runner, data, schedule=_schedule(runner))

    def _print(self, runner: Runner, data: str, **course: str) -> None:
        lines = {
            'config': self.config,
            'model': _model(runner),
            'data': data,
            'device': _device(runner),
            **course,
            'work folder': f'{runner.work_dir}, log {runner.logger.log_file}',
        }
        for name, value in lines.items():
            CONSOLE.print(f'{name:11}  {value}')


def _model(runner: Runner) -> str:
    cfg = runner.cfg.model
    parts = [cfg.type]
    backbone = next(dicts(cfg.get('backbone')), None)
    if backbone:
        arch = backbone.get('arch')
        parts.append(f'{backbone.type} {arch}' if isinstance(arch, str) else backbone.type)
    if not is_sharded(runner.cfg):  # else each process has a share of the parameters
        parts.append(f'{sum(p.numel() for p in runner.model.parameters()) / 1e6:.1f} M parameters')
    return ', '.join(map(str, parts))


def _data(cfg: Config, name: str, loader: DataLoader) -> str:
    """Kind, size and place of a data set; of those that wrap others, the place of the first."""
    kind, batch = type(loader.dataset).__name__, cfg[name].get('batch_size', 1)
    first = next(datasets(cfg, (name,)), ConfigDict())
    place = first.get('data_root') or first.get('ann_file')
    size = plural(len(loader.dataset), 'sample')  # type: ignore[arg-type]
    return f'{kind}, {size}{f" in {place}" if place else ""}, {batch} a batch'


def _device(runner: Runner) -> str:
    weight = next(runner.model.parameters())
    device = weight.device
    name = f'cpu, threads: {torch.get_num_threads()}'
    if device.type == 'cuda':
        name = f'{device}, {torch.cuda.get_device_name(device)}'
    count = get_world_size()
    processes = f'{count} processes, the first on ' if count > 1 else ''
    kind = runner.cfg.get('optim_wrapper', {}).get('type', '')
    mixed = ', mixed precision' if 'Amp' in str(kind) else ''
    return f'{processes}{name}, {str(weight.dtype).removeprefix("torch.")}{mixed}'


def _schedule(runner: Runner) -> str:
    loop = runner.train_loop
    by_epoch = 'IterBased' not in type(loop).__name__
    unit, end = ('epoch', loop.max_epochs) if by_epoch else ('iteration', loop.max_iters)
    text = plural(end, unit)
    if runner.val_loop is not None:
        text += f', validation every {loop.val_interval}'
    if isinstance(runner.optim_wrapper, OptimWrapper):  # else there are several
        optimizer = runner.optim_wrapper.optimizer
        group = optimizer.param_groups[0]
        rate = group.get('initial_lr', group['lr'])  # before a warmup makes it smaller
        text += f', {type(optimizer).__name__} with learning rate {rate:g}'
    return text
