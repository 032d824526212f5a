"""One HRNet for OpenMMLab: ``type='mmhrnet.HRNet'`` in any config of its libraries.

Importing this package is light: it prepares the bridges that the installed upstream versions
need (``mmhrnet doctor`` lists them) and imports neither torch nor a host library.
"""

from __future__ import annotations

from typing import Any

from mmhrnet.bridges import install_bridges

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
HUB = ('create_model', 'list_models', 'register_timm')

install_bridges()


def __getattr__(name: str) -> Any:
    if name in HUB:
        from mmhrnet import hub

        return getattr(hub, name)
    if name == 'swap':
        from mmhrnet.config.swap import swap

        return swap
    if name in __all__:
        from mmhrnet import models

        return getattr(models, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
