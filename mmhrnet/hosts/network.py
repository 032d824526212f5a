"""HRNet from a config, under the defaults of the host that runs it.

A config that only changes ``type='HRNet'`` to ``type='mmhrnet.HRNet'`` keeps its numbers, because
the host's defaults fill in what it does not set. ``HRNet(...)`` in Python ignores the hosts.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import DefaultScope

from mmhrnet.hosts import known_hosts
from mmhrnet.models.archs import extra_switches
from mmhrnet.models.hrnet import HRNet
from mmhrnet.registry import MODELS


@MODELS.register_module(name='HRNet')
def build_hrnet(registry: str = '', /, **cfg: Any) -> HRNet:
    """Builds :class:`HRNet` from a config, under the defaults of the host that runs it.

    Args:
        registry: Scope of the registry that builds it: the host if there is no default scope.
        cfg: Arguments of :class:`HRNet`.
    """
    scope, hosts = DefaultScope.get_current_instance(), known_hosts()
    host = hosts.get(scope.scope_name if scope else '') or hosts.get(registry)
    defaults = host.network if host else {}
    given = {**extra_switches(cfg.get('extra', cfg.get('arch'))), **cfg}
    if given.get('pretrained') is not None:
        given.setdefault('init_cfg', None)  # weights from a file replace the random ones
    return HRNet(**{**defaults, **given})
