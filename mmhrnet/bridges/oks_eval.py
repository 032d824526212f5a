"""COCO's evaluation with the two options that xtcocotools adds for keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval as PyCOCOeval

# A body fills about this share of its box; xtcocotools takes it where annotations have no area.
AREA_OF_BOX = 0.53


class COCOeval(PyCOCOeval):
    """pycocotools' evaluation with ``sigmas`` and ``use_area``.

    Args:
        cocoGt: Ground truth.
        cocoDt: Detections.
        iouType: 'keypoints', 'bbox' or 'segm'.
        sigmas: Falloff of each keypoint, shape (K,); None takes COCO's 17.
        use_area: Scale distances by the annotated area; False takes 0.53 of the box instead.

    Raises:
        ValueError: One of xtcocotools' other types (crowd, whole body).
    """

    def __init__(
        self,
        cocoGt: Any = None,  # noqa: N803 (xtcocotools' name)
        cocoDt: Any = None,  # noqa: N803
        iouType: str = 'keypoints',  # noqa: N803
        sigmas: Sequence[float] | None = None,
        use_area: bool = True,
    ) -> None:
        if iouType not in ('keypoints', 'bbox', 'segm'):
            raise ValueError(
                f'iou_type={iouType!r} needs the real xtcocotools (pip install xtcocotools, with '
                "a C compiler); the bridge evaluates 'keypoints', 'bbox' and 'segm'"
            )
        super().__init__(cocoGt, cocoDt, iouType)
        self.use_area = use_area
        if sigmas is not None:
            self.params.kpt_oks_sigmas = np.asarray(sigmas, dtype=float)  # (K,)

    def _prepare(self) -> None:
        super()._prepare()
        if self.use_area:
            return
        for annotation in chain.from_iterable(self._gts.values()):
            _, _, width, height = annotation['bbox']
            annotation['area'] = AREA_OF_BOX * width * height
