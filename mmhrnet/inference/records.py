"""What a model found, as JSON that people can read too."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mmhrnet import __version__
from mmhrnet.hosts.host import Things
from mmhrnet.inference.predict import Predictor

BBOX_FORMAT = 'xyxy'  # left, top, right, bottom
IN_PIXELS = ('bbox', 'keypoints')
PIXEL_DIGITS, SCORE_DIGITS = 2, 4


def describe_source(
    predictor: Predictor, size: tuple[int, int], **source: object
) -> dict[str, object]:
    """What is written once for an image or a video.

    Args:
        predictor: The model.
        size: Height and width of the image in pixels.
        source: What was predicted for, such as its file name.
    """
    height, width = size
    content = {'program': 'mmhrnet', 'version': __version__, **source}
    content |= {'width': width, 'height': height}
    if predictor.host.has_boxes:
        content['bbox_format'] = BBOX_FORMAT
    if predictor.keypoints:
        content['keypoint_names'] = predictor.keypoints
    return content


def round_numbers(found: Things) -> Things:
    """Pixels with two decimals, everything else, which is a score or a share, with four."""
    return [
        {
            key: _round(value, PIXEL_DIGITS if key in IN_PIXELS else SCORE_DIGITS)
            for key, value in thing.items()
        }
        for thing in found
    ]


def _round(value: object, digits: int) -> object:
    if isinstance(value, list):
        return [_round(part, digits) for part in value]
    return round(value, digits) if isinstance(value, float) else value


def to_json(content: Mapping[str, object]) -> str:
    """JSON with a line for each entry, and one for each thing in ``found``."""
    lines = [f' {json.dumps(key)}: {_write_entry(value)}' for key, value in content.items()]
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def _write_entry(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        things = [f'  {json.dumps(thing)}' for thing in value]
        return '[\n' + ',\n'.join(things) + '\n ]'
    return json.dumps(value)
