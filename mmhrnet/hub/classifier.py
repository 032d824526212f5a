"""HRNet as an ImageNet classifier with the methods of timm's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mmhrnet.errors import ConfigError
from mmhrnet.hub.features import checkpoint_activations, describe, keep_maps, take_indices
from mmhrnet.models import HRNet, HRNetC
from mmhrnet.models.checks import check_choice
from mmhrnet.models.on_hub import OnHub

IMAGENET_CLASSES = 1000
PREVIOUS_GROUP = (99999,)  # timm's sign for a part that belongs to the group before it
Pooling = Literal['avg', 'max', '']


class GlobalPool(nn.Module):
    """The average or the maximum of each channel, ``(N, C)``; '' keeps the map."""

    def __init__(self, pool_type: Pooling) -> None:
        super().__init__()
        check_choice('global_pool', pool_type, ('avg', 'max', ''))
        self.pool_type = pool_type

    def forward(self, x: Tensor) -> Tensor:
        if not self.pool_type:
            return x
        return x.mean(dim=(2, 3)) if self.pool_type == 'avg' else x.amax(dim=(2, 3))


class LinearHead(nn.Module):
    """A linear classifier of pooled features; none with ``num_classes`` 0."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class Classifier(nn.Module, OnHub, pipeline_tag='image-classification'):
    """HRNet-W*-C with the methods of timm's models and mmpretrain's parameter names.

    Output: logits ``(N, num_classes)``; with ``num_classes`` 0 pooled features ``(N, 2048)``, or
    the map ``(N, 2048, H/32, W/32)`` where ``global_pool`` is '' too.

    Args:
        backbone: The four streams, or the arguments of ``HRNet``.
        num_classes: Number of classes, or 0.
        global_pool: 'avg', 'max', or '' for none, which needs ``num_classes`` 0.
        drop_rate: Share of the pooled features that training drops.

    Attributes:
        num_classes: Number of classes.
        num_features: Channels of the map before pooling, and ``head_hidden_size`` after it.
        out_channels: Channels of the one map before pooling, that of :meth:`forward_features`.
        out_strides: Stride of that map with respect to the input, in pixels.
        feature_info: The maps of :meth:`forward_intermediates`, as timm describes them.
    """

    def __init__(
        self,
        backbone: HRNet | Mapping[str, Any],
        num_classes: int = IMAGENET_CLASSES,
        global_pool: Pooling = 'avg',
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        backbone = backbone if isinstance(backbone, HRNet) else HRNet(**backbone)
        neck = HRNetC(backbone.out_channels)
        self.backbone = backbone
        self.neck: nn.Module = nn.Sequential(neck)
        self.num_features = self.head_hidden_size = neck.final_layer.out_channels
        self.out_channels, self.out_strides = (self.num_features,), backbone.out_strides[-1:]
        self.feature_info = describe(backbone, 'backbone.')
        self.head_drop: nn.Module = nn.Dropout(drop_rate)
        self.global_pool = GlobalPool(global_pool)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """The map before pooling, ``(N, 2048, H/32, W/32)``."""
        return self._aggregate(self.backbone(x))

    def _aggregate(self, streams: tuple[Tensor, ...]) -> Any:
        maps = self.neck(streams)
        return maps[0] if len(maps) == 1 else maps  # several where the neck is pruned

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of that map, or its pooled features ``(N, 2048)`` with ``pre_logits``."""
        pooled = self.head_drop(self.global_pool(x))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,  # noqa: ARG002 (timm's)
        stop_early: bool = False,
        output_fmt: Literal['NCHW'] = 'NCHW',
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The stem's map at 1/2 (index 0), the streams (1 to 4), and the map before pooling.

        Args:
            x: Images ``(N, in_channels, H, W)``.
            indices: Maps to return: None all, n the last n, or a list.
            norm: Has no effect: no norm follows.
            stop_early: Compute only what the indices need.
            output_fmt: 'NCHW' only.
            intermediates_only: Return the list of maps alone.

        Returns:
            The map before pooling and the list of maps, or the list alone.

        Raises:
            ConfigError: No such index or format.
        """
        check_choice('output_fmt', output_fmt, ('NCHW',))
        taken = take_indices(indices)
        first, second = self.backbone.stem(x)
        if stop_early and intermediates_only and not any(taken):
            return [first for _ in taken]
        streams = self.backbone.streams(second)
        maps = [(first, *streams)[index] for index in taken]
        return maps if intermediates_only else (self._aggregate(streams), maps)

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,  # noqa: ARG002 (timm's)
        prune_head: bool = True,
    ) -> list[int]:
        """Removes what these maps of :meth:`forward_intermediates` do not need.

        Args:
            indices: As there.
            prune_norm: Has no effect: there is no last norm.
            prune_head: Remove the classifier and the layers before it, which need all streams.

        Returns:
            The indices, from 0 up.

        Raises:
            ConfigError: No such index.
        """
        taken = take_indices(indices)
        if prune_head or max(taken) < len(self.feature_info) - 1:
            keep_maps(self.backbone, max(taken))
            self.neck, self.head_drop = nn.Identity(), nn.Identity()
            self.reset_classifier(0, '')
        return taken

    def get_classifier(self) -> nn.Module:
        """The last layer, ``nn.Identity`` without classes."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: Pooling | None = None) -> None:
        """A new last layer for so many classes, or none with 0.

        Args:
            num_classes: Number of classes, or 0.
            global_pool: 'avg', 'max' or ''; None keeps the one there is.

        Raises:
            ConfigError: A negative number, or classes without pooling.
        """
        pool = GlobalPool(self.global_pool.pool_type if global_pool is None else global_pool)
        if num_classes < 0:
            raise ConfigError(f'num_classes={num_classes} must be 0 (pooled features) or more')
        if num_classes and not pool.pool_type:
            raise ConfigError(f"global_pool='' is for num_classes=0, not for {num_classes} classes")
        weight = next(self.backbone.parameters())
        head = LinearHead(self.num_features, num_classes).train(self.training)
        self.num_classes = num_classes
        self.global_pool, self.head = pool, head.to(weight.device, weight.dtype)
        self.note(num_classes=num_classes, global_pool=pool.pool_type)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """As ``with_cp`` of ``mmhrnet.HRNet``: less memory in training, more time."""
        checkpoint_activations(self.backbone, enable)

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Patterns by which timm orders parameters from input to output, for layer-wise rates."""
        stem = r'^backbone\.(?:conv|bn|gn|ln|in)[12]\.'
        if coarse:
            return dict(stem=stem, blocks=r'^backbone\.(?:layer|stage|transition)(\d+)')
        block = (r'^backbone\.(?:layer|stage)(\d+)\.(\d+)', None)
        transition = (r'^backbone\.transition(\d+)', PREVIOUS_GROUP)
        return dict(stem=stem, blocks=[block, transition])
