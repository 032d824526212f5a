"""The networks of the hosts and of timm beside ours, with equal weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

from torch import Tensor, nn

from mmhrnet import checkpoints
from mmhrnet.hosts import Host, known_hosts
from mmhrnet.models.archs import resolve_stages


class Networks(NamedTuple):
    """Networks of one case, theirs by library, the reference first."""

    ours: nn.Module
    theirs: dict[str, nn.Module]


class Case(NamedTuple):
    """Networks, and the image size (height and width) at which papers or zoos count them."""

    title: str
    shape: tuple[int, int]
    build: Callable[[str], Networks]
    takes_maps: bool = False
    only_training: bool = False


class Together(nn.Module):
    """A backbone and what follows it."""

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        ys = self.neck(tuple(self.backbone(x)))
        return (ys,) if isinstance(ys, Tensor) else tuple(ys)


class TimmFeatures(nn.Module):
    """timm's classifier up to the map that is averaged."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        import timm

        self.net = timm.create_model(f'hrnet_{arch}', num_classes=0, global_pool='')
        for name, p in self.net.named_parameters():  # biases before norms, which ours lacks
            if name.endswith('bias') and name.startswith(('downsamp', 'final')):
                nn.init.zeros_(p)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.net(x),)


# Networks of other libraries, by the comparison of a host that they join.
OTHERS = {'cls': {'timm': TimmFeatures}}


def _same_weights(ours: nn.Module, theirs: dict[str, nn.Module]) -> Networks:
    """Loads our weights into theirs, under their names."""
    state = ours.state_dict()
    for network in theirs.values():
        target = network.state_dict()
        if isinstance(network, TimmFeatures):
            hosted = {name.replace('neck.', 'neck.0.'): value for name, value in state.items()}
            named = checkpoints.convert(hosted, 'timm')[0]
            fitted = {name: named.get(name.removeprefix('net.'), target[name]) for name in target}
        else:
            fitted = state
        network.load_state_dict(fitted)
    return Networks(ours, theirs)


def _channels(arch: str) -> tuple[int, ...]:
    return resolve_stages(arch)[-1].out_channels


def build(arch: str, name: str, host: Host, neck_alone: bool = False) -> Networks:
    """The networks of a comparison of a host."""
    comparison, modules = host.benchmarks[name], slice(-1 if neck_alone else 0, None)
    makers: dict[str, Callable[[], nn.Module]] = {
        host.name: lambda: _join(comparison.theirs(arch)[modules])
    }
    if not neck_alone:
        makers |= {library: partial(make, arch) for library, make in OTHERS.get(name, {}).items()}
    theirs = {library: make() for library, make in makers.items() if find_spec(library)}
    return _same_weights(_join(comparison.ours(arch)[modules]), theirs)


def _join(modules: Sequence[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else Together(*modules)


def _cases() -> Iterator[tuple[str, Case]]:
    """Those of all hosts, with a further one for each neck that is compared alone."""
    for host in known_hosts().values():
        for name, one in host.benchmarks.items():
            whole = partial(build, name=name, host=host)
            yield name, Case(one.title, one.shape, whole, only_training=one.only_training)
            if one.neck_alone:
                title = f'{one.title.partition(",")[0]}, the neck alone'
                neck = partial(whole, neck_alone=True)
                yield f'{name}-neck', Case(title, one.shape, neck, takes_maps=True)


CASES = dict(_cases())


def make_input(
    case: Case, arch: str, batch: int, shape: tuple[int, int], like: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """Random images, or the maps of the streams that a backbone would make of them."""
    height, width = shape
    if not case.takes_maps:
        return like.new_empty(batch, 3, height, width).normal_()
    return tuple(
        like.new_empty(batch, channels, -(-height // stride), -(-width // stride)).normal_().relu_()
        for channels, stride in zip(_channels(arch), (4, 8, 16, 32))
    )
