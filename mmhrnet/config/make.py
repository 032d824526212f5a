"""From a config file and arguments to the config that runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from typing_extensions import TypedDict, Unpack

from mmhrnet.config.check import check_old_keys, merge_options, warn_of_misspelt_keys
from mmhrnet.config.edit import set_work_dir, use_data_root, use_scratch, use_visualizer
from mmhrnet.config.load import load_config
from mmhrnet.config.mini import fit_schedule, use_mini
from mmhrnet.config.processes import Launcher, is_first
from mmhrnet.config.swap import replace
from mmhrnet.errors import ConfigError
from mmhrnet.files import beside

SUFFIXES = ('.py', '.json', '.yml')


class Edits(TypedDict, total=False):
    """The arguments of :func:`make_config`, for functions that pass them on."""

    work_dir: str | None
    data_root: str | None
    swap: bool
    mini: bool
    from_scratch: bool
    cfg_options: Mapping[str, object] | None
    launcher: Launcher


def make_config(
    config: str | Path | Config,
    *,
    work_dir: str | None = None,
    data_root: str | None = None,
    swap: bool = False,
    mini: bool = False,
    from_scratch: bool = False,
    cfg_options: Mapping[str, object] | None = None,
    launcher: Launcher = 'none',
) -> Config:
    """Reads a config, unless it is given, and applies the arguments of training and testing.

    Raises:
        ConfigError: The config or data root does not exist, there is nothing to ``swap``, or
            ``mini`` does not support the config.
    """
    cfg = config if isinstance(config, Config) else load_config(config)
    replaced = replace(cfg) if swap else []
    if mini:
        use_mini(cfg, data_root)
    else:
        if from_scratch:
            use_scratch(cfg)
        if data_root:
            use_data_root(cfg, data_root)
    warn_of_misspelt_keys(cfg)
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


def print_config(
    config: str | Path, *, save_path: str | None = None, **edits: Unpack[Edits]
) -> None:
    """Prints the config that :func:`make_config` makes, and writes it to a file if asked to.

    Raises:
        ConfigError: The suffix is unknown, or the file would read as another config.
    """
    if save_path and Path(save_path).suffix not in SUFFIXES:
        raise ConfigError(f'--save-path {save_path} must end in {", ".join(SUFFIXES)}')
    cfg = make_config(config, **edits)
    print(cfg.pretty_text)
    if save_path:
        _save(cfg, save_path)


def _save(cfg: Config, path: str) -> None:
    with beside(path) as temporary:
        cfg.dump(temporary)
        if temporary.suffix == '.py' and Config.fromfile(temporary).to_dict() != cfg.to_dict():
            raise ConfigError(f'{path} would read as another config: save it as .json')
