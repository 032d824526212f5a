"""What the tools call: a config, edited and checked, becomes a run."""

from mmhrnet.apis.config import ConfigError, load_config, use_data_root, use_scratch
from mmhrnet.apis.mini import use_mini
from mmhrnet.apis.run import make_config, test, train

__all__ = [
    'ConfigError',
    'load_config',
    'make_config',
    'test',
    'train',
    'use_data_root',
    'use_mini',
    'use_scratch',
]
