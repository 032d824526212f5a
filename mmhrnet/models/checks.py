"""Checks of arguments: each mistake is one ConfigError that names the argument and the fix."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import isclass, signature
from typing import Any, Concatenate, ParamSpec, TypeGuard, TypeVar

import torch
from mmengine.registry import WEIGHT_INITIALIZERS, Registry
from torch import Tensor
from torch.fx import Proxy

from mmhrnet.errors import ConfigError, suggest
from mmhrnet.registry import MODELS

Object = TypeVar('Object')
Arguments = ParamSpec('Arguments')
Choice = TypeVar('Choice', bound=str)
LAYERS = {  # the usual types
    'conv_cfg': ('Conv2d', 'Conv', 'DCN', 'DCNv2'),
    'norm_cfg': ('BN', 'SyncBN', 'GN', 'LN', 'IN'),
}
# What PyTorch and mmcv raise for configs that they cannot build.
BUILD_ERRORS = (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError)


def check_arguments(
    init: Callable[Concatenate[Object, Arguments], None],
) -> Callable[Concatenate[Object, Arguments], None]:
    """Decorates an ``__init__``: arguments that it does not take are a ConfigError."""
    accepted = signature(init)
    known = [name for name in accepted.parameters if name != 'self']

    @wraps(init)
    def checked(self: Object, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        name = type(self).__name__
        check_keys(name, kwargs, known)
        try:
            accepted.bind(self, *args, **kwargs)
        except TypeError as error:
            raise ConfigError(f'{name}: {error}. It takes {", ".join(known)}') from error
        init(self, *args, **kwargs)

    return checked


def check_keys(
    name: str, given: object, known: Collection[str], required: Collection[str] = ()
) -> Mapping[str, Any]:
    """Returns a dict if all of its keys are known and no required one is missing."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'{name}={given!r} must be a dict of {", ".join(known)}')
    for key in given:
        if key not in known:
            hint = suggest(key, known)
            raise ConfigError(f'{name} does not take {key!r}: {hint}It takes {", ".join(known)}')
    missing = [key for key in required if key not in given]
    if missing:
        raise ConfigError(f'{name} lacks {", ".join(missing)}: it has {", ".join(given)}')
    return given


def is_count(value: object, least: int = 1) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_count(name: str, value: object) -> int:
    if not is_count(value):
        raise ConfigError(f'{name}={value!r} must be a positive integer')
    return value


def check_flags(**flags: object) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f'{name}={value!r} must be True or False')


def check_choice(name: str, value: object, known: Collection[Choice]) -> Choice:
    for choice in known:
        if isinstance(value, str) and value == choice:
            return choice
    choices = ' or '.join(map(repr, known))
    raise ConfigError(f'{name}={value!r} is unknown: {suggest(value, known)}It must be {choices}')


def check_widths(in_channels: object) -> tuple[int, ...]:
    """Channels of several maps, as a tuple."""
    if isinstance(in_channels, Sequence) and in_channels and all(map(is_count, in_channels)):
        return tuple(in_channels)
    raise ConfigError(
        f'in_channels={in_channels!r} must list the channels of each input, positive integers'
    )


def can_check(x: object) -> bool:
    """Whether inputs have shapes to look at: not under torch.fx, and not in a compiled graph."""
    first = x[0] if isinstance(x, (list, tuple)) and x else x
    return not (torch.compiler.is_compiling() or isinstance(first, Proxy))


def check_maps(name: str, xs: object, channels: Sequence[int]) -> None:
    """Maps (N, channels[i], H_i, W_i), one for each of the channels."""
    if not isinstance(xs, (list, tuple)) or not all(isinstance(x, Tensor) for x in xs):
        raise ConfigError(f'{name} takes a list or tuple of maps, not {_describe(xs)}')
    shapes = [tuple(x.shape) for x in xs]
    if any(len(shape) != 4 for shape in shapes):
        raise ConfigError(f'{name} takes maps (N, C, H, W), not of the shapes {shapes}')
    found = tuple(shape[1] for shape in shapes)
    if found != tuple(channels):
        raise ConfigError(f'{name} got maps of {found} channels, but takes {tuple(channels)}')


def check_image(name: str, x: object, channels: int, smallest: int) -> None:
    """Images (N, channels, H, W) of floating-point numbers."""
    takes = f'one Tensor (N, {channels}, H, W) with H and W of {smallest} or more'
    if not isinstance(x, Tensor):
        raise ConfigError(f'{name} got {_describe(x)}, but takes {takes}')
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < smallest:
        raise ConfigError(f'{name} got the shape {tuple(x.shape)}, but takes {takes}')
    if not x.is_floating_point():
        raise ConfigError(f'{name} got an input of {x.dtype}: normalize it, or call x.float()')


def check_init_cfg(init_cfg: dict | list[dict] | None) -> None:
    """None, or one or a list of dicts with a type that MMEngine knows."""
    if init_cfg is None:
        return
    for cfg in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        check_cfg('init_cfg', cfg, WEIGHT_INITIALIZERS, list(WEIGHT_INITIALIZERS.module_dict))
        if cfg['type'] == 'Pretrained' and not isinstance(cfg.get('checkpoint'), str):
            raise ConfigError(f'init_cfg={cfg!r} must name a checkpoint, its path or URL')


def check_cfg(name: str, cfg: object, registry: Registry, known: Collection[str]) -> None:
    """A dict whose type is a class, or a name in the registry or in that of the running host."""
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        example = f'dict(type={next(iter(known))!r}, ...)'
        raise ConfigError(f'{name}={cfg!r} must be a dict with a type, like {example}')
    kind = cfg['type']
    with registry.switch_scope_and_registry(None) as host:
        found = isclass(kind)
        if isinstance(kind, str):
            found = bool(registry.get(kind) or host.get(kind))
    if not found:
        hint = suggest(kind, known)
        raise ConfigError(f'{name}: type {kind!r} is unknown: {hint}Known are {", ".join(known)}')


def check_layers(conv_cfg: object, norm_cfg: object) -> None:
    """Types that a registry knows; None is the default."""
    for name, cfg in (('conv_cfg', conv_cfg), ('norm_cfg', norm_cfg)):
        if cfg is not None:
            check_cfg(name, cfg, MODELS, LAYERS[name])


@contextmanager
def building(**cfgs: object) -> Iterator[None]:
    """Says which configs a layer could not be built with; a lack of memory keeps its own words."""
    try:
        yield
    except BUILD_ERRORS as error:
        given = ' and '.join(f'{name}={cfg!r}' for name, cfg in cfgs.items() if cfg is not None)
        if not given or (isinstance(error, RuntimeError) and 'memory' in str(error)):
            raise
        raise ConfigError(f'No layer can be built with {given}: {_reason(error)}') from error


def _reason(error: Exception) -> str:
    """The error in one line; an assertion may come without words, a KeyError in quotes."""
    text = str(error.args[0]) if error.args else 'an argument is missing (GN needs num_groups)'
    return text.partition('\n')[0]


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f'one Tensor {tuple(value.shape)}'
    if isinstance(value, (list, tuple)):
        return f'{type(value).__name__} of {sorted({type(x).__name__ for x in value})}'
    return type(value).__name__
