"""The registries of mmhrnet.

MMEngine imports ``<scope>.registry`` when it meets a type with the prefix ``<scope>.``, so the
name of this file makes ``type='mmhrnet.HRNet'`` work in any host's config with no other line.
"""

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mmhrnet',
    locations=['mmhrnet.models', 'mmhrnet.hosts.network'],
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope='mmhrnet', locations=['mmhrnet.training.hooks']
)
METRICS = Registry(
    'metric', parent=MMENGINE_METRICS, scope='mmhrnet', locations=['mmhrnet.hosts.class_iou']
)
