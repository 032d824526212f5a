"""Checks of the keypoints that a pose config names: their lists, and the head that finds them."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

from mmhrnet.errors import ConfigError
from mmhrnet.models.checks import suggest
from mmhrnet.walk import dicts

COUNTS = ('out_channels', 'num_joints', 'num_keypoints')  # how heads call the number of keypoints
PARTS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')
COMBINED = 3  # maps of a keypoint in UDP's combined targets


def check_skeleton(cfg: Config, dataset: ConfigDict, host: type) -> tuple[str, ...]:
    """Names of the keypoints.

    Args:
        cfg: The config.
        dataset: A data set of it.
        host: The class of the data set.

    Raises:
        ConfigError: Lists of metainfo or the head have another length than there are keypoints.
    """
    given = dataset.get('metainfo')
    where = 'metainfo' if given is not None else f'METAINFO of {dataset.type}'
    parsed = _parse(where, given, host)
    names = list(parsed['keypoint_id2name'].values())
    count = len(names)
    if list(parsed['keypoint_id2name']) != list(range(count)):
        raise ConfigError(f'{where}: the keys of keypoint_info must be 0 to {count - 1}, in order')
    for key, part in (('joint_weights', 'dataset_keypoint_weights'), ('sigmas', 'sigmas')):
        found = parsed[part]
        if len(found) != count:
            raise ConfigError(
                f'{where}: {key} has {len(found)} numbers and keypoint_info {count} keypoints: '
                'give one to each'
            )
    flips = parsed['flip_indices']
    for index, other in enumerate(flips):
        if flips[other] != index:
            raise ConfigError(
                f'{where}: the swap of {names[index]!r} is {names[other]!r}, whose own is '
                f'{names[flips[other]]!r}: a pair names each other'
            )
    _check_head(cfg, dataset, where, count)
    return tuple(names)


def _parse(where: str, given: Any, host: Any) -> dict[str, Any]:
    """What the host makes of it, which it does without words for what is wrong."""
    inline = isinstance(given, dict) and 'from_file' not in given
    missing = [key for key in PARTS if key not in given] if inline else []
    if missing:
        raise ConfigError(f'{where} lacks {", ".join(missing)}: it takes {", ".join(PARTS)}')
    try:
        return host._load_metainfo(given)
    except KeyError as error:
        name = error.args[0]
        info = given.get('keypoint_info', {}) if inline else {}
        hint = suggest(name, [str(part.get('name')) for part in dicts(list(info.values()))])
        raise ConfigError(
            f'{where}: {name!r} is no keypoint: {hint}A swap and the ends of a link are names in '
            'keypoint_info'
        ) from error
    except (AssertionError, AttributeError, IndexError, OSError, TypeError, ValueError) as error:
        reason = str(error) or f'it takes {", ".join(PARTS)}'
        raise ConfigError(f'{where} is no description of keypoints: {reason}') from error


def _check_head(cfg: Config, dataset: ConfigDict, where: str, count: int) -> None:
    head = next(dicts(cfg.model.get('head')), ConfigDict())
    converted = any(
        step.get('type') == 'KeypointConverter' for step in dicts(dataset.get('pipeline'))
    )
    key = next((key for key in COUNTS if isinstance(head.get(key), int)), None)
    if key is None or converted:
        return
    combined = any(part.get('heatmap_type') == 'combined' for part in dicts(head))
    if head[key] != count * (COMBINED if combined else 1):
        raise ConfigError(
            f'model.head has {key}={head[key]}, {where} {count} keypoints: set {key}='
            f'{count * (COMBINED if combined else 1)}, or in every data set metainfo of the '
            f'keypoints that the files have, with {", ".join(PARTS)}'
        )
