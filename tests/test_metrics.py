"""AP is that of the real packages, also where ids begin at 0 and where nothing is detected."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval as PyCOCOeval

from mmhrnet.bridges.oks_eval import FIELDS, COCOeval

# Figures of xtcocotools 1.14.3, built from its source, for `truth` and `detections` as changed by
# CASES. The joints are few, since their number plays no part.
GOLDEN = json.loads((Path(__file__).parent / 'golden/keypoint_metrics.json').read_text())
Annotations = list[dict[str, Any]]


def without(*names: str) -> Callable[[Annotations], None]:
    def change(annotations: Annotations) -> None:
        for annotation in annotations:
            for name in names:
                del annotation[name]

    return change


def from_0(truth: Annotations) -> None:
    for annotation in truth:
        annotation['id'] -= 1


def count_nothing(truth: Annotations) -> None:
    for annotation in truth:
        annotation['num_keypoints'] = 0


def score_0(detections: Annotations) -> None:
    for detection in detections[::2]:
        detection['keypoints'][2::3] = [0] * len(detection['keypoints'][2::3])


def all_score_0(detections: Annotations) -> None:
    score_0(detections)
    detections[:] = detections[::2]


def add_boxes(detections: Annotations) -> None:
    for number, detection in enumerate(detections):
        detection['bbox'] = [10, 10, 8 * number, 100]


PART_SCORES = [f'{part}_score' for part in ('wholebody', 'foot', 'face', 'lefthand', 'righthand')]


class Case(NamedTuple):
    """What is evaluated, and how the truth and the detections are changed before."""

    kind: str = 'keypoints'
    use_area: bool = True
    truth: Callable[[Annotations], None] = without()
    detections: Callable[[Annotations], None] = without()


CASES = {
    **{kind: Case(kind) for kind in FIELDS},
    'keypoints, ids from 0': Case(truth=from_0),
    'keypoints, not counted': Case(truth=without('num_keypoints')),
    'keypoints, counted as 0': Case(truth=count_nothing),
    'keypoints, half score 0': Case(detections=score_0),
    'keypoints, all score 0': Case(detections=all_score_0),
    'keypoints, no iscrowd': Case(truth=without('iscrowd')),
    'keypoints, boxes': Case(detections=add_boxes),
    'keypoints, no area': Case(use_area=False, truth=without('area')),
    'keypoints, area not used': Case(use_area=False),
    'keypoints_face, no part scores': Case('keypoints_face', detections=without(*PART_SCORES)),
    'keypoints_wholebody, area not used': Case('keypoints_wholebody', use_area=False),
    'keypoints_crowd, area not used': Case('keypoints_crowd', use_area=False),
    'keypoints_crowd, ids from 0': Case('keypoints_crowd', truth=from_0),
}


def coco(truth: dict) -> COCO:
    api = COCO()
    api.dataset = truth
    api.createIndex()
    return api


def figures(evaluation: PyCOCOeval) -> Any:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize('name', CASES)
def test_keypoint_figures_are_those_of_xtcocotools(name: str) -> None:
    case = CASES[name]
    truth, detections = deepcopy(GOLDEN['truth']), deepcopy(GOLDEN['detections'])
    case.truth(truth['annotations'])
    case.detections(detections)
    count = sum(len(truth['annotations'][0][field]) // 3 for field in FIELDS[case.kind])
    sigmas, before = GOLDEN['sigmas'][:count], deepcopy(truth)
    api = coco(truth)
    stats = figures(COCOeval(api, api.loadRes(detections), case.kind, sigmas, case.use_area))
    np.testing.assert_allclose(stats, GOLDEN['figures'][name], rtol=0, atol=1e-5)
    assert truth == before  # several kinds are evaluated on the same


SQUARES = [[10, 10, 40, 40], [60, 10, 40, 40], [10, 60, 40, 40]]


def polygon(box: list[int]) -> list[list[int]]:
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def squares(first_id: int, count: int) -> COCO:
    annotations = [
        dict(id=first_id + n, image_id=1, category_id=1, iscrowd=0, bbox=box, area=box[2] * box[3])
        | dict(segmentation=polygon(box))
        for n, box in enumerate(SQUARES[:count])
    ]
    image, category = dict(id=1, width=120, height=120), dict(id=1, name='square')
    return coco(dict(images=[image], categories=[category], annotations=annotations))


def found(api: COCO, kind: str) -> COCO:
    """What finds every square as it is."""
    results = []
    for number, a in enumerate(api.dataset['annotations']):
        (rle,) = mask.frPyObjects(a['segmentation'], 120, 120)
        shape = dict(bbox=a['bbox']) if kind == 'bbox' else dict(segmentation=rle)
        results.append(dict(image_id=1, category_id=1, score=0.9 - number / 10, **shape))
    return api.loadRes(results)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('evaluation', [PyCOCOeval, COCOeval])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_the_object_with_id_0_is_found(kind: str, evaluation: type, count: int) -> None:
    api = squares(0, count)
    assert figures(evaluation(api, found(api, kind), kind))[0] == pytest.approx(1)
    assert list(api.anns) == list(range(count))


def test_files_without_id_0_are_left_alone() -> None:
    api = squares(1, 3)
    assert PyCOCOeval(api, found(api, 'bbox'), 'bbox').cocoGt is api


@pytest.fixture
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of evaluations without any detection."""
    said: list[str] = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, **_: said.append(text))
    return said


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_nothing_detected_is_an_ap_of_0(kind: str, nothing_said: list[str], tmp_path: Path) -> None:
    path = tmp_path / 'results.json'
    path.write_text('[]')
    api = squares(1, 3)
    for nothing in ([], str(path)):
        assert figures(PyCOCOeval(api, api.loadRes(nothing), kind))[0] == 0
    assert len(nothing_said) == 2
    assert 'Nothing was detected in any image, so AP is 0' in nothing_said[0]


def test_results_of_another_kind_still_fail() -> None:
    api = squares(1, 1)
    with pytest.raises(AssertionError, match='not an array'):
        api.loadRes({})
    with pytest.raises(IndexError):
        api.loadRes([dict(image_id=1, category_id=1, score=1.0, bbox=[1, 2])])


@pytest.mark.parametrize('kind', FIELDS)
def test_no_keypoint_detected_is_an_ap_of_0(kind: str, nothing_said: list[str]) -> None:
    silent = deepcopy(GOLDEN['detections'])
    for detection in silent:
        detection.update({field: [0] * len(detection[field]) for field in FIELDS[kind]})
    api = coco(deepcopy(GOLDEN['truth']))
    for detections in ([], silent):
        assert figures(COCOeval(api, api.loadRes(detections), kind, [0.05] * 13))[0] == 0
    assert len(nothing_said) == 2


def pose_sample(scale: float, people: int) -> dict[str, Any]:
    """An image whose annotated people are predicted as they are, scored by their visibility."""
    raw = [a for a in GOLDEN['truth']['annotations'] if a['image_id'] == 2]
    joints = np.array([a['keypoints'] for a in raw[:people]], dtype=float).reshape(people, 4, 3)
    predicted = dict(keypoints=joints[..., :2], keypoint_scores=joints[..., 2] * scale)
    predicted['bbox_scores'] = np.ones(people)
    sample = dict(id=list(range(people)), img_id=2, pred_instances=predicted, gt_instances={})
    return sample | dict(ori_shape=(400, 400), raw_ann_info=raw)


@pytest.mark.parametrize(
    ('scale', 'people', 'expected'),
    [(0.5, 2, 1), (0, 2, 0), (0.5, 0, 0)],
    ids=['one of two without joints', 'no joint found', 'no person found'],
)
def test_the_metric_of_mmpose(
    scale: float, people: int, expected: float, nothing_said: list[str]
) -> None:
    from mmpose.evaluation import CocoMetric

    metric = CocoMetric(nms_mode='none', score_mode='keypoint')
    categories = GOLDEN['truth']['categories']
    metric.dataset_meta = dict(
        dataset_name='few', CLASSES=categories, num_keypoints=4, sigmas=np.full(4, 0.05)
    )
    metric.process([], [pose_sample(scale, people)])
    assert metric.evaluate(1)['coco/AP'] == pytest.approx(expected)
    assert len(nothing_said) == (not expected)
