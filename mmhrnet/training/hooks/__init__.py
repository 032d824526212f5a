"""MMEngine hooks that make a training resumable; ``tools/train.py`` adds them by default.

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

from mmhrnet.training.hooks.broadcast_buffers import BroadcastBuffersHook
from mmhrnet.training.hooks.checkpoint import AtomicCheckpointHook
from mmhrnet.training.hooks.exact_resume import ExactResumeHook
from mmhrnet.training.hooks.missed_evaluation import MissedEvaluationHook
from mmhrnet.training.hooks.non_finite import NonFiniteHook
from mmhrnet.training.hooks.preemption import PreemptionHook
from mmhrnet.training.hooks.resume_check import ResumeCheckHook

__all__ = [
    'AtomicCheckpointHook',
    'BroadcastBuffersHook',
    'ExactResumeHook',
    'MissedEvaluationHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeCheckHook',
]
