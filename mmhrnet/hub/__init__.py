"""HRNets by name as plain PyTorch modules, and trained ones as files for others."""

from mmhrnet.hub.models import create_model, list_models
from mmhrnet.hub.timm_models import register_timm

__all__ = ['create_model', 'list_models', 'register_timm']
