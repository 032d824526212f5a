"""The description of a data set that comes with weights: class names, colours, joints.

The hosts draw and flip by it without checking it.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

Listed = BeforeValidator(lambda value: value.tolist() if isinstance(value, np.ndarray) else value)
Names = list[str] | tuple[str, ...] | str
Numbers = Annotated[list[float], Listed]
Colours = Annotated[list[tuple[int, int, int]] | str, Listed]


class DatasetMeta(BaseModel):
    """What the hosts read. A data set may say more, and nothing is required."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    classes: Names | None = None
    palette: Colours | None = None
    num_keypoints: int | None = None
    keypoint_id2name: dict[int, str] | None = None
    keypoint_name2id: dict[str, int] | None = None
    keypoint_colors: Colours | None = None
    flip_indices: Numbers | None = None
    dataset_keypoint_weights: Numbers | None = None
    sigmas: Numbers | None = None
    skeleton_links: list[tuple[int, int]] | None = None
    skeleton_link_colors: Colours | None = None


def find_oddity(described: object) -> str | None:
    """What in the description the hosts cannot read, as one line."""
    try:
        DatasetMeta.model_validate(described)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f'its {first["loc"][0] if first["loc"] else "form"}: {first["msg"]:.100}'
    return None
