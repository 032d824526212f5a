"""Names of models, ours and timm's, and what the weights behind them expect."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple

from mmhrnet.errors import ConfigError, listed
from mmhrnet.models import ARCHS

KINDS = ('hrnet', 'hrnetv1', 'hrnetv2', 'hrnetv2p')
NAMES = {f'{kind}_{arch}': (kind, arch) for kind in KINDS for arch in ARCHS}
# Architecture and tags of timm's names; without a tag, timm takes the first one.
TIMM_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    'hrnet_w18_small': ('w18_small_v1', ('gluon_in1k', 'ms_in1k')),
    'hrnet_w18_small_v2': ('w18_small_v2', ('gluon_in1k', 'ms_in1k')),
    'hrnet_w18': ('w18', ('ms_aug_in1k', 'ms_in1k')),
    **{f'hrnet_w{width}': (f'w{width}', ('ms_in1k',)) for width in (30, 32, 40, 44, 48, 64)},
    'hrnet_w18_ssld': ('w18', ('paddle_in1k',)),
    'hrnet_w48_ssld': ('w48', ('paddle_in1k',)),
}
IMAGENET: dict[str, object] = {
    'num_classes': 1000,
    'input_size': (3, 224, 224),
    'pool_size': (7, 7),
    'crop_pct': 0.875,
    'interpolation': 'bilinear',
    'mean': (0.485, 0.456, 0.406),
    'std': (0.229, 0.224, 0.225),
}
# How the weights of a tag differ from that.
TAGS: dict[str, dict[str, object]] = {
    'ms_in1k': {},
    'ms_aug_in1k': {'crop_pct': 0.95},
    'gluon_in1k': {'interpolation': 'bicubic'},
    'paddle_in1k': {'crop_pct': 0.95, 'test_crop_pct': 1.0, 'test_input_size': (3, 288, 288)},
}


class Name(NamedTuple):
    """What a name means.

    Attributes:
        kind: One of ``KINDS``.
        arch: Name of an architecture, or a stage description that has none.
        timm: Full name of timm's weights, if only timm has it.
    """

    kind: str
    arch: str | Mapping[str, object]
    timm: str = ''

    @property
    def label(self) -> str:
        return f'{self.kind}_{self.arch}' if isinstance(self.arch, str) else self.kind


def parse_name(name: str) -> Name:
    """Reads a name of ours, or one of timm's with or without the tag of its weights.

    Raises:
        ConfigError: An unknown name or tag.
    """
    if name in NAMES:
        return Name(*NAMES[name])
    base, _, tag = name.partition('.')
    if base not in TIMM_NAMES:
        close = ' or '.join(map(repr, get_close_matches(name, [*NAMES, *TIMM_NAMES], n=2)))
        hint = f'did you mean {close}? ' if close else ''
        raise ConfigError(f'There is no model {name!r}: {hint}mmhrnet.list_models() names them all')
    arch, tags = TIMM_NAMES[base]
    if tag and tag not in tags:
        known = listed(weights_of_timm(arch))
        raise ConfigError(f'There are no weights {name!r}: timm has {known}')
    return Name('hrnet', arch, f'{base}.{tag or tags[0]}')


def weights_of_timm(arch: str) -> list[str]:
    """Full names of all weights of an architecture that timm has."""
    return [
        f'{name}.{tag}' for name, (of, tags) in TIMM_NAMES.items() if of == arch for tag in tags
    ]


def default_cfg(
    tag: str = '', *, prefix: str = '', classifier: str | None = None
) -> dict[str, object]:
    """The ``default_cfg`` of timm's models.

    Args:
        tag: Tag of timm's weights.
        prefix: What precedes the names of the backbone's parameters.
        classifier: Name of the last layer; None where the model does not classify.
    """
    cfg = IMAGENET | TAGS.get(tag, {})
    if classifier is None:
        cfg |= {'num_classes': 0, 'pool_size': None}
    return cfg | {'first_conv': f'{prefix}conv1', 'classifier': classifier}
