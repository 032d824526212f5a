"""What a model found, as plain data; ``mmhrnet.runtime`` writes the same as JSON."""

from __future__ import annotations

from mmhrnet import __version__
from mmhrnet.inference.predict import Predictor

BBOX_FORMAT = 'xyxy'  # left, top, right, bottom


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
