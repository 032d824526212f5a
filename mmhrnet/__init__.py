"""One HRNet for OpenMMLab: ``type='mmhrnet.HRNet'`` in any config of its libraries.

Importing this package is light: it prepares the bridges that the installed upstream versions
need (``mmhrnet doctor`` lists them) and imports neither torch nor a host library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mmhrnet.bridges import install_bridges

if TYPE_CHECKING:
    from mmhrnet.config.swap import swap
    from mmhrnet.hub import create_model, list_models, register_timm
    from mmhrnet.models import HRNet, HRNetC, HRNetV2, HRNetV2p, list_archs

__version__ = '0.1.0'
__all__ = [
    'HRNet',
    'HRNetC',
    'HRNetV2',
    'HRNetV2p',
    '__version__',
    'create_model',
    'list_archs',
    'list_models',
    'register_timm',
    'swap',
]
ROOMS = {'swap': 'config.swap', 'create_model': 'hub', 'list_models': 'hub', 'register_timm': 'hub'}

install_bridges()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'mmhrnet.{ROOMS.get(name, "models")}'), name)
