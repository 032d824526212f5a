"""Training and testing with MMEngine's runner, and what a run leaves behind."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from typing_extensions import Unpack

from mmhrnet.checkpoints import CheckpointError
from mmhrnet.config.check import check_run, config_errors
from mmhrnet.config.edit import report_classes, set_training
from mmhrnet.config.make import Edits, make_config
from mmhrnet.errors import ConfigError, TrainingError
from mmhrnet.hosts import find_host
from mmhrnet.terminal import last_line
from mmhrnet.training.launch import start_processes
from mmhrnet.training.report import report_or_say
from mmhrnet.training.runner import build_runner
from mmhrnet.training.summary import SummaryHook

HOOKS = (
    'BroadcastBuffersHook',
    'ExactResumeHook',
    'MissedEvaluationHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeCheckHook',
)


def train(
    config: str | Path,
    *,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    no_validate: bool = False,
    **edits: Unpack[Edits],
) -> None:
    """Trains, and leaves logs, curves, pictures and the best checkpoint in the work folder.

    Args:
        config: Config file of any host.
        resume: Checkpoint to go on from, or 'auto' for the latest of the work folder.
        amp: Automatic mixed precision.
        auto_scale_lr: Scale the learning rate to the batch size.
        no_validate: Do not evaluate.
        edits: Arguments of :func:`make_config`.

    Raises:
        ConfigError: Arguments, data or weights cannot work, a loss is not finite, the disk is full,
            or there is no intact checkpoint to resume.
        WriteError: The work folder cannot be written.
        SystemExit: SIGTERM, SIGINT or SIGUSR1 ended it, with 128 + the signal.
    """
    cfg = make_config(config, **edits)
    set_training(cfg, resume=resume, amp=amp, auto_scale_lr=auto_scale_lr, no_validate=no_validate)
    use_hooks(cfg)
    _keep_best(cfg)
    report_classes(cfg)
    check_run(cfg)
    start_processes(cfg)
    runner = _train(cfg, str(config))
    if is_main_process():
        report_or_say(runner, Path(config).stem, same_data=not edits.get('mini'))


def _train(cfg: Config, name: str) -> Runner:
    runner = build_runner(cfg)
    runner.register_hook(SummaryHook(name, train=True))
    try:
        with config_errors():  # data, optimizer and metrics are built now
            runner.train()
    except (TrainingError, CheckpointError) as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(
            f'The training stopped: {last_line(error)}. The checkpoints in {runner.work_dir} are '
            'complete, and --resume continues from there'
        ) from error
    finally:
        runner.call_hook('restore_signals')
    return runner


def _keep_best(cfg: Config) -> None:
    """Keeps the checkpoint with the best of the host's metric, if there is a validation."""
    if cfg.get('val_evaluator') is None:
        return
    hooks, host = cfg.default_hooks, find_host(cfg)
    if hooks.checkpoint is not None:
        hooks.checkpoint.setdefault('save_best', host.best_metric if host else 'auto')
    if cfg.train_cfg.get('type') == 'IterBasedTrainLoop':  # else MMEngine logs them at step 0
        hooks.setdefault('logger', dict(type='LoggerHook')).log_metric_by_epoch = False


def use_hooks(cfg: Config) -> None:
    """Adds the hooks that keep a training safe and resumable, unless the config names them."""
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


def _short_name(hook: ConfigDict) -> str:
    kind = hook['type']
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
