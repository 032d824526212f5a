"""Reads configs from files, or by the name of an installed one."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from mmhrnet.bridges.mmengine_configs import with_suffix
from mmhrnet.doctor import find_missing
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import find_host, known_hosts
from mmhrnet.walk import dicts

HEADS = {  # of which some configs have a list, with their places
    'decode_head': 'model.decode_head',
    'auxiliary_head': 'model.auxiliary_head',
    'bbox_head': 'model.roi_head.bbox_head',
    'mask_head': 'model.roi_head.mask_head',
}
DICT_FOR_LIST = re.compile(r"(\w+)=.* cannot inherit from base .* of type <class 'list'>")
CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'


def load_config(path: str | Path) -> Config:
    """Reads a config of any host: a file, or the name of an installed one like ``mmdet::NAME``.

    Raises:
        ConfigError: The file does not exist, cannot be read, or has no model.
    """
    file = _installed_config(str(path)) if '::' in str(path) else Path(path)
    if not file.is_file():
        raise ConfigError(f'There is no config {path}; {_close_configs(file)}')
    try:
        cfg = Config.fromfile(file)
    except Exception as error:  # the file is a program, which may raise anything
        reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        over_list = DICT_FOR_LIST.search(reason)
        if over_list and over_list[1] in HEADS:
            raise ConfigError(_explain_list(path, over_list[1])) from error
        hosts = known_hosts().items()
        missing = [n for n, host in hosts if f' {host.distribution} is not inst' in reason]
        reason = find_missing(missing) or reason
        raise ConfigError(f'The config {path} cannot be read: {reason}') from error
    host = find_host(cfg)
    absent = host and find_missing([host.name])
    if absent:
        raise ConfigError(f'The config {path} cannot be built: {absent}')
    if not isinstance(cfg.get('model'), dict):
        raise ConfigError(f"The config {path} has no 'model': set one, or a _base_ that has one")
    for name in HEADS:
        lists = (part[name] for part in dicts(cfg.model) if isinstance(part.get(name), list))
        if any('type' not in head for heads in lists for head in heads):
            raise ConfigError(_explain_list(path, name))
    return cfg


def _explain_list(config: str | Path, name: str) -> str:
    return (
        f'The config {config} changes {HEADS[name]}, which is a list in its _base_: MMEngine '
        'replaces lists, whereas it merges dicts. To keep the other settings of each head, write '
        f'{name}=[dict(head, num_classes=3) for head in _base_.{HEADS[name]}]'
    )


def _installed_config(name: str) -> Path:
    """The file of a config that is named like ``mmhrnet::mmdet/NAME``."""
    library, _, config = name.partition('::')
    spec = find_spec(library) if library.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ConfigError(f'{name} is of the library {library!r}, which is not installed')
    return Path(spec.origin).with_name('.mim') / 'configs' / with_suffix(config)


def _close_configs(file: Path) -> str:
    """The name of a similar config, or where to find the names."""
    own = sorted(CONFIGS.glob('mm*/*.py'))
    close = get_close_matches(file.stem, [path.stem for path in own], n=1, cutoff=0.8)
    names = [f'mmhrnet::{path.parent.name}/{path.stem}' for path in own if path.stem in close]
    return f'did you mean {names[0]}?' if names else '`mmhrnet models` lists the configs of mmhrnet'
