"""Models of configs, and the part of them that maps images to tensors."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmhrnet.apis.config import use_scratch


class TensorModel(nn.Module):
    """What a host's model does between its preprocessing and its decoding.

    Input: normalized images ``(N, 3, H, W)``. Output: a tuple of tensors, those of the head or,
    without it, the maps of the neck.
    """

    def __init__(self, model: nn.Module, with_head: bool) -> None:
        super().__init__()
        self.model, self.with_head = model, with_head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if self.with_head:
            outputs = self.model(images, None, mode='tensor')
        else:
            outputs = self.model.extract_feat(images)  # type: ignore[operator]
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def build_tensor_model(cfg: Config) -> TensorModel:
    """The tensor part of a config's model, without its pretrained weights.

    Pose, segmentation and classification come with their heads; detectors and bottom-up pose
    estimators without, because what those do depends on the image.
    """
    init_default_scope(cfg.default_scope)
    use_scratch(cfg)
    with_head = cfg.default_scope != 'mmdet' and 'Bottomup' not in cfg.model.type
    return TensorModel(MODELS.build(cfg.model), with_head)
