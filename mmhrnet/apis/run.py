"""Training and testing with MMEngine's runner, and what a run leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from rich.console import Console
from torch.utils.data import DataLoader

from mmhrnet.analysis import best_values, draw_predictions, plot_curves, read_scalars, result_table
from mmhrnet.apis.checks import check_data, check_weights
from mmhrnet.apis.config import (
    ConfigError,
    load_config,
    set_training,
    set_work_dir,
    use_data_root,
    use_scratch,
)
from mmhrnet.apis.mini import use_mini

CONSOLE = Console()


def make_config(
    config: str | Path,
    *,
    work_dir: str | None = None,
    data_root: str | None = None,
    mini: bool = False,
    from_scratch: bool = False,
    cfg_options: dict[str, Any] | None = None,
    launcher: str = 'none',
) -> Config:
    """Reads a config and applies the arguments that training and testing share.

    Raises:
        ConfigError: No such config, no such data root, or arguments that exclude each other.
    """
    if mini and data_root:
        raise ConfigError('--mini brings its own data set: leave out --data-root')
    cfg = load_config(config)
    if mini:
        use_mini(cfg)
    elif from_scratch:
        use_scratch(cfg)
    if data_root:
        use_data_root(cfg, data_root)
    cfg.merge_from_dict(cfg_options or {})
    cfg.launcher = launcher
    set_work_dir(cfg, work_dir)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner of the config: MMEngine's, or the one that ``runner_type`` names."""
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def train(
    config: str | Path,
    *,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    no_validate: bool = False,
    **shared: Any,
) -> None:
    """Trains; leaves logs, curves, pictures and the best checkpoint in the work folder.

    Args:
        config: Config file of any host.
        resume: Checkpoint to go on from, or 'auto' for the latest of the work folder.
        amp: Automatic mixed precision.
        auto_scale_lr: Scale the learning rate to the batch size.
        no_validate: Do not evaluate.
        shared: Arguments of :func:`make_config`.

    Raises:
        ConfigError: Arguments, data or weights that cannot work.
    """
    cfg = make_config(config, **shared)
    set_training(cfg, resume=resume, amp=amp, auto_scale_lr=auto_scale_lr, no_validate=no_validate)
    check_data(cfg)
    check_weights(cfg)
    if cfg.get('val_evaluator') is not None:
        hooks = cfg.setdefault('default_hooks', {})
        hooks.setdefault('checkpoint', dict(type='CheckpointHook')).setdefault('save_best', 'auto')
        if cfg.train_cfg.get('type') == 'IterBasedTrainLoop':  # else MMEngine logs them at step 0
            hooks.setdefault('logger', dict(type='LoggerHook')).log_metric_by_epoch = False
    runner = build_runner(cfg)
    runner.train()
    if is_main_process():
        report(runner, Path(config).stem)


def test(
    config: str | Path, checkpoint: str | Path, *, show_dir: str | None = None, **shared: Any
) -> dict[str, float]:
    """Evaluates a checkpoint, prints its metrics beside the published figures and returns them.

    Raises:
        ConfigError: Arguments or data that cannot work.
    """
    cfg = make_config(config, **shared)
    if not Path(checkpoint).is_file():
        raise ConfigError(f'There is no checkpoint {checkpoint}')
    cfg.load_from = str(checkpoint)
    check_data(cfg, loaders=('test_dataloader',))
    runner = build_runner(cfg)
    metrics = runner.test()
    if is_main_process():
        CONSOLE.print(result_table({'measured': metrics}, Path(config).stem))
        if show_dir:
            _print_files(draw(runner, runner.test_dataloader, show_dir))
    return metrics


def report(runner: Runner, name: str) -> None:
    """Curves, pictures of the best checkpoint, and the metrics beside the published figures."""
    work_dir = Path(runner.work_dir)
    scalars = read_scalars(work_dir)
    files = {'logs': runner.log_dir, 'curves': plot_curves(scalars, work_dir / 'curves.png')}
    bests = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if bests:
        runner.load_checkpoint(str(bests[-1]))
        files['best checkpoint'] = bests[-1]
        CONSOLE.print(result_table(best_values(scalars), name))
        files |= draw(runner, runner.val_dataloader, work_dir / 'predictions')
    _print_files(files)


def draw(runner: Runner, loader: DataLoader, out_dir: str | Path) -> dict[str, Path]:
    """Pictures of predictions, where the task is detection: ``{'predictions': folder}``."""
    if runner.cfg.get('default_scope') != 'mmdet':
        return {}
    return {'predictions': draw_predictions(runner, loader, out_dir)}


def _print_files(files: Mapping[str, Any]) -> None:
    for name, path in files.items():
        CONSOLE.print(f'{name}: {path}', soft_wrap=True, highlight=False)
