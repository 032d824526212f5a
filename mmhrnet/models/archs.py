"""The HRNet architectures as data (arXiv 1908.07919, Table XIV and Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, Literal, NamedTuple

from mmhrnet.errors import ConfigError, plural, suggest
from mmhrnet.models.checks import check_choice, check_count, check_keys, is_count

Block = Literal['BASIC', 'BOTTLENECK']
EXPANSION: dict[Block, int] = {'BASIC': 1, 'BOTTLENECK': 4}
STAGES = ('stage1', 'stage2', 'stage3', 'stage4')
STAGE_KEYS = ('num_modules', 'block', 'num_blocks', 'num_channels')
KNOWN_STAGE_KEYS = (*STAGE_KEYS, 'num_branches', 'multiscale_output')


class Stage(NamedTuple):
    """One stage: ``modules`` multi-resolution modules, ``blocks[i]`` units on stream ``i``."""

    modules: int
    block: Block
    blocks: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def out_channels(self) -> tuple[int, ...]:
        return tuple(c * EXPANSION[self.block] for c in self.channels)


def _arch(
    width: int, modules: Sequence[int] = (1, 4, 3), blocks: int = 4, stem: tuple[int, int] = (4, 64)
) -> tuple[Stage, ...]:
    """Stage 1 is ``stem[0]`` bottlenecks of width ``stem[1]``; stream ``i`` has width * 2^i."""
    parallel = [
        Stage(m, 'BASIC', (blocks,) * s, tuple(width << i for i in range(s)))
        for s, m in enumerate(modules, start=2)
    ]
    return (Stage(1, 'BOTTLENECK', (stem[0],), (stem[1],)), *parallel)


# The small ones are those of the official classification and segmentation repositories.
ARCHS: dict[str, tuple[Stage, ...]] = {
    'w18_small_v1': _arch(16, modules=(1, 1, 1), blocks=2, stem=(1, 32)),
    'w18_small_v2': _arch(18, modules=(1, 3, 2), blocks=2, stem=(2, 64)),
    **{f'w{width}': _arch(width) for width in (18, 30, 32, 40, 44, 48, 64)},
}


def list_archs(pattern: str = '*') -> list[str]:
    """Names of the architectures that fit a shell pattern, narrowest first.

    Example:
        >>> list_archs('w4*')
        ['w40', 'w44', 'w48']
    """
    return [name for name in ARCHS if fnmatch(name, pattern)]


def resolve_stages(arch: str | Mapping[str, object]) -> tuple[Stage, ...]:
    """Stages of a named architecture, or of a host library's ``extra`` dict.

    Raises:
        ConfigError: Unknown name, or a description that is not four stages of one to four streams.
    """
    if isinstance(arch, Mapping):
        check_keys('The stage description', arch, (*STAGES, 'upsample'), STAGES)
        return tuple(_parse_stage(name, arch[name]) for name in STAGES)
    if not isinstance(arch, str):
        raise ConfigError(f'arch={arch!r} must be a dict of stage1 to stage4, or a name like w32')
    if arch not in ARCHS:
        hint = suggest(arch, ARCHS)
        raise ConfigError(f'arch={arch!r} is unknown: {hint}Known are {", ".join(ARCHS)}')
    return ARCHS[arch]


def as_extra(arch: str) -> dict[str, dict[str, object]]:
    """The ``extra`` of the host libraries for a named architecture."""
    return {
        f'stage{index}': dict(
            num_modules=stage.modules,
            num_branches=index,
            block=stage.block,
            num_blocks=stage.blocks,
            num_channels=stage.channels,
        )
        for index, stage in enumerate(resolve_stages(arch), start=1)
    }


def _parse_stage(name: str, given: object) -> Stage:
    cfg = check_keys(name, given, KNOWN_STAGE_KEYS, STAGE_KEYS)
    block = check_choice(f'{name}.block', cfg['block'], EXPANSION)
    modules = check_count(f'{name}.num_modules', cfg['num_modules'])
    streams = STAGES.index(name) + 1
    blocks, channels = cfg['num_blocks'], cfg['num_channels']
    _check_lists(name, num_blocks=blocks, num_channels=channels)
    for key, found in (
        ('num_branches', cfg.get('num_branches', streams)),
        ('len(num_blocks)', len(blocks)),
        ('len(num_channels)', len(channels)),
    ):
        if found != streams:
            raise ConfigError(
                f'{name}: {key} is {found!r}, but {name} has {plural(streams, "stream")}'
            )
    return Stage(modules, block, tuple(blocks), tuple(channels))


def _check_lists(stage: str, **lists: object) -> None:
    for key, values in lists.items():
        if not isinstance(values, (list, tuple)) or not all(map(is_count, values)):
            raise ConfigError(
                f'{stage}.{key}={values!r} must list positive integers, one for each stream'
            )


def extra_switches(arch: str | Mapping[str, object] | None) -> dict[str, Any]:
    """The constructor arguments that mmpose keeps inside ``extra``.

    Raises:
        ConfigError: ``upsample`` or ``stage4`` is not a dict, or has an unknown key.
    """
    if not isinstance(arch, Mapping):
        return {}
    upsample = check_keys("extra['upsample']", arch.get('upsample', {}), ('mode', 'align_corners'))
    stage4 = check_keys('stage4', arch.get('stage4', {}), KNOWN_STAGE_KEYS)
    switches = {
        'upsample': upsample.get('mode'),
        'align_corners': upsample.get('align_corners'),
        'multiscale_output': stage4.get('multiscale_output'),
    }
    return {name: value for name, value in switches.items() if value is not None}
