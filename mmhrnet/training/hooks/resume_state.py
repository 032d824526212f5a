"""The checkpoint that a training resumes from, as MMEngine and our hooks save it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Len
from mmengine.logging import HistoryBuffer
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

Count = Annotated[int, Field(ge=0)]
Word = Annotated[int, Field(ge=0, lt=2**32)]
Parameter = int | str  # its number; its name where the model is sharded
Name = Annotated[str, Len(max_length=200)]  # MMEngine searches it for patterns


def _check_generator(state: Tensor) -> Tensor:
    try:
        torch.Generator().set_state(state.cpu())
    except (RuntimeError, TypeError) as error:
        raise ValueError('it is not the state of a random generator') from error
    return state


def _check_position(words: tuple[int, ...]) -> tuple[int, ...]:
    if words[-1] > 624:
        raise ValueError('the position is beyond the words')
    return words


def _check_history(value: object) -> object:
    """MMEngine leaves out what is not a HistoryBuffer, and trusts one that is."""
    if isinstance(value, HistoryBuffer):
        data = [vars(value).get(name) for name in ('_log_history', '_count_history')]
        is_numbers = [
            isinstance(d, np.ndarray) and d.ndim == 1 and d.dtype.kind in 'fiu' for d in data
        ]
        if not all(is_numbers) or len(data[0]) != len(data[1]):
            raise ValueError('it is not a history of numbers')
    return value


class RandomState(TypedDict):
    """That of one process. Given a position beyond its 624 words, numpy reads other memory."""

    python: tuple[
        Literal[3],
        Annotated[tuple[Word, ...], Len(625, 625), AfterValidator(_check_position)],
        float | None,
    ]
    numpy: tuple[
        Literal['MT19937'],
        Annotated[list[Word], Len(624, 624)],
        Annotated[int, Field(ge=0, le=624)],
        Literal[0, 1],
        float,
    ]
    torch: Annotated[Tensor, AfterValidator(_check_generator)]
    cuda: Tensor | None


class ExactResume(TypedDict):
    """What ExactResumeHook saves."""

    random_states: list[RandomState]
    batches: Count


class Meta(TypedDict):
    epoch: Count
    iter: Count
    seed: NotRequired[Word | None]


class MessageHub(TypedDict):
    log_scalars: dict[Name, Annotated[object, AfterValidator(_check_history)]]
    runtime_info: dict[str, object]
    resumed_keys: dict[str, bool]


class ParamGroup(TypedDict):
    params: list[Parameter]


class OptimizerState(TypedDict):
    state: dict[Parameter, dict[str, object]]
    param_groups: list[ParamGroup]


Schedules = list[dict[str, object]]


@with_config(ConfigDict(strict=True, arbitrary_types_allowed=True))
class Checkpoint(TypedDict):
    """Optimizer and schedules are absent where a run does not save them."""

    state_dict: dict[str, object]
    meta: Meta
    message_hub: MessageHub
    optimizer: NotRequired[OptimizerState | dict[str, OptimizerState] | None]
    param_schedulers: NotRequired[Schedules | dict[str, Schedules] | None]
    exact_resume: NotRequired[ExactResume | None]
    evaluated: NotRequired[object]


CHECKPOINT = TypeAdapter(Checkpoint)


def find_oddity(checkpoint: Mapping[str, object]) -> str | None:
    """What in a checkpoint is not as a training saves it, as one line."""
    try:
        CHECKPOINT.validate_python(checkpoint)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # Besides keys and indices, it names the classes of a union.
        place = [str(part) for part in first['loc'] if re.fullmatch('[a-z_]+|[0-9]+', str(part))]
        return f'its {".".join(place):.100} is not as a training saves it: {first["msg"]:.100}'
    return None
