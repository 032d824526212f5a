"""What a host tells about its whole models, which take a picture and return the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mmhrnet.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.structures import BaseDataElement
    from torch import Tensor

Outputs = dict[str, 'Tensor']
File = Callable[['Tensor'], Outputs]  # of the host's images, BGR (N, 3, H, W)
UNSEEN = ('LoadImage', 'LoadImageFromFile', 'LoadAnnotations')  # steps that keep the picture


class Step(NamedTuple):
    """A step of a test's pipeline that the runtime repeats.

    Attributes:
        options: Its options with their defaults, which go into the file.
        fixed: Options that the runtime knows one value of.
    """

    options: Mapping[str, object]
    fixed: Mapping[str, object]


class Decoder(NamedTuple):
    """What turns the tensors of a head into results.

    Attributes:
        name: A key of ``mmhrnet.deploy.decode.DECODERS``.
        options: Its arguments.
    """

    name: str
    options: Mapping[str, object]


class Whole(NamedTuple):
    """How the models of a host become files that turn a picture into the result.

    Attributes:
        steps: The steps of its tests that the runtime repeats, by their type.
        describe: What the results of a model mean, from its meta information, as plain data for the
            file: names and colours.
        decoder: What follows the head of a model. Raises a ConfigError if a file cannot hold it.
        predict: The host's own prediction for RGB images (N, H, W, 3) uint8 of the size of the
            input, by the names of the outputs of the file.
        fill: Writes the outputs of a file into data samples as if the model had predicted them.
        run: The outputs for a batch of the host's images. It gets the model, what the file says
            about itself, the file, and the images.
        flips: Indices of the joints in a mirrored picture; empty if nothing is mirrored.
    """

    steps: Mapping[str, Step]
    describe: Callable[[Any, Mapping[str, object]], dict[str, object]]
    decoder: Callable[[Any], Decoder]
    predict: Callable[[Any, Tensor], Outputs]
    fill: Callable[[Any, Outputs, Sequence[Any]], Sequence[BaseDataElement]]
    run: Callable[[Any, Mapping[str, Any], File, Tensor], Outputs] = (
        lambda _model, _about, file, images: file(images)
    )
    flips: Callable[[Mapping[str, object]], Sequence[int]] = lambda _: ()


def read_steps(cfg: Config, known: Mapping[str, Step]) -> list[dict[str, object]]:
    """The steps from a picture to the input of the network, with all of their options.

    Raises:
        ConfigError: A step or an option that the runtime does not know.
    """
    return list(_read(cfg, known))


def _read(cfg: Config, known: Mapping[str, Step]) -> Iterator[dict[str, object]]:
    for step in cfg.test_dataloader.dataset.pipeline:
        given = dict(step)
        kind = str(given.pop('type')).rpartition('.')[2]
        if kind in UNSEEN or kind.startswith('Pack'):
            continue
        if kind not in known:
            raise ConfigError(
                f'The test pipeline has the step {kind}, which the runtime does not know: '
                'export --raw or --features'
            )
        options, fixed = known[kind]
        odd = [k for k in given if k not in options and given[k] != fixed.get(k, given)]
        if odd:
            raise ConfigError(
                f'The runtime does not know {odd[0]}={given[odd[0]]!r} of {kind}: export --raw or '
                '--features'
            )
        yield {'type': kind, **{key: given.get(key, options[key]) for key in options}}
