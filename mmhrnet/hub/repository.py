"""Networks that repositories of the Hugging Face Hub describe in ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mmhrnet.checkpoints.fetching import FetchError, ask_hub
from mmhrnet.checkpoints.places import on_hub
from mmhrnet.download import DownloadError
from mmhrnet.errors import ConfigError, UserError
from mmhrnet.hub.names import Name, parse_name
from mmhrnet.models.archs import extra_switches
from mmhrnet.models.on_hub import INPUT, KIND, arguments_in, as_tuples, check_config, dtype_in

FILE = 'config.json'
OF_THE_NETWORK = {'arch', 'extra', 'multiscale_output'}  # which its name says


class Stored(NamedTuple):
    """What a repository says of its network.

    Attributes:
        name: What it is.
        options: Arguments of ``create_model``.
        default_cfg: How its input was prepared, as timm says it.
        dtype: The type of its numbers.
    """

    name: Name
    options: dict[str, Any]
    default_cfg: dict[str, Any]
    dtype: torch.dtype = torch.float32


def read_stored(url: str) -> Stored:
    """The network of ``hf://user/model[@revision]``: one of ours, or one of timm's.

    Raises:
        FetchError: There is no such repository, or no answer.
        ConfigError: It says nothing of its network, or nothing that we know.
    """
    repository, revision, _ = on_hub(url)
    try:
        text = ask_hub(repository, revision, FILE).read_text(encoding='utf-8')
        config = check_config(json.loads(text))
    except (DownloadError, ValueError) as error:
        raise _explain(url, error) from error
    prepared = as_tuples(config.get(INPUT) or config.get('pretrained_cfg') or {})
    name, options = _ours(config, url) if KIND in config else _of_timm(config, url)
    return Stored(name, options, prepared, dtype_in(config))


def _explain(url: str, error: Exception) -> UserError:
    """What is wrong: no answer, a repository without this file, or the file itself."""
    from huggingface_hub.errors import EntryNotFoundError

    cause = error.__cause__
    absent = isinstance(cause, EntryNotFoundError) and not isinstance(cause, FileNotFoundError)
    if isinstance(error, DownloadError) and not absent:
        return FetchError(f'{url} cannot be fetched: {error}')
    return ConfigError(
        f'{url} does not say what its network is ({FILE}: {"absent" if absent else error}): name '
        f"it, as in create_model('hrnet_w32', checkpoint='{url}')"
    )


def _ours(config: Mapping[str, Any], url: str) -> tuple[Name, dict[str, Any]]:
    given = arguments_in(config)
    kind, backbone = config[KIND], given.pop('backbone', {})
    if kind == 'Classifier':
        return _network('hrnet', backbone, given)
    if kind == 'Representation':
        return _network(given.get('kind', ''), backbone, {})
    if kind == 'Features':
        return _network('hrnet', given, {'features_only': True})
    if kind == 'HRNet' and not _has_several(given):
        return _network('hrnetv1', given, {})
    if kind == 'HRNet':
        return _network('hrnet', given, {'features_only': True})
    raise ConfigError(f'{url} is a {kind}, which mmhrnet does not know')


def _network(
    kind: str, backbone: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Name, dict[str, Any]]:
    arch = backbone.get('extra') or backbone.get('arch', 'w32')
    others = {key: value for key, value in backbone.items() if key not in OF_THE_NETWORK}
    return Name(kind, arch), {**others, **options}


def _has_several(backbone: Mapping[str, Any]) -> bool:
    given = backbone.get('multiscale_output')
    inside = extra_switches(backbone.get('extra') or backbone.get('arch'))
    return inside.get('multiscale_output', True) if given is None else given


def _of_timm(config: Mapping[str, Any], url: str) -> tuple[Name, dict[str, Any]]:
    try:
        kind, arch, _ = parse_name(str(config.get('architecture')))
    except ConfigError as error:
        raise ConfigError(f'{url} is no network of mmhrnet or timm: {error}') from error
    classes = config.get('num_classes')
    return Name(kind, arch), {} if classes is None else {'num_classes': classes}
