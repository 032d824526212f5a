"""The parallel streams of a config's network for one image, as a figure."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import Unpack

from mmhrnet.config.build import normalization
from mmhrnet.datasets.images import read_image
from mmhrnet.errors import ConfigError
from mmhrnet.files import beside, check_file
from mmhrnet.inference.predict import Options, Predictor
from mmhrnet.inference.stream_maps import plot_streams, record_streams
from mmhrnet.terminal import CONSOLE


def visualize_streams(
    image: str | Path,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    *,
    out: str | Path = 'work_dirs/streams.png',
    **options: Unpack[Options],
) -> Path:
    """Draws the maps of each stream for an image, through the config's own test pipeline.

    Args:
        image: Image file.
        config: Config file of any host, with ``mmhrnet.HRNet`` as its backbone; None takes the
            config that the checkpoint contains.
        checkpoint: Its weights; None takes the published ones of the config.
        out: PNG file to write.
        options: Those of :class:`Predictor`.

    Raises:
        ConfigError: Arguments, weights or an image that cannot work.
    """
    pixels = read_image(image)
    check_file(out)
    predictor = Predictor(config, checkpoint, **options)
    try:
        with record_streams(predictor.model) as streams:
            predictor(pixels)
    except ConfigError as error:
        raise ConfigError(f'{predictor.cfg.filename}: {error}') from error
    assert streams.image is not None  # noqa: S101
    with beside(out) as path:
        plot_streams(streams, normalization(predictor.cfg).undo(streams.image), path)
    CONSOLE.print(f'streams: {out}')
    return Path(out)
