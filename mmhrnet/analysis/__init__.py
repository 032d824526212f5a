"""What a run or a model amounts to: curves, tables, pictures."""

from mmhrnet.analysis.logs import LogError, analyze_logs, best_values, plot_curves, read_scalars
from mmhrnet.analysis.pictures import draw_predictions
from mmhrnet.analysis.zoo import (
    Evaluation,
    ZooRow,
    compare_to_published,
    metafile_models,
    model_tables,
    other_data,
    published_results,
    result_table,
    zoo_markdown,
    zoo_table,
)

__all__ = [
    'Evaluation',
    'LogError',
    'ZooRow',
    'analyze_logs',
    'best_values',
    'compare_to_published',
    'draw_predictions',
    'metafile_models',
    'model_tables',
    'other_data',
    'plot_curves',
    'published_results',
    'read_scalars',
    'result_table',
    'zoo_markdown',
    'zoo_table',
]
