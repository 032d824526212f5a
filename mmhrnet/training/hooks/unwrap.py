"""What MMEngine may have wrapped: the model, and several optimizers."""

from __future__ import annotations

from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner


def model_of(runner: Runner) -> BaseModel:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
