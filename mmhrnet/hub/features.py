"""The maps inside HRNet, numbered and described as timm does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partialmethod
from typing import Any, Literal, TypedDict

from torch import Tensor, nn

from mmhrnet.errors import ConfigError
from mmhrnet.models import HRNet, HRNetC
from mmhrnet.models.checks import check_choice
from mmhrnet.models.necks import HEAD_WIDTHS

NUM_MAPS = 5  # the stem's at 1/2 and the four streams
STREAMS = (1, 2, 3, 4)
Location = Literal['', 'incre']


class MapInfo(TypedDict):
    """A map as timm describes it: channels, stride in pixels, the part it comes from, its place."""

    num_chs: int
    reduction: int
    module: str
    index: int


class FeatureInfo:
    """Describes the maps of a model, with the methods of timm's class of this name.

    Attributes:
        info: Every map of the model.
        out_indices: The maps that the model returns; the methods describe these by default.
    """

    def __init__(self, info: Sequence[MapInfo], out_indices: Sequence[int]) -> None:
        self.info = info
        self.out_indices = tuple(out_indices)

    def get(
        self,
        key: Literal['num_chs', 'reduction', 'module', 'index'],
        idx: int | Sequence[int] | None = None,
    ) -> Any:
        """The value of one map, or a list of those of several."""
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[i][key] for i in (self.out_indices if idx is None else idx)]

    channels = partialmethod(get, 'num_chs')
    reduction = partialmethod(get, 'reduction')
    module_name = partialmethod(get, 'module')

    def get_dicts(
        self, keys: Sequence[str] | None = None, idx: Sequence[int] | None = None
    ) -> list[dict[str, object]]:
        chosen = [dict(self.info[i]) for i in (self.out_indices if idx is None else idx)]
        return [{key: entry[key] for key in keys or entry} for entry in chosen]

    def from_other(self, out_indices: int | Sequence[int]) -> FeatureInfo:
        return FeatureInfo(self.info, take_indices(out_indices, len(self)))

    def __getitem__(self, index: int) -> MapInfo:
        return self.info[index]

    def __len__(self) -> int:
        return len(self.info)


def take_indices(indices: int | Sequence[int] | None, count: int = NUM_MAPS) -> list[int]:
    """Indices from 0 up: of all maps with None, the last n with an integer, negative from the end.

    Raises:
        ConfigError: There is no index, or one that is out of range.
    """
    if isinstance(indices, int):
        indices = range(count - indices, count)
    taken = list(range(count) if indices is None else indices)
    if not taken or not all(-count <= index < count for index in taken):
        raise ConfigError(f'The indices {taken} must be one or more of 0 to {count - 1}')
    return [index % count for index in taken]


def describe(backbone: HRNet, prefix: str = '', increased: bool = False) -> list[MapInfo]:
    """The five maps of a backbone, for :class:`FeatureInfo`."""
    stem, streams = f'{prefix}{backbone.norm_names[0]}', f'{prefix}stage4'
    widths = HEAD_WIDTHS if increased else backbone.out_channels
    maps = [(backbone.conv1.out_channels, 2, stem)]
    maps += [(width, 4 << i, streams) for i, width in enumerate(widths)]
    return [
        MapInfo(num_chs=width, reduction=stride, module=part, index=index)
        for index, (width, stride, part) in enumerate(maps)
    ]


def keep_maps(backbone: HRNet, highest: int) -> None:
    """Removes the last fusions into streams beyond an index, which would get no gradient."""
    last = backbone.stage4[-1]
    last.fuse_layers = last.fuse_layers[:highest]


def checkpoint_activations(backbone: HRNet, enable: bool = True) -> None:
    """Sets ``with_cp`` of a built backbone.

    Raises:
        ConfigError: It is compiled.
    """
    if enable and any(part._compiled_call_impl for part in backbone.modules()):
        raise ConfigError('Give either set_grad_checkpointing or compile=True')
    for part in backbone.modules():
        if hasattr(part, 'with_cp'):
            part.with_cp = enable


class Features(HRNet):
    """The maps of HRNet by index: 0 is the stem's at 1/2, 1 to 4 the streams at 1/4 to 1/32.

    The names in the state dict are those of ``HRNet``, and of timm's model of the same purpose.

    Args:
        arch: Name of an architecture, or a stage description like ``extra``.
        out_indices: Maps to return, in this order; an integer is the last so many.
        feature_location: '' gives the streams themselves; 'incre', timm's default, raises them
            to 128, 256, 512 and 1024 channels by the first layers of the classifier.
        options: Further arguments of ``HRNet``.

    Raises:
        ConfigError: Arguments that do not fit.
    """

    def __init__(
        self,
        arch: str | Mapping[str, object],
        *,
        out_indices: int | Sequence[int] = STREAMS,
        feature_location: Location = '',
        **options: Any,
    ) -> None:
        check_choice('feature_location', feature_location, ('', 'incre'))
        super().__init__(arch, **options)
        self.out_indices = take_indices(out_indices)
        highest = max(self.out_indices)
        keep_maps(self, highest)
        self.incre_modules: nn.ModuleList | None = None
        if feature_location:
            norms = {key: options[key] for key in ('conv_cfg', 'norm_cfg') if key in options}
            self.incre_modules = HRNetC(self.out_channels, **norms).increase_layers[:highest]
        self.feature_info = FeatureInfo(
            describe(self, '', bool(feature_location)), self.out_indices
        )
        self.out_channels = tuple(self.feature_info.channels())
        self.out_strides = tuple(self.feature_info.reduction())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        first, second = self.stem(x)
        streams = self.streams(second)
        if self.incre_modules is not None:
            streams = tuple(raised(y) for raised, y in zip(self.incre_modules, streams))
        maps = (first, *streams)
        return tuple(maps[index] for index in self.out_indices)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """As ``with_cp`` of ``HRNet``: less memory in training, more time."""
        checkpoint_activations(self, enable)
