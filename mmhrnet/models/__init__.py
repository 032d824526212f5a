"""HRNet and its necks, and nothing else."""

from mmhrnet.models.archs import ARCHS, Stage, list_archs
from mmhrnet.models.hrnet import HRNet
from mmhrnet.models.necks import HRNetC, HRNetV2, HRNetV2p

__all__ = ['ARCHS', 'HRNet', 'HRNetC', 'HRNetV2', 'HRNetV2p', 'Stage', 'list_archs']
