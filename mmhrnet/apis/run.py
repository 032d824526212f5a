"""Training and testing with MMEngine's runner, and what a run leaves behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmhrnet.analysis import (
    LogError,
    best_values,
    draw_predictions,
    other_data,
    plot_curves,
    read_scalars,
    result_table,
)
from mmhrnet.apis.checks import (
    check_data,
    check_old_keys,
    check_weights,
    config_errors,
    merge_options,
)
from mmhrnet.apis.config import (
    ConfigError,
    load_config,
    set_training,
    set_work_dir,
    use_data_root,
    use_scratch,
    use_train_split,
    use_visualizer,
)
from mmhrnet.apis.launch import is_first, is_sharded, start_processes
from mmhrnet.apis.log_files import guard_logs
from mmhrnet.apis.mini import fit_schedule, use_mini
from mmhrnet.apis.swap import replace
from mmhrnet.apis.weights import check_complete, find_weights
from mmhrnet.checkpoints import CheckpointError
from mmhrnet.files import check_folder
from mmhrnet.hooks.errors import TrainingError
from mmhrnet.terminal import CONSOLE, last_line

HOOKS = (
    'BroadcastBuffersHook',
    'ExactResumeHook',
    'MissedEvaluationHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeCheckHook',
)
RUNS = count(1)
BEST_METRICS = {'mmseg': 'mIoU', 'mmpretrain': 'accuracy/top1'}  # elsewhere the first is the one


def make_config(
    config: str | Path,
    *,
    work_dir: str | None = None,
    data_root: str | None = None,
    swap: bool = False,
    mini: bool = False,
    from_scratch: bool = False,
    cfg_options: dict[str, Any] | None = None,
    launcher: str = 'none',
) -> Config:
    """Reads a config and applies the arguments that training and testing share.

    Raises:
        ConfigError: No such config, no such data root, nothing to ``swap``, or a config that
            ``mini`` does not take.
    """
    cfg = load_config(config)
    replaced = replace(cfg) if swap else []
    if mini:
        use_mini(cfg, data_root)
    else:
        if from_scratch:
            use_scratch(cfg)
        if data_root:
            use_data_root(cfg, data_root)
    merge_options(cfg, cfg_options)
    check_old_keys(cfg)
    use_visualizer(cfg)
    if mini:
        fit_schedule(cfg)
    cfg.launcher = launcher
    if replaced and is_first(cfg):
        print(*replaced, sep='\n', file=sys.stderr)
    set_work_dir(cfg, work_dir)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner of the config: MMEngine's, or the one that ``runner_type`` names.

    Raises:
        ConfigError: A type or argument that is unknown, or a model that cannot be.
    """
    _name_anew(cfg)
    with config_errors():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    guard_logs(runner)
    return runner


def _name_anew(cfg: Config) -> None:
    """MMEngine keeps loggers and visualizers by name, with the folders of the runs before."""
    number, visualizer = next(RUNS), cfg.get('visualizer')
    if number > 1:
        name = cfg.get('experiment_name') or Path(cfg.filename or 'run').stem
        cfg.experiment_name = f'{name}_{number}'
    if not isinstance(visualizer, dict) or 'name' not in visualizer:
        return
    kinds = [Visualizer]
    for kind in kinds:
        kinds += kind.__subclasses__()
    if any(kind.check_instance_created(visualizer['name']) for kind in kinds):
        visualizer['name'] += f'_{number}'


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
        ConfigError: Arguments, data or weights that cannot work, a loss that is not finite, a full
            disk, no intact checkpoint to resume.
        WriteError: A work folder that cannot be written.
        SystemExit: SIGTERM, SIGINT or SIGUSR1 ended it, with 128 + the signal.
    """
    cfg = make_config(config, **shared)
    set_training(cfg, resume=resume, amp=amp, auto_scale_lr=auto_scale_lr, no_validate=no_validate)
    if is_first(cfg):  # of this machine; the others wait for it where they connect
        check_data(cfg)
        check_folder(cfg.work_dir)
        check_weights(cfg)
    start_processes(cfg)
    if cfg.get('val_evaluator') is not None:
        hooks = cfg.setdefault('default_hooks', {})
        best = BEST_METRICS.get(cfg.get('default_scope'), 'auto')
        hooks.setdefault('checkpoint', dict(type='CheckpointHook')).setdefault('save_best', best)
        if cfg.train_cfg.get('type') == 'IterBasedTrainLoop':  # else MMEngine logs them at step 0
            hooks.setdefault('logger', dict(type='LoggerHook')).log_metric_by_epoch = False
    use_hooks(cfg)
    runner = build_runner(cfg)
    try:
        with config_errors():  # data, optimizer and metrics are built now
            runner.train()
    except (TrainingError, CheckpointError) as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(
            f'The training stopped: {last_line(error)}. The checkpoints in {runner.work_dir} are '
            'whole, and --resume goes on from there'
        ) from error
    finally:
        runner.call_hook('restore_signals')
    if is_main_process():
        _report_or_say(runner, Path(config).stem, same_data=not shared.get('mini'))


def use_hooks(cfg: Config) -> None:
    """Adds the hooks with which a training loses nothing, but those that the config names."""
    custom = cfg.get('custom_hooks') or []
    named = {_short_name(hook) for hook in custom}
    missing = [dict(type=f'mmhrnet.{name}') for name in HOOKS if name not in named]
    cfg.custom_hooks = [*custom, *missing]
    hooks = cfg.setdefault('default_hooks', {})
    checkpoint = hooks.setdefault('checkpoint', dict(type='CheckpointHook', interval=1))
    if 'AtomicCheckpointHook' in named:
        hooks.checkpoint = None
    elif checkpoint is not None and _short_name(checkpoint) == 'CheckpointHook':
        checkpoint.type = 'mmhrnet.AtomicCheckpointHook'


def _short_name(hook: Mapping[str, Any]) -> str:
    kind = hook['type']
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def test(
    config: str | Path,
    checkpoint: str | Path,
    *,
    split: str = 'test',
    show_dir: str | None = None,
    **shared: Any,
) -> dict[str, float]:
    """Evaluates a checkpoint, prints its metrics beside the published figures and returns them.

    Args:
        config: Config file of any host.
        checkpoint: Checkpoint file or URL.
        split: 'test', or 'train' for the training data through the test's pipeline.
        show_dir: Folder for pictures of predictions.
        shared: Arguments of :func:`make_config`.

    Raises:
        ConfigError: Arguments or data that cannot work.
        WriteError: A folder that cannot be written.
    """
    runner = build_test_runner(config, checkpoint, split=split, **shared)
    if show_dir and is_main_process():
        check_folder(show_dir)
    with config_errors():  # data and metrics are built now
        metrics = runner.test()
    if is_main_process():
        name, same_data = Path(config).stem, split == 'test' and not shared.get('mini')
        other = other_data(name, count_images(runner.test_dataloader.dataset), same_data)
        CONSOLE.print(result_table({'measured': metrics}, name, other))
        if show_dir:
            pictures = draw_predictions(runner, runner.test_dataloader, show_dir)
            _print_files({'predictions': pictures})
    return metrics


def build_test_runner(
    config: str | Path, checkpoint: str | Path | None, *, split: str = 'test', **shared: Any
) -> Runner:
    """The runner that :func:`test` evaluates with; without a checkpoint, the published weights."""
    cfg = make_config(config, **shared)
    cfg.load_from = find_weights(config, checkpoint)
    if split == 'train':
        use_train_split(cfg)
    if is_first(cfg):
        check_data(cfg, loaders=('test_dataloader',))
        check_folder(cfg.work_dir)
    start_processes(cfg)
    runner = build_runner(cfg)
    check_complete(runner.model, cfg.load_from)
    return runner


def count_images(dataset: Any) -> int:
    """Number of distinct images of a data set; of its samples where they are of no files."""
    if getattr(dataset, 'bbox_file', None):  # a detector may find no person in some images
        return len(json.loads(Path(dataset.ann_file).read_text(encoding='utf-8'))['images'])
    try:
        return len({dataset.get_data_info(index)['img_path'] for index in range(len(dataset))})
    except (AttributeError, KeyError):
        return len(dataset)


def _report_or_say(runner: Runner, name: str, same_data: bool) -> None:
    try:
        report(runner, name, same_data)
    except (OSError, LogError, CheckpointError) as error:
        work_dir = runner.work_dir
        raise ConfigError(
            f'The training is complete, and its checkpoints are in {work_dir}. Curves or pictures '
            f'are missing: {last_line(error)}. tools/analyze_logs.py draws the curves later on, '
            'and tools/test.py with --show-dir the pictures'
        ) from error


def report(runner: Runner, name: str, same_data: bool) -> None:
    """Curves, pictures of the best checkpoint, and the metrics beside the published figures."""
    work_dir = Path(runner.work_dir)
    scalars = read_scalars(work_dir)
    bests = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    files: dict[str, Any] = {'logs': runner.log_dir}
    values = best_values(scalars)
    if bests and values:
        other = other_data(name, count_images(runner.val_dataloader.dataset), same_data)
        CONSOLE.print(result_table(values, name, other))
    if scalars:  # else the config has no backend that keeps them
        files['curves'] = plot_curves(scalars, work_dir / 'curves.png')
    if bests:
        files['best checkpoint'] = bests[-1]
    if bests and not is_sharded(runner.cfg):  # that would take all processes
        runner.load_checkpoint(str(bests[-1]))
        files['predictions'] = draw_predictions(
            runner, runner.val_dataloader, work_dir / 'predictions'
        )
    _print_files(files)


def _print_files(files: Mapping[str, Any]) -> None:
    for name, path in files.items():
        CONSOLE.print(f'{name}: {path}')
