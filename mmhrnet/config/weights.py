"""Where the weights of a config are, and whether they are all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmhrnet.checkpoints import CheckpointError, fit, state_of, summary, unwrap
from mmhrnet.errors import ConfigError
from mmhrnet.hub.published import metafile_models

TRAIN = 'Train some: python tools/train.py {config} (--mini: minutes, on an embedded data set)'


def find_weights(config: str | Path, checkpoint: str | Path | None) -> str:
    """The checkpoint that is given, or the URL of the published one of the config.

    Raises:
        ConfigError: There is no such file, or nothing published.
    """
    if checkpoint is not None:
        if '://' not in str(checkpoint) and not Path(checkpoint).is_file():
            raise ConfigError(f'There is no checkpoint {checkpoint}')
        return str(checkpoint)
    name = Path(config).stem
    urls = [
        model['Weights']
        for model in metafile_models()
        if model['Name'] == name and 'Weights' in model
    ]
    if not urls:
        raise ConfigError(
            f'No weights are published for {name}: give a checkpoint. {TRAIN.format(config=config)}'
        )
    return urls[0]


def check_complete(model: nn.Module, weights: str) -> None:
    """Raises a ConfigError if the weights cannot be had, or lack tensors of the model.

    Training may begin with a random head; what is tested or shown may not have one.
    """
    network: Any = model.module if is_model_wrapper(model) else model
    try:
        new = _missing(network, weights)
    except (OSError, CheckpointError) as error:
        raise ConfigError(f'The weights {weights} cannot be loaded: {error}') from error
    if new:
        raise ConfigError(
            f'The weights {weights} leave parts of this model random: {summary(new)}. '
            'Take the config and options that they were trained with (--mini, --data-root, '
            '--cfg-options)'
        )


def _missing(network: nn.Module, weights: str) -> list[str]:
    checkpoint = CheckpointLoader.load_checkpoint(weights, map_location='cpu', logger='silent')
    state, own = state_of(checkpoint), network.state_dict()
    new = [name for name, tensor in own.items() if _shape(state.get(name)) != tensor.shape]
    return fit(unwrap(checkpoint), network)[1].new if new else []


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else None
