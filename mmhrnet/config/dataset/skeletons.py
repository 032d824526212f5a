"""Checks of the keypoints of a pose config: their lists, and the head that finds them."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from typing_extensions import TypedDict

from mmhrnet.errors import ConfigError, suggest
from mmhrnet.walk import dicts

COUNTS = ('out_channels', 'num_joints', 'num_keypoints')  # heads' names for the number of keypoints
PARTS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')
COMBINED = 3  # maps of a keypoint in UDP's combined targets


class Skeleton(TypedDict):
    """What mmpose makes of a metainfo, as far as it is checked."""

    keypoint_id2name: dict[int, str]
    dataset_keypoint_weights: Sequence[float]
    sigmas: Sequence[float]
    flip_indices: list[int]


def check_skeleton(cfg: Config, dataset: ConfigDict, host: type[BaseDataset]) -> tuple[str, ...]:
    """Names of the keypoints.

    Args:
        cfg: The config.
        dataset: A data set of it.
        host: The class of the data set.

    Raises:
        ConfigError: Lists of metainfo, or the head, do not fit the number of keypoints.
    """
    given = dataset.get('metainfo')
    where = 'metainfo' if given is not None else f'METAINFO of {dataset.type}'
    parsed = _parse(where, given, host)
    names = list(parsed['keypoint_id2name'].values())
    count = len(names)
    if list(parsed['keypoint_id2name']) != list(range(count)):
        raise ConfigError(f'{where}: the keys of keypoint_info must be 0 to {count - 1}, in order')
    lists = {'joint_weights': parsed['dataset_keypoint_weights'], 'sigmas': parsed['sigmas']}
    for key, numbers in lists.items():
        if len(numbers) != count:
            raise ConfigError(
                f'{where}: {key} has {len(numbers)} numbers, but keypoint_info has {count} '
                'keypoints: give one to each'
            )
    flips = parsed['flip_indices']
    for index, other in enumerate(flips):
        if flips[other] != index:
            raise ConfigError(
                f'{where}: the swap of {names[index]!r} is {names[other]!r}, but its own swap '
                f'is {names[flips[other]]!r}: the two of a pair must name each other'
            )
    _check_head(cfg, dataset, where, count)
    return tuple(names)


def _parse(where: str, given: ConfigDict | None, host: type[BaseDataset]) -> Skeleton:
    """Parses metainfo as the host does, which does not say what is wrong."""
    inline = given if isinstance(given, dict) and 'from_file' not in given else None
    missing = [key for key in PARTS if key not in inline] if inline is not None else []
    if missing:
        raise ConfigError(f'{where} lacks {", ".join(missing)}: it needs {", ".join(PARTS)}')
    try:
        return host._load_metainfo(given)
    except KeyError as error:
        name = error.args[0]
        info = inline.get('keypoint_info', {}) if inline else {}
        hint = suggest(name, [str(part.get('name')) for part in dicts(list(info.values()))])
        raise ConfigError(
            f'{where}: {name!r} is not a keypoint: {hint}A swap and the ends of a link must be '
            'names in keypoint_info'
        ) from error
    except (AssertionError, AttributeError, IndexError, OSError, TypeError, ValueError) as error:
        reason = str(error) or f'it needs {", ".join(PARTS)}'
        raise ConfigError(f'{where} does not describe keypoints: {reason}') from error


def _check_head(cfg: Config, dataset: ConfigDict, where: str, count: int) -> None:
    head = next(dicts(cfg.model.get('head')), ConfigDict())
    converted = any(
        step.get('type') == 'KeypointConverter' for step in dicts(dataset.get('pipeline'))
    )
    key = next((key for key in COUNTS if isinstance(head.get(key), int)), None)
    if key is None or converted:
        return
    combined = any(part.get('heatmap_type') == 'combined' for part in dicts(head))
    maps = count * (COMBINED if combined else 1)
    if head[key] != maps:
        raise ConfigError(
            f'model.head has {key}={head[key]}, but {where} has {count} keypoints: set '
            f'{key}={maps}, or describe the keypoints of the files in the metainfo '
            f'of every data set, with {", ".join(PARTS)}'
        )
