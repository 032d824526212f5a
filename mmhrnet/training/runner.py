"""MMEngine's runner of a config, several times in a process if need be."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmhrnet.config.check import config_errors
from mmhrnet.training.log_files import guard_logs

RUNS = count(1)


def build_runner(cfg: Config) -> Runner:
    """The runner of the config: MMEngine's, or the one that ``runner_type`` names.

    Raises:
        ConfigError: A type or an argument is unknown, or the model cannot be built.
    """
    _name_anew(cfg)
    with config_errors():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    guard_logs(runner)
    return runner


def _name_anew(cfg: Config) -> None:
    """MMEngine keeps loggers and visualizers by name, with the folders of earlier runs."""
    number = next(RUNS)
    if number == 1:
        return
    name = cfg.get('experiment_name') or Path(cfg.filename or 'run').stem
    cfg.experiment_name = f'{name}.run{number}'
    if isinstance(cfg.get('visualizer'), dict):
        cfg.visualizer.pop('name', None)  # MMEngine then takes the experiment's
