"""What the tools call: a config, edited and checked, becomes a run."""

from mmhrnet.apis.config import ConfigError, load_config, use_data_root, use_scratch
from mmhrnet.apis.images import ImageError, read_image
from mmhrnet.apis.mini import use_mini
from mmhrnet.apis.predict import Prediction, Predictor
from mmhrnet.apis.run import make_config, test, train

__all__ = [
    'ConfigError',
    'ImageError',
    'Prediction',
    'Predictor',
    'load_config',
    'make_config',
    'read_image',
    'test',
    'train',
    'use_data_root',
    'use_mini',
    'use_scratch',
]
