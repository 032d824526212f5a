"""Published figures of the configs, from the metafiles that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from rich.table import Table

CONFIGS = Path(__file__).resolve().parents[1] / '.mim' / 'configs'

# Metric of a host's evaluator: its name in OpenMMLab's metafiles, and its value's factor there.
PUBLISHED_AS = {'coco/bbox_mAP': ('box AP', 100), 'coco/segm_mAP': ('mask AP', 100)}


def published_results(config: str) -> dict[str, float]:
    """Metrics, by metafile name, that are published for the config of that file name."""
    for path in sorted(CONFIGS.glob('*/metafile.yml')):
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
            if Path(model['Config']).stem == config:
                results = [result['Metrics'] for result in model.get('Results', ())]
                return {name: value for metrics in results for name, value in metrics.items()}
    return {}


def result_table(columns: Mapping[str, Mapping[str, float]], config: str) -> Table:
    """Metrics as rows; the given columns and the published figure side by side.

    Args:
        columns: Values by metric, by heading, such as ``{'last': {'coco/bbox_mAP': 0.4}}``.
        config: File name of the config, without its suffix.
    """
    published = published_results(config)
    table = Table('metric', *columns, 'published', title=config)
    for metric in next(iter(columns.values())):
        name, factor = PUBLISHED_AS.get(metric, ('', 1))
        figure = f'{published[name] / factor:.3f}' if name in published else '-'
        table.add_row(metric, *(f'{values[metric]:.3f}' for values in columns.values()), figure)
    return table
