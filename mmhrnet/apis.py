"""The commands as Python functions: ``from mmhrnet.apis import Predictor, train``."""

from mmhrnet.config.edit import use_data_root, use_scratch
from mmhrnet.config.load import load_config
from mmhrnet.config.make import make_config
from mmhrnet.config.mini import use_mini
from mmhrnet.datasets.images import ImageError, read_image
from mmhrnet.errors import ConfigError
from mmhrnet.inference.predict import Prediction, Predictor
from mmhrnet.training.evaluate import test
from mmhrnet.training.run import train

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
