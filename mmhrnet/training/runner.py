"""MMEngine's runner of a config, as often as one likes in a process."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmhrnet.config.check import config_errors
from mmhrnet.training.log_files import guard_logs

RUNS = count(1)


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
