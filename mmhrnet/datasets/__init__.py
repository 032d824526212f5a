"""The embedded mini data set: one small set of drawn scenes for all four tasks."""

from mmhrnet.datasets.mini import mini_root, write_mini
from mmhrnet.datasets.scene import (
    KEYPOINTS,
    OBJECT_CLASSES,
    OBJECT_PALETTE,
    SCENE_CLASSES,
    SEMANTIC_CLASSES,
    SEMANTIC_PALETTE,
    Instance,
    Scene,
    draw_scene,
)

__all__ = [
    'KEYPOINTS',
    'OBJECT_CLASSES',
    'OBJECT_PALETTE',
    'SCENE_CLASSES',
    'SEMANTIC_CLASSES',
    'SEMANTIC_PALETTE',
    'Instance',
    'Scene',
    'draw_scene',
    'mini_root',
    'write_mini',
]
