"""Bridges over the gaps of upstream: one file a gap, each stepping aside where upstream is whole.

A bridge is a module with ``reason()``, which says why it is needed in this environment or None,
and ``install()``. Both are light: nothing of torch, mmcv or a host library is imported before a
user imports it.
"""

from __future__ import annotations

from mmhrnet.bridges import (
    host_bounds,
    mmcv_ext,
    mmengine_build,
    mmengine_checkpoint,
    mmengine_configs,
    mmengine_fsdp,
    mmengine_mmcv_ops,
    mmengine_packages,
    mmengine_paths,
    mmpose_circles,
    mmpose_resize,
    mmpretrain_transformers,
    mmseg_resize,
    pycocotools,
    xtcocotools,
)

BRIDGES = (
    mmcv_ext,
    host_bounds,
    mmengine_build,
    mmengine_checkpoint,
    mmengine_configs,
    mmengine_fsdp,
    mmengine_mmcv_ops,
    mmengine_packages,
    mmengine_paths,
    mmpose_circles,
    mmpose_resize,
    mmpretrain_transformers,
    mmseg_resize,
    pycocotools,
    xtcocotools,
)


def install_bridges() -> None:
    """Installs every bridge that this environment needs; a second call changes nothing."""
    for bridge in BRIDGES:
        if bridge.reason() is not None:
            bridge.install()


def bridge_reasons() -> dict[str, str | None]:
    """Name of each bridge, and why it is active or None."""
    return {bridge.__name__.rpartition('.')[2]: bridge.reason() for bridge in BRIDGES}
