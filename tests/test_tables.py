"""The tables of metrics that a training and a test print."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS
from rich.table import Table

from mmhrnet.config.edit import report_classes
from mmhrnet.training.curves import best_values, read_scalars, runs_table
from mmhrnet.training.tables import class_table, print_results, result_table

DETECTOR = 'faster_rcnn_hrnetv2p_w32'
BOXES = {'coco/nut_precision': 0.25, 'coco/bolt_precision': nan, 'coco/bbox_mAP': 0.4}


def cells(table: Table) -> dict[str, list[str]]:
    return {str(column.header): list(column.cells) for column in table.columns}


@pytest.mark.parametrize(
    ('metrics', 'config', 'other', 'columns'),
    [
        pytest.param(
            {'coco/bbox_mAP': 0.4, 'coco/bbox_mAP_50': 0.6},
            DETECTOR,
            '',
            {'measured': ['0.400', '0.600'], 'published': ['0.402', '-']},
            id='beside the published figures',
        ),
        pytest.param(
            {'coco/bbox_mAP': 0.4, 'coco/bbox_mAP_l': -1.0},
            DETECTOR,
            'other data (60 images)',
            {'measured': ['0.400', '-']},
            id='other data',
        ),
        pytest.param({'coco/bbox_mAP': 0.4}, 'mine', '', {'measured': ['0.400']}, id='own config'),
        pytest.param(BOXES, 'mine', '', {'measured': ['0.400']}, id='classes are elsewhere'),
        pytest.param(
            {'aAcc': 34.9, 'mIoU': 0.5}, 'mine', '', {'measured': ['34.90', '0.50']}, id='per cent'
        ),
    ],
)
def test_metrics_and_what_is_published(
    metrics: dict[str, float], config: str, other: str, columns: dict[str, list[str]]
) -> None:
    names = [name for name in metrics if 'precision' not in name]
    table = result_table({'measured': metrics}, config, other)
    assert cells(table) == {'metric': names, **columns}
    assert table.title == (f'{config}, {other}' if other else config)


def test_each_class_has_a_row() -> None:
    table = class_table({'last': BOXES, 'best': {**BOXES, 'coco/nut_precision': 0.5}})
    assert table.title == 'AP by class'
    expected = {'class': ['nut', 'bolt'], 'last': ['0.250', '-'], 'best': ['0.500', '-']}
    assert cells(table) == expected


def test_of_many_classes_the_lowest_are_shown() -> None:
    values = {f'IoU/{k}': float(k) for k in range(149, -1, -1)} | {'IoU/absent': nan}
    table = class_table({'measured': values})
    assert table.title == 'IoU by class, the 20 lowest of 151; all are in the log'
    assert cells(table)['class'] == [str(k) for k in range(20)]


def test_without_figures_of_classes_there_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_results({'measured': {'coco/AP': 0.4}}, 'mine')
    print_results({'measured': BOXES}, 'mine')
    out = capsys.readouterr().out
    assert (out.count('mine'), out.count('by class')) == (2, 1)


def test_iou_of_classes_is_that_of_mmseg() -> None:
    """Two images of three classes, of which the last one is absent; 255 is no class."""
    cfg = Config(dict(default_scope='mmseg', test_evaluator=dict(type='IoUMetric')))
    report_classes(cfg)
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dict(classes=('sky', 'sea', 'sun'))
    images = [([[0, 0], [1, 1]], [[0, 1], [1, 1]]), ([[0, 0], [0, 1]], [[0, 0], [1, 255]])]
    for found, truth in images:
        sample = {
            key: dict(data=torch.tensor([labels]))
            for key, labels in (('pred_sem_seg', found), ('gt_sem_seg', truth))
        }
        metric.process({}, [sample])
    metrics = metric.evaluate(2)
    assert (metrics['IoU/sky'], metrics['IoU/sea']) == (60.0, 50.0)  # 3 of 5 and 2 of 4 pixels
    assert metrics['IoU/sun'] != metrics['IoU/sun']
    assert metrics['mIoU'] == 55.0


def test_curves_and_tables_of_runs_leave_classes_out(tmp_path: Path) -> None:
    records = [{**BOXES, 'step': 1}, {**BOXES, 'coco/nut_precision': 0.5, 'step': 2}]
    path = tmp_path / 'scalars.json'
    path.write_text('\n'.join(map(json.dumps, records)))
    scalars = read_scalars(path)
    assert [*best_values(scalars)['last']] == ['coco/bbox_mAP']
    assert best_values(scalars, with_classes=True)['best']['coco/nut_precision'] == 0.5
    key = 'coco/nut_precision'
    assert cells(runs_table({'run': scalars}, [key]))[''] == [f'{key}, last', f'{key}, best']
