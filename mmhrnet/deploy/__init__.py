"""The exact fast forms of HRNet, and what ships them: torch.export, AOTInductor and ONNX."""

from mmhrnet.deploy.capture import Captured, capture
from mmhrnet.deploy.export import FORMATS, ExportError, export, load
from mmhrnet.deploy.optimize import optimize
from mmhrnet.deploy.rewrites import PORTABLE, Rewrites

__all__ = [
    'FORMATS',
    'PORTABLE',
    'Captured',
    'ExportError',
    'Rewrites',
    'capture',
    'export',
    'load',
    'optimize',
]
