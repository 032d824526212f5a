"""The configs and their published figures, from the metafiles that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1] / '.mim'

# Metric of a host's evaluator: its name in OpenMMLab's metafiles, and its value's factor there.
PUBLISHED_AS = {
    'coco/bbox_mAP': ('box AP', 100),
    'coco/segm_mAP': ('mask AP', 100),
    'coco/AP': ('AP', 1),
    'PCK': ('PCKh', 0.01),
    'NME': ('NME', 100),
    'mIoU': ('mIoU', 1),
    'accuracy/top1': ('Top 1 Accuracy', 1),
    'accuracy/top5': ('Top 5 Accuracy', 1),
}
TABLES_HEAD = """# Models

Every config, with parameters, multiply-adds and the published figure. Where there are weights, the
figure is theirs; we have not trained these at full length ourselves. Multiply-adds of detectors and
of DEKR are those of backbone and neck. Written by `python -m mmhrnet models --out docs/models.md`
from the metafiles.
"""
LIBRARIES = {
    'mmdet': 'Detection (mmdet, COCO val2017, 800x1333)',
    'mmpose': 'Pose and facial landmarks (mmpose)',
    'mmseg': 'Segmentation (mmseg)',
    'mmpretrain': 'Classification (mmpretrain, ImageNet-1k, 224x224)',
}


@cache
def metafile_models() -> list[dict[str, Any]]:
    """The ``Models`` of all metafiles, with OpenMMLab's fields."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))['Import']
    files = [yaml.safe_load((ROOT / path).read_text(encoding='utf-8')) for path in index]
    return [model for file in files for model in file['Models']]


def published_results(config: str) -> dict[str, float]:
    """Metrics, by metafile name, that are published for the config of that file name."""
    models = [model for model in metafile_models() if model['Name'] == config]
    return {name: value for model in models for name, value in _metrics(model).items()}


def _metrics(model: Mapping[str, Any]) -> dict[str, float]:
    results = [result['Metrics'] for result in model.get('Results', ())]
    return {name: value for metrics in results for name, value in metrics.items()}


def model_tables() -> str:
    """All models as Markdown: a table for each host library."""
    parts = [TABLES_HEAD]
    for library, title in LIBRARIES.items():
        models = [m for m in metafile_models() if m['Config'].split('/')[1] == library]
        rows = '\n'.join(_row(model) for model in models)
        header = '| config | data | params | GMACs | published | source | weights |'
        parts.append(f'## {title}\n\n{header}\n|---|---|---|---|---|---|---|\n{rows}\n')
    return '\n'.join(parts)


def _row(model: Mapping[str, Any]) -> str:
    meta, results = model['Metadata'], model.get('Results', [])
    figures = ', '.join(f'{name} {value}' for name, value in _metrics(model).items())
    cells = (
        f'[{model["Name"]}](../{model["Config"]})',
        meta['Training Data'],
        f'{meta["Parameters"] / 1e6:.1f} M',
        f'{meta["FLOPs"] / 1e9:.2f}',
        figures or '-',
        results[0]['Source'] if results else '-',
        f'[pth]({model["Weights"]})' if 'Weights' in model else '-',
    )
    return '| ' + ' | '.join(cells) + ' |'


def result_table(
    columns: Mapping[str, Mapping[str, float]], config: str, compare: bool = True
) -> Table:
    """Metrics as rows; the given columns and the published figure side by side.

    Args:
        columns: Values by metric, by heading, such as ``{'last': {'coco/bbox_mAP': 0.4}}``.
        config: File name of the config, without its suffix.
        compare: Whether the data are those of the published figure.
    """
    published = published_results(config) if compare else {}
    table = Table('metric', *columns, *(['published'] if compare else []), title=config)
    for metric in next(iter(columns.values())):
        name, factor = PUBLISHED_AS.get(metric, ('', 1))
        figure = f'{published[name] / factor:.3f}' if name in published else '-'
        cells = [f'{values[metric]:.3f}' for values in columns.values()]
        table.add_row(metric, *cells, *([figure] if compare else []))
    return table
