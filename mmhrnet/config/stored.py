"""The config that a checkpoint contains: taken where none is given, compared where one is."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from mmengine.config import Config, ConfigDict
from typing_extensions import Unpack

from mmhrnet.checkpoints import CheckpointError, config_of, read_ahead, settings_of
from mmhrnet.checkpoints.fetching import fetch
from mmhrnet.checkpoints.places import HUB, on_hub
from mmhrnet.config.build import find_input_size
from mmhrnet.config.make import Edits, make_config
from mmhrnet.config.settings import take_settings
from mmhrnet.config.weights import loading
from mmhrnet.doctor import find_missing
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import find_host, known_hosts
from mmhrnet.walk import dicts, heads, type_name

LOGGER = logging.getLogger(__name__)
SERVERS = ('http://', 'https://')
SUFFIXES = ('.pth', '.pt', '.safetensors')
# MMEngine's name of a run: that of its config, ours of a later run in a process, and the time.
RUN = re.compile(r'([\w.-]+?)(?:\.run\d+)?_\d{8}_\d{6}')
HASH = re.compile(r'-[0-9a-f]{8}$')  # at the end of the names of published files
SIZES = {'input size', 'heatmaps'}  # facts that an option with such a name may change
SIZE_OPTIONS = ('pipeline', 'crop_size', 'input_size', 'heatmap_size', 'scale')
FIX = (
    'Leave the config out: the checkpoint contains its own. Or give the config that its training '
    'left in its work folder'
)


def make_config_for(
    config: str | Path | None,
    checkpoint: str | Path | None,
    *,
    with_data: bool = False,
    **edits: Unpack[Edits],
) -> tuple[Config, str | Path | None]:
    """Makes the config of a checkpoint with the arguments of :func:`make_config`.

    Args:
        config: Config file, which must agree with the config in the checkpoint if it contains one.
            None, or a checkpoint in this place, takes the one in the checkpoint.
        checkpoint: Checkpoint file, URL or ``hf://user/model``; None if there is a config.
        with_data: Take the data set and the metric of the test out of the checkpoint, too.
        edits: Arguments of :func:`make_config`.

    Returns:
        The config, whose file name is that of its training, and the checkpoint, which is a file
        where its config was taken or compared.

    Raises:
        ConfigError: Neither is given, the checkpoint cannot be read or contains no config, or the
            two configs differ in what decides the predictions.
    """
    if config and not checkpoint and is_checkpoint(config):
        config, checkpoint = None, config
    given = str(checkpoint)
    if given.startswith(HUB) or (given.startswith(SERVERS) and not config):
        with loading(given):
            checkpoint = fetch(given).path
    if config:
        cfg = make_config(config, **edits)
        if checkpoint and Path(checkpoint).is_file():
            check_match(cfg, _read(checkpoint), checkpoint, edits.get('cfg_options'))
        if checkpoint:
            take_settings(cfg, checkpoint, edits.get('cfg_options'))
    elif checkpoint:
        cfg = make_config(_stored(Path(checkpoint), _stem(given), with_data), **edits)
    else:
        raise ConfigError('There is no config: give one, or a checkpoint that contains its own')
    return cfg, checkpoint


def is_checkpoint(path: str | Path) -> bool:
    """Whether the name is that of a checkpoint, not of a config."""
    return str(path).startswith(HUB) or Path(path).suffix in SUFFIXES


def _stem(checkpoint: str) -> str:
    """The name of a file without suffix, or of a repository, whose file has none of its own."""
    return Path(on_hub(checkpoint)[0]).name if checkpoint.startswith(HUB) else Path(checkpoint).stem


def _read(checkpoint: str | Path) -> object:
    with loading(str(checkpoint)):
        return read_ahead(checkpoint)


def _stored(path: Path, stem: str, with_data: bool) -> Config:
    if not path.is_file():
        raise ConfigError(f'There is no checkpoint {path}')
    content = _read(path)
    try:
        _import_hosts(settings_of(content))
        settings = config_of(content, with_data=with_data)
    except CheckpointError as error:
        raise ConfigError(f'{path}: {error}') from error
    cfg = Config(settings, repr(settings), f'{_name(content, stem)}.py')
    host = find_host(cfg)
    kind = settings.get('dataset_type')
    if with_data and (host is None or kind not in host.data):
        raise ConfigError(
            f'{path} was tested on data of the type {kind}, which are not opened because a '
            'checkpoint says so: give the config of its training'
        )
    return cfg


def _import_hosts(settings: Mapping[str, object]) -> None:
    """Imports the hosts that a config names, so that their types are known."""
    parts = dicts([dict(settings)])
    named = [part.get(key) for part in parts for key in ('default_scope', '_scope_', 'type')]
    names = {name.partition('.')[0] for name in named if isinstance(name, str)}
    for name in names & known_hosts().keys():
        missing = find_missing([name])
        if missing:
            raise ConfigError(f'The model cannot be built: {missing}')
        import_module(f'{name}.registry')


def _name(content: object, stem: str) -> str:
    """The name of the config of a training, without suffix; of a published file, its own name."""
    meta = content.get('meta') if isinstance(content, dict) else None
    run = meta.get('experiment_name') if isinstance(meta, dict) else None
    found = RUN.fullmatch(run) if isinstance(run, str) else None
    return found[1] if found else HASH.sub('', stem)


def check_match(
    cfg: Config,
    content: object,
    checkpoint: str | Path | None,
    options: Mapping[str, object] | None = None,
) -> None:
    """Compares a config with the one in a checkpoint, if there is one.

    An input size that the options of the command line ask for, or at which the model may rightly
    be tested, is only a warning.

    Raises:
        ConfigError: They differ in what decides the predictions.
    """
    try:
        trained = ConfigDict(settings_of(content))
    except CheckpointError:
        return
    host = find_host(cfg)
    if host is None or not isinstance(trained.get('model'), dict):
        return
    trained.default_scope = str(trained.get('default_scope') or cfg.default_scope)
    lines = _differences(_facts(cfg), _facts(trained))
    message = f'The config is not that of {checkpoint}: {"; ".join(lines.values())}.'
    asked = any(part in key for key in options or {} for part in SIZE_OPTIONS)
    if lines.keys() - SIZES or (lines and host.fixed_size(cfg) and not asked):
        raise ConfigError(f'{message} {FIX}')
    if lines:
        LOGGER.warning('%s The predictions may be worse', message)


def _differences(own: Mapping[str, str], trained: Mapping[str, str]) -> dict[str, str]:
    """A text for each fact that both configs state differently; if it is the host, no other."""
    shared = [name for name in own if name in trained and own[name] != trained[name]]
    names = shared[:1] if 'host library' in shared else shared
    return {name: f'{name} {own[name]}, not {trained[name]}' for name in names}


def _facts(cfg: Config | ConfigDict) -> dict[str, str]:
    """What decides the predictions, by name; what a config leaves open is left out."""
    parts = list(heads(cfg['model']))
    codecs = [head.decoder for head in parts if isinstance(head.get('decoder'), dict)]
    size = find_input_size(cfg)
    facts = {
        'host library': _values([cfg.get('default_scope')]),
        'head': _values(type_name(head.get('type')) for head in parts),
        'number of classes': _values(head.get('num_classes') for head in parts),
        'number of joints': _values(h.get('out_channels') for h in parts if 'decoder' in h),
        'codec': _values(type_name(codec.get('type')) for codec in codecs),
        'input size': _sides(size),
        'heatmaps': _values(_sides(codec.get('heatmap_size'), -1) for codec in codecs),
    }
    return {name: value for name, value in facts.items() if value}


def _sides(size: object, step: int = 1) -> str:
    """Height x width; with -1 of (width, height)."""
    return ' x '.join(map(str, size[::step])) if isinstance(size, (list, tuple)) else ''


def _values(values: Iterable[object]) -> str:
    return ', '.join(sorted({str(value) for value in values if value}))
