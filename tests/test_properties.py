"""What holds for any architecture and any size: the promised maps, or one ValueError."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import nan
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p
from mmhrnet.models.archs import EXPANSION

few = settings(max_examples=25, derandomize=True, deadline=None, database=None)
many = settings(few, max_examples=200)

BLOCKS = st.sampled_from(list(EXPANSION))
SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))
BIG_ENOUGH = st.tuples(st.integers(32, 200), st.integers(32, 200))
JUNK = st.sampled_from(
    [None, 0, -1, 1.5, nan, True, '', '4', 'BASICBLOCK', (), [0], [None], {}, {'mode': 'cubic'}]
)
OPTIONS = st.fixed_dictionaries(
    {
        'multiscale_output': st.sampled_from([None, True, False]),
        'upsample': st.sampled_from([None, 'nearest', 'bilinear']),
        'in_channels': st.integers(1, 4),
        'frozen_stages': st.integers(-1, 4),
        'with_cp': st.booleans(),
        'memory_format': st.sampled_from([None, 'channels_last']),
    }
)


@st.composite
def stages(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Descriptions of small networks, in the form of the host libraries."""
    return {
        f'stage{streams}': {
            'num_modules': draw(st.integers(1, 2)),
            'num_branches': streams,
            'block': draw(BLOCKS),
            'num_blocks': draw(st.lists(st.just(1), min_size=streams, max_size=streams)),
            'num_channels': draw(st.lists(st.integers(1, 5), min_size=streams, max_size=streams)),
        }
        for streams in range(1, 5)
    }


def strided(side: int, stride: int) -> int:
    return -(-side // stride)


def check_maps(model: HRNet, size: tuple[int, int]) -> list[torch.Tensor]:
    """Runs the network on a batch of this size; its maps must be what it tells."""
    maps = list(model.eval()(torch.rand(2, model.in_channels, *size)))
    assert [tuple(y.shape) for y in maps] == [
        (2, channels, *(strided(side, stride) for side in size))
        for channels, stride in zip(model.out_channels, model.out_strides, strict=True)
    ]
    assert all(y.isfinite().all() for y in maps)
    return maps


@few
@given(extra=stages(), options=OPTIONS, size=BIG_ENOUGH)
def test_any_valid_architecture_gives_what_it_promises(
    extra: dict, options: dict, size: tuple[int, int]
) -> None:
    model = HRNet(extra=extra, **options)
    check_maps(model, size)
    last = extra['stage4']
    widths = tuple(c * EXPANSION[last['block']] for c in last['num_channels'])
    one = options['multiscale_output'] is False  # HRNetV1
    assert model.out_channels == (widths[:1] if one else widths)
    assert model.out_strides == ((4,) if one else (4, 8, 16, 32))


@few
@given(size=SIZES)
@example(size=(31, 32))
@example(size=(32, 32))
def test_any_size_works_from_32_on(size: tuple[int, int]) -> None:
    model = HRNet('w18_small_v1')
    if min(size) >= 32:
        check_maps(model, size)
        return
    with pytest.raises(ValueError, match='32 or more'):
        check_maps(model, size)


@few
@given(extra=stages(), size=BIG_ENOUGH, num_outs=st.integers(1, 7), stride=st.integers(1, 2))
def test_necks_give_what_they_promise(
    extra: dict, size: tuple[int, int], num_outs: int, stride: int
) -> None:
    model = HRNet(extra=extra)
    maps = check_maps(model, size)
    first = maps[0].shape[2:]
    (mixed,) = HRNetV2(model.out_channels).eval()(maps)
    assert mixed.shape == (2, sum(model.out_channels), *first)
    pyramid = HRNetV2p(model.out_channels, 3, num_outs=num_outs, stride=stride)
    if min(first) < 2 ** (num_outs - 1):
        with pytest.raises(ValueError, match=f'num_outs={num_outs}'):
            pyramid(maps)
        return
    levels = [tuple(y.shape) for y in pyramid(maps)]
    assert levels == [
        (2, 3, *(strided(side >> level, stride) for side in first)) for level in range(num_outs)
    ]


@settings(few, max_examples=6)
@given(extra=stages(), size=BIG_ENOUGH, out_channels=st.integers(1, 9), pool=st.booleans())
def test_the_classifiers_neck_gives_what_it_promises(
    extra: dict, size: tuple[int, int], out_channels: int, pool: bool
) -> None:
    model = HRNet(extra=extra)
    maps = check_maps(model, size)
    (y,) = HRNetC(model.out_channels, out_channels, pool=pool).eval()(maps)
    assert y.shape == (2, out_channels, *(() if pool else maps[3].shape[2:]))


def made_or_refused(make: Callable[..., nn.Module], **options: object) -> Any:
    """The module, or None if it was refused with one error in a sentence."""
    try:
        return make(**options)
    except ValueError as error:
        assert len(str(error)) > 20  # noqa: PT017
        return None


@st.composite
def spoiled(draw: st.DrawFn) -> dict:
    """A valid description in which one to three places are deleted, renamed or of another type."""
    extra: Any = deepcopy(draw(stages()))
    for _ in range(draw(st.integers(1, 3))):
        node = extra
        if draw(st.booleans()) and extra:
            inner = extra[draw(st.sampled_from(sorted(extra)))]
            node = inner if isinstance(inner, dict) and inner else extra
        if not node:
            break
        key = draw(st.sampled_from(sorted(node)))
        change = draw(st.sampled_from(['delete', 'rename', 'retype', 'retype']))
        value = node[key] if change == 'retype' else node.pop(key)
        if change == 'rename':
            node[key[:-1]] = value
        if change == 'retype':
            node[key] = draw(JUNK)
    return extra


@many
@given(extra=spoiled())
def test_a_spoiled_description_is_one_error_or_a_working_network(extra: dict) -> None:
    if model := made_or_refused(HRNet, extra=extra):
        check_maps(model, (32, 40))


@many
@given(
    name=st.sampled_from(
        [
            *('norm_cfg', 'conv_cfg', 'frozen_stages', 'upsample', 'align_corners', 'init_cfg'),
            *('memory_format', 'compile', 'with_cp', 'in_channels', 'multiscale_output'),
            *('norm_eval', 'pretrained', 'zero_init_residual', 'arch', 'extra', 'frozen_stage'),
        ]
    ),
    value=JUNK,
)
def test_an_option_of_any_type_is_one_error_or_a_working_network(name: str, value: Any) -> None:
    made_or_refused(HRNet, **{'arch': 'w18_small_v1', name: value})


@many
@given(
    neck=st.sampled_from([HRNetV2, HRNetV2p, HRNetC]),
    name=st.sampled_from(
        [
            *('in_channels', 'out_channels', 'num_outs', 'stride', 'pooling_type', 'bias', 'pool'),
            *('conv_cfg', 'norm_cfg', 'init_cfg', 'with_cp', 'align_corners'),
        ]
    ),
    value=JUNK,
)
def test_an_option_of_a_neck_is_one_error_or_a_working_neck(
    neck: type, name: str, value: Any
) -> None:
    maps = [torch.zeros(1, 4, 16 >> level, 16 >> level) for level in range(4)]
    if model := made_or_refused(neck, **{'in_channels': [4] * 4, 'out_channels': 2, name: value}):
        assert model.eval()(maps)
