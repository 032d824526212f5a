"""The exact fast forms of HRNet, and what ships them: torch.export, AOTInductor and ONNX."""

from mmhrnet.deploy.optimize import optimize
from mmhrnet.deploy.rewrites import PORTABLE, Rewrites

__all__ = ['PORTABLE', 'Rewrites', 'optimize']
