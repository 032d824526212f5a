"""Checkpoints of any published HRNet: read safely, recognised, converted, loaded."""

from mmhrnet.checkpoints.config_text import config_of, read_config, settings_of
from mmhrnet.checkpoints.convert import Report, convert, fit, summary
from mmhrnet.checkpoints.fetching import load_url
from mmhrnet.checkpoints.find import CHOICE, state_of, unwrap
from mmhrnet.checkpoints.handed_on import read_ahead, take
from mmhrnet.checkpoints.left_random import left_random, note_random
from mmhrnet.checkpoints.names import FORMS, recognise
from mmhrnet.checkpoints.safe import CheckpointError, allow, load, save
from mmhrnet.checkpoints.values import SAFE_TYPES

__all__ = [
    'CHOICE',
    'FORMS',
    'SAFE_TYPES',
    'CheckpointError',
    'Report',
    'allow',
    'config_of',
    'convert',
    'fit',
    'left_random',
    'load',
    'load_url',
    'note_random',
    'read_ahead',
    'read_config',
    'recognise',
    'save',
    'settings_of',
    'state_of',
    'summary',
    'take',
    'unwrap',
]
