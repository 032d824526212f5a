"""COCO's evaluation where an annotation has id 0, and where nothing is detected.

Needed by: pycocotools <= 2.0.11, whose matches are annotation ids with 0 for none, so that the
object with id 0 is never found and its detection is a false positive; and whose ``loadRes`` fails
on an empty list, after which MMDetection reports no metric at all and MMPose stops. Every host
evaluates through these two classes, so they are mended and not the metric of each. All other
figures stay what they are, and the caller's annotations keep their ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import copy
from importlib.util import find_spec
from logging import WARNING
from pathlib import Path
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import wrap

if TYPE_CHECKING:
    import numpy as np
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval


def reason() -> str | None:
    faults = 'pycocotools never finds the object with id 0, and fails where nothing is detected'
    return faults if find_spec('pycocotools') else None


def install() -> None:
    wrap('pycocotools.coco', 'COCO.loadRes', accept_no_results)
    wrap('pycocotools.cocoeval', 'COCOeval.__init__', find_id_0)


def say_nothing_detected() -> None:
    """One sentence in the log of the run, beside metrics of 0."""
    from mmengine.logging import print_log

    print_log(
        'Nothing was detected in any image, so AP is 0: this is usual early in a training; later, '
        'check the weights, the learning rate and the score thresholds',
        logger='current',
        level=WARNING,
    )


def accept_no_results(
    original: Callable[[COCO, object], COCO],
    self: COCO,
    resFile: str | np.ndarray | list[dict[str, object]],  # noqa: N803
) -> COCO:
    results: object = resFile
    if isinstance(resFile, str):
        results = json.loads(Path(resFile).read_text(encoding='utf-8'))
    if isinstance(results, list) and not results:
        say_nothing_detected()
        return _with_annotations(self, [])
    return original(self, results)


def find_id_0(
    original: Callable[..., None],
    self: COCOeval,
    cocoGt: COCO | None = None,  # noqa: N803
    *args: object,
    **kwargs: object,
) -> None:
    original(self, _without_id_0(cocoGt), *args, **kwargs)


def _without_id_0(truth: COCO | None) -> COCO | None:
    if truth is None or 0 not in truth.anns:
        return truth
    free = max(truth.anns) + 1
    annotations = truth.dataset['annotations']
    return _with_annotations(truth, [dict(a, id=a['id'] or free) for a in annotations])


def _with_annotations(coco: COCO, annotations: list[dict[str, object]]) -> COCO:
    other = copy(coco)
    other.dataset = dict(coco.dataset, annotations=annotations)
    other.createIndex()
    return other
