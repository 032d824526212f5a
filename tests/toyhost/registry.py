"""The registries of the library, which MMEngine finds by the scope ``toyhost``."""

from typing import Any

from mmengine import registry

OWN: dict[str, Any] = dict(scope='toyhost', locations=['toyhost.parts'])
DATASETS = registry.Registry('dataset', parent=registry.DATASETS, **OWN)
METRICS = registry.Registry('metric', parent=registry.METRICS, **OWN)
MODELS = registry.Registry('model', parent=registry.MODELS, **OWN)
TRANSFORMS = registry.Registry('transform', parent=registry.TRANSFORMS, **OWN)
VISUALIZERS = registry.Registry('visualizer', parent=registry.VISUALIZERS, **OWN)
