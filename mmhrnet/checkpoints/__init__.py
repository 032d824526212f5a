"""Checkpoints of any published HRNet: read safely, recognised, converted, loaded."""

from mmhrnet.checkpoints.convert import Report, convert, fit, summary, unwrap
from mmhrnet.checkpoints.names import FORMS, recognise
from mmhrnet.checkpoints.safe import SAFE_TYPES, CheckpointError, allow, load, load_url, save

__all__ = [
    'FORMS',
    'SAFE_TYPES',
    'CheckpointError',
    'Report',
    'allow',
    'convert',
    'fit',
    'load',
    'load_url',
    'recognise',
    'save',
    'summary',
    'unwrap',
]
