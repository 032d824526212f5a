"""MMEngine hooks with which a training loses nothing; ``tools/train.py`` adds them by default.

In any host's own config::

    default_hooks = dict(checkpoint=dict(type='mmhrnet.AtomicCheckpointHook', interval=1))
    custom_hooks = [
        dict(type='mmhrnet.BroadcastBuffersHook'),
        dict(type='mmhrnet.ExactResumeHook'),
        dict(type='mmhrnet.MissedEvaluationHook'),
        dict(type='mmhrnet.NonFiniteHook'),
        dict(type='mmhrnet.PreemptionHook'),
        dict(type='mmhrnet.ResumeCheckHook'),
    ]
"""

from mmhrnet.hooks.broadcast_buffers import BroadcastBuffersHook
from mmhrnet.hooks.checkpoint import AtomicCheckpointHook
from mmhrnet.hooks.errors import TrainingError
from mmhrnet.hooks.exact_resume import ExactResumeHook
from mmhrnet.hooks.intact import newest_intact
from mmhrnet.hooks.missed_evaluation import MissedEvaluationHook
from mmhrnet.hooks.non_finite import NonFiniteHook
from mmhrnet.hooks.preemption import PreemptionHook
from mmhrnet.hooks.resume_check import ResumeCheckHook

__all__ = [
    'AtomicCheckpointHook',
    'BroadcastBuffersHook',
    'ExactResumeHook',
    'MissedEvaluationHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeCheckHook',
    'TrainingError',
    'newest_intact',
]
