"""What a run or a model amounts to: curves, tables, pictures."""

from mmhrnet.analysis.logs import best_values, plot_curves, read_scalars
from mmhrnet.analysis.pictures import draw_predictions
from mmhrnet.analysis.zoo import metafile_models, model_tables, published_results, result_table

__all__ = [
    'best_values',
    'draw_predictions',
    'metafile_models',
    'model_tables',
    'plot_curves',
    'published_results',
    'read_scalars',
    'result_table',
]
