"""From a config file and arguments to the config that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmhrnet.config.check import check_old_keys, merge_options
from mmhrnet.config.edit import set_work_dir, use_data_root, use_scratch, use_visualizer
from mmhrnet.config.load import load_config
from mmhrnet.config.mini import fit_schedule, use_mini
from mmhrnet.config.processes import is_first
from mmhrnet.config.swap import replace
from mmhrnet.errors import ConfigError
from mmhrnet.files import beside

SUFFIXES = ('.py', '.json', '.yml')


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


def print_config(config: str | Path, *, save_path: str | None = None, **shared: Any) -> None:
    """Prints what :func:`make_config` makes, and writes it to a file that reads the same.

    Raises:
        ConfigError: Another suffix, or a config that its text does not hold.
    """
    if save_path and Path(save_path).suffix not in SUFFIXES:
        raise ConfigError(f'--save-path {save_path} must end in {", ".join(SUFFIXES)}')
    cfg = make_config(config, **shared)
    print(cfg.pretty_text)
    if save_path:
        _save(cfg, save_path)


def _save(cfg: Config, path: str) -> None:
    with beside(path) as temporary:
        cfg.dump(temporary)
        if temporary.suffix == '.py' and Config.fromfile(temporary).to_dict() != cfg.to_dict():
            raise ConfigError(f'{path} would read as another config: save it as .json')
