"""HRNet from a config, under the defaults of the host that runs it.

A config that only changes ``type='HRNet'`` to ``type='mmhrnet.HRNet'`` keeps its numbers: what
it leaves open is filled with the host's habit. ``HRNet(...)`` in Python takes no notice of hosts.
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
        registry: Scope of the registry that builds it, the host where there is no default scope.
        cfg: Arguments of :class:`HRNet`.
    """
    scope, hosts = DefaultScope.get_current_instance(), known_hosts()
    host = hosts.get(scope.scope_name if scope else '') or hosts.get(registry)
    defaults = host.network if host else {}
    given = {**extra_switches(cfg.get('extra', cfg.get('arch'))), **cfg}
    if given.get('pretrained') is not None:
        given.setdefault('init_cfg', None)  # weights from a file take the place of a random start
    return HRNet(**{**defaults, **given})
