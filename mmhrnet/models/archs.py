"""The HRNet architectures as data (arXiv 1908.07919, Table XIV and Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import Any, NamedTuple

EXPANSION = {'BASIC': 1, 'BOTTLENECK': 4}


class Stage(NamedTuple):
    """One stage: ``modules`` multi-resolution modules, ``blocks[i]`` units on stream ``i``."""

    modules: int
    block: str
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


def resolve_stages(arch: str | Mapping[str, Any]) -> tuple[Stage, ...]:
    """Stages of a named architecture, or of a host library's ``extra`` dict.

    Raises:
        ValueError: Unknown name, or a description that is not four stages of one to four streams.
    """
    if isinstance(arch, Mapping):
        return tuple(_parse_stage(arch, index) for index in range(1, 5))
    if arch not in ARCHS:
        close = get_close_matches(str(arch), ARCHS, n=1)
        hint = f'did you mean {close[0]!r}? ' if close else ''
        raise ValueError(f'arch={arch!r} is unknown: {hint}Known are {", ".join(ARCHS)}')
    return ARCHS[arch]


def as_extra(arch: str) -> dict[str, dict[str, Any]]:
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


def _parse_stage(extra: Mapping[str, Any], index: int) -> Stage:
    name = f'stage{index}'
    if name not in extra:
        raise ValueError(f'The stage description has no {name!r}, it has {sorted(extra)}')
    cfg = extra[name]
    missing = {'num_modules', 'block', 'num_blocks', 'num_channels'} - set(cfg)
    if missing:
        raise ValueError(f'{name} lacks {sorted(missing)}, it has {sorted(cfg)}')
    if cfg['block'] not in EXPANSION:
        raise ValueError(f'{name}.block={cfg["block"]!r} is unknown: use one of {list(EXPANSION)}')
    stage = Stage(
        cfg['num_modules'], cfg['block'], tuple(cfg['num_blocks']), tuple(cfg['num_channels'])
    )
    _check_streams(name, stage, index, cfg.get('num_branches', index))
    return stage


def _check_streams(name: str, stage: Stage, index: int, num_branches: int) -> None:
    for key, found in (
        ('num_branches', num_branches),
        ('len(num_blocks)', len(stage.blocks)),
        ('len(num_channels)', len(stage.channels)),
    ):
        if found != index:
            raise ValueError(f'{name}: {key} is {found}, but stage {index} has {index} stream(s)')
    counts = (stage.modules, *stage.blocks, *stage.channels)
    if not all(isinstance(n, int) and n > 0 for n in counts):
        raise ValueError(f'{name}: modules, blocks and channels must be positive integers: {stage}')


def extra_switches(arch: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The constructor arguments that mmpose keeps inside ``extra``."""
    if not isinstance(arch, Mapping):
        return {}
    upsample, stage4 = arch.get('upsample', {}), arch.get('stage4', {})
    switches = {'upsample': upsample.get('mode'), 'align_corners': upsample.get('align_corners')}
    switches['multiscale_output'] = stage4.get('multiscale_output')
    return {name: value for name, value in switches.items() if value is not None}
