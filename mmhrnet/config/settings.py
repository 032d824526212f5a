"""What published weights were trained with, where it changes their numbers.

The config that the weights are of says it, and ``trained_with`` in their ``weights.yml`` what
differs from it. Any other config of the library that is tested with them takes it from there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict

from mmhrnet.checkpoints.places import known_weights, name_of
from mmhrnet.config.build import normalization
from mmhrnet.config.load import load_config
from mmhrnet.hosts import host_of
from mmhrnet.hub.published import config_file, published_weights
from mmhrnet.walk import dicts, heads, type_name

LOGGER = logging.getLogger(__name__)
COUNTS = ('num_classes', 'num_keypoints', 'num_joints', 'out_channels')  # of heads
CONCATENATION = 'mmhrnet.HRNetV2'  # upsamples bilinearly, whatever the backbone does
CAN_ALIGN = ('mmhrnet.HRNet', CONCATENATION)


class Settings(NamedTuple):
    """What changes the numbers of weights.

    Attributes:
        channels: 'RGB' or 'BGR', their order in the input.
        mean: Subtracted from each channel, whose values are 0 to 255.
        std: Divides each channel after that.
        align_corners: Of every upsampling; None if none of them is bilinear.
        inplace_abn: Whether the norms in the file are InPlaceABN's; loading recognises and converts
            them.
        head: Types of the heads.
        classes: Number of classes or joints of the first head.
        flip_test: Whether the published figure averages each image with its mirror image.
        multi_scale: Whether it averages several sizes of each image.
    """

    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    align_corners: bool | None
    inplace_abn: bool
    head: str
    classes: int | None
    flip_test: bool
    multi_scale: bool = False


def settings_of(cfg: Config) -> Settings:
    """The settings of a config."""
    channels, mean, std = normalization(cfg)
    parts = list(heads(cfg.model))
    counts = [part[key] for part in parts for key in COUNTS if isinstance(part.get(key), int)]
    return Settings(
        channels,
        tuple(mean),
        tuple(std),
        _align_corners(cfg),
        inplace_abn=False,
        head=', '.join(dict.fromkeys(type_name(part.get('type')) for part in parts)),
        classes=counts[0] if counts else None,
        flip_test=any(part.get('flip_test') for part in dicts(cfg.model)),
    )


def _align_corners(cfg: Config) -> bool | None:
    parts = list(dicts(cfg.model))
    given = [part['align_corners'] for part in parts if 'align_corners' in part]
    default = host_of(cfg).network.get('upsample')
    bilinear = cfg.model.get('backbone', {}).get('upsample', default) == 'bilinear'
    concatenates = any(part.get('type') == CONCATENATION for part in parts)
    return any(given) if given or bilinear or concatenates else None


@cache
def settings_of_weights(name: str) -> Settings:
    """The settings of published weights by the name of the file.

    Raises:
        KeyError: They are none.
        ConfigError: The library of their config is not installed.
    """
    weights = published_weights()[name]
    known = known_weights().get(name, {}).get('trained_with', {})
    return settings_of(load_config(config_file(weights.config)))._replace(**known)  # type: ignore[arg-type]


def take_settings(
    cfg: Config, checkpoint: str | Path, options: Mapping[str, object] | None = None
) -> None:
    """Gives a config the normalization and ``align_corners`` of the published weights it is for.

    Each change is a warning. What the options of the command line set remains.

    Args:
        cfg: A config; edited in place. It remains as it is if the weights are not published ones
            of its library.
        checkpoint: Path or URL of the weights; the name of the file counts.
        options: Settings over the config that the user gave.
    """
    name = name_of(str(checkpoint))
    weights = published_weights().get(name)
    if weights is None or config_file(weights.config).parent.name != cfg.get('default_scope'):
        return
    wanted, own = settings_of_weights(name), settings_of(cfg)
    asked = ' '.join(options or ())
    if 'data_preprocessor' not in asked and wanted[:3] != own[:3]:
        _normalize(cfg, wanted, name)
    if 'align_corners' not in asked and wanted.align_corners not in (None, own.align_corners):
        _align(cfg, wanted.align_corners, name)


def _normalize(cfg: Config, wanted: Settings, name: str) -> None:
    parts = [cfg.get('data_preprocessor'), cfg.model.get('data_preprocessor')]
    given = [part for part in parts if part and 'mean' in part]
    for part in given:
        order = 'to_rgb' if 'to_rgb' in part else 'bgr_to_rgb'
        part.update({order: wanted.channels == 'RGB', 'mean': wanted.mean, 'std': wanted.std})
    what = f'{wanted.channels} with the mean {wanted.mean} and the deviation {wanted.std}'
    done = 'the config takes that' if given else 'this config has no data_preprocessor with a mean'
    LOGGER.warning('%s was trained on %s: %s', name, what, done)


def _align(cfg: Config, wanted: bool, name: str) -> None:
    parts = list(_aligned(cfg.model))
    for part in parts:
        part['align_corners'] = wanted
    done = 'the config takes that'
    if not any(part is cfg.model.get('backbone') for part in parts):
        done += f', but not the HRNet of {cfg.default_scope}, which cannot: give --swap'
    LOGGER.warning('%s was trained with align_corners=%s: %s', name, wanted, done)


def _aligned(model: ConfigDict) -> Iterator[ConfigDict]:
    for part in dicts(model):
        if 'align_corners' in part or part.get('type') in CAN_ALIGN:
            yield part
