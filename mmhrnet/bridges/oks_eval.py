"""COCO's evaluation of keypoints, with the kinds and options that xtcocotools adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval as PyCOCOeval

from mmhrnet.bridges.pycocotools import say_nothing_detected

# A body fills about this share of its box; xtcocotools takes it where annotations have no area.
AREA_OF_BOX = 0.53
BODY = ('keypoints',)
PARTS = ('foot', 'face', 'lefthand', 'righthand')
# The fields of an annotation whose keypoints are evaluated together.
FIELDS = {
    **dict.fromkeys(('keypoints', 'keypoints_body', 'keypoints_crowd'), BODY),
    **{f'keypoints_{part}': (f'{part}_kpts',) for part in PARTS},
    'keypoints_wholebody': (*BODY, *(f'{part}_kpts' for part in PARTS)),
}
# CrowdPose's levels: which crowd indices are easy, medium and hard.
LEVELS = {'easy': (-np.inf, 0.2), 'medium': (0.2, 0.8), 'hard': (0.8, np.inf)}
CROWD_STATS = [0, 1, 2, 5, 6, 7]  # those of pycocotools' ten that are of all sizes of persons


class COCOeval(PyCOCOeval):
    """pycocotools' evaluation with the kinds of keypoints, ``sigmas`` and ``use_area``.

    Figures are those of xtcocotools 1.14.3 (https://github.com/jin-s13/xtcocoapi), the levels
    those of CrowdPose (https://arxiv.org/abs/1812.00324) as its evaluation code draws them.
    Annotations are not changed, so that several evaluations may share them.

    Args:
        cocoGt: Ground truth.
        cocoDt: Detections; those of which no keypoint has a score above 0 count as none.
        iouType: 'keypoints', one of its kinds ('keypoints_body', '_foot', '_face', '_lefthand',
            '_righthand', '_wholebody', '_crowd'), 'bbox' or 'segm'.
        sigmas: Falloff of each keypoint, shape (K,); None takes COCO's 17.
        use_area: Scale distances by the annotated area; False takes 0.53 of the box instead.
    """

    evalImgs: list[dict | None]  # noqa: N815 (pycocotools' names)
    stats: np.ndarray

    def __init__(
        self,
        cocoGt: COCO | None = None,  # noqa: N803 (xtcocotools' name)
        cocoDt: COCO | None = None,  # noqa: N803
        iouType: str = 'keypoints',  # noqa: N803
        sigmas: Sequence[float] | None = None,
        use_area: bool = True,
    ) -> None:
        super().__init__(cocoGt, cocoDt, 'keypoints' if iouType in FIELDS else iouType)
        self.kind = iouType
        self.use_area = use_area
        if sigmas is not None:
            self.params.kpt_oks_sigmas = np.asarray(sigmas, dtype=float)  # (K,)

    def _prepare(self) -> None:
        if self.kind not in FIELDS:
            super()._prepare()
            return
        self._gts = self._grouped(self.cocoGt, self._person)
        self._dts = self._grouped(self.cocoDt, self._detection)
        self.evalImgs = []
        self.eval: dict[str, np.ndarray] = {}
        if self.cocoDt.anns and not self._dts:
            say_nothing_detected()

    def _grouped(
        self, coco: COCO, view: Callable[[dict], dict | None]
    ) -> dict[tuple[int, int], list[dict]]:
        chosen = self.params
        ids = coco.getAnnIds(imgIds=chosen.imgIds, catIds=chosen.catIds if chosen.useCats else [])
        groups = defaultdict(list)
        for seen in filter(None, map(view, coco.loadAnns(ids))):
            groups[seen['image_id'], seen['category_id']].append(seen)
        return groups

    def _joined(self, annotation: dict) -> tuple[list[float], int]:
        """The keypoints of this kind, and how many are labelled or have a score."""
        joints = [value for field in FIELDS[self.kind] for value in annotation[field]]
        return joints, sum(value > 0 for value in joints[2::3])

    def _person(self, annotation: dict) -> dict:
        joints, labelled = self._joined(annotation)
        if self.kind == 'keypoints_crowd':  # there it counts the visible ones only
            labelled = annotation.get('num_keypoints', labelled)
        crowd = annotation.get('iscrowd', 0)
        person = dict(annotation, keypoints=joints, iscrowd=crowd, ignore=crowd or not labelled)
        if not self.use_area:
            person['area'] = AREA_OF_BOX * annotation['bbox'][2] * annotation['bbox'][3]
        return person

    def _detection(self, annotation: dict) -> dict | None:
        joints, scored = self._joined(annotation)
        part = self.kind.removeprefix('keypoints_')
        score = annotation.get(f'{part}_score', annotation['score'])
        return dict(annotation, keypoints=joints, score=score) if scored else None

    def summarize(self) -> None:
        """Prints the figures and keeps them in ``stats``: ten, or nine for 'keypoints_crowd'."""
        print(f'{self.kind}:')
        super().summarize()
        if self.kind != 'keypoints_crowd':
            return
        levels = {name: self._level_ap(*bounds) for name, bounds in LEVELS.items()}
        print('Average precision by crowding:', levels)
        self.stats = np.array([*self.stats[CROWD_STATS], *levels.values()])

    def _level_ap(self, low: float, high: float) -> float:
        """AP of the images with a crowd index from ``low`` to below ``high``; -1 for none."""
        images = {i for i, image in self.cocoGt.imgs.items() if low <= image['crowdIndex'] < high}
        level = copy(self)
        level.evalImgs = [e if e and e['image_id'] in images else None for e in self.evalImgs]
        level.accumulate()
        precision = level.eval['precision'][:, :, :, 0]
        present = precision[precision > -1]
        return round(float(present.mean()), 4) if present.size else -1.0
