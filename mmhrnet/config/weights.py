"""Where the weights of a config are, and whether they are all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.model import is_model_wrapper
from torch import nn

from mmhrnet.checkpoints import CheckpointError, left_random, summary
from mmhrnet.errors import ConfigError
from mmhrnet.hub.published import metafile_models

TRAIN = 'Train some: mmhrnet train {config} (--mini: minutes, on the embedded data set)'


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


@contextmanager
def loading(weights: str) -> Iterator[None]:
    """Where MMEngine loads weights: what is wrong with the file names it, as a ConfigError."""
    try:
        yield
    except (OSError, CheckpointError) as error:
        raise ConfigError(f'The weights {weights} cannot be loaded: {error}') from error


def check_complete(model: nn.Module, weights: str) -> None:
    """Raises a ConfigError if the weights that were loaded lack tensors of the model.

    Training may begin with a random head; what is tested or shown may not have one.
    """
    new = left_random(model.get_submodule('module') if is_model_wrapper(model) else model)
    if new:
        raise ConfigError(
            f'The weights {weights} leave parts of this model random: {summary(new)}. '
            'Take the config that their training left in its work folder'
        )
