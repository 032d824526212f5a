"""COCO's evaluation where an annotation has id 0, and where nothing is detected.

Needed by: pycocotools <= 2.0.11, whose matches are annotation ids with 0 for none, so that the
object with id 0 is never found and its detection is a false positive; and whose ``loadRes`` fails
on an empty list, after which MMDetection reports no metric at all and MMPose stops. Every host
evaluates through these two classes, so they are mended and not the metric of each. All other
figures stay what they are, and the caller's annotations keep their ids.
"""

from __future__ import annotations

import json
from copy import copy
from functools import wraps
from importlib.util import find_spec
from logging import WARNING
from pathlib import Path
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import


def reason() -> str | None:
    if find_spec('pycocotools') is None:
        return None
    return 'pycocotools never finds the object with id 0, and fails where nothing is detected'


def install() -> None:
    after_import('pycocotools.coco', _accept_no_results)
    after_import('pycocotools.cocoeval', _find_id_0)


def say_nothing_detected() -> None:
    """One sentence in the log of the run, beside metrics of 0."""
    from mmengine.logging import print_log

    print_log(
        'Nothing was detected in any image, so AP is 0: usual early in a training; later, look at '
        'the weights, the learning rate and the score thresholds',
        logger='current',
        level=WARNING,
    )


def _accept_no_results(module: ModuleType) -> None:
    original = module.COCO.loadRes
    if hasattr(original, 'accepts_no_results'):
        return

    @wraps(original)
    def load_res(self: Any, resFile: Any) -> Any:  # noqa: N803
        results = resFile
        if isinstance(resFile, str):
            results = json.loads(Path(resFile).read_text(encoding='utf-8'))
        if not isinstance(results, list) or results:
            return original(self, results)
        say_nothing_detected()
        return _with_annotations(self, [])

    load_res.__dict__['accepts_no_results'] = True
    module.COCO.loadRes = load_res


def _find_id_0(module: ModuleType) -> None:
    original = module.COCOeval.__init__
    if hasattr(original, 'finds_id_0'):
        return

    @wraps(original)
    def init(self: Any, cocoGt: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: N803
        original(self, _without_id_0(cocoGt), *args, **kwargs)

    init.__dict__['finds_id_0'] = True
    module.COCOeval.__init__ = init


def _without_id_0(truth: Any) -> Any:
    if truth is None or 0 not in truth.anns:
        return truth
    free = max(truth.anns) + 1
    annotations = truth.dataset['annotations']
    return _with_annotations(truth, [dict(a, id=a['id'] or free) for a in annotations])


def _with_annotations(coco: Any, annotations: list[dict]) -> Any:
    other = copy(coco)
    other.dataset = dict(coco.dataset, annotations=annotations)
    other.createIndex()
    return other
