"""What the web page calls: a prediction with all that there is to see of it, as files."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mmhrnet.config.build import normalization
from mmhrnet.datasets.images import read_image, write_png
from mmhrnet.errors import ConfigError
from mmhrnet.files import write_text
from mmhrnet.hosts.host import Things
from mmhrnet.inference.predict import Predictor
from mmhrnet.inference.records import describe_source
from mmhrnet.inference.stream_maps import plot_streams, record_streams
from mmhrnet.inference.web_choices import PUBLISHED, Choices
from mmhrnet.runtime import round_numbers, to_json

MAX_PIXELS = 25_000_000
WHOLE_IMAGE = 'none: the image is one person'


class Result(NamedTuple):
    """What a visitor gets.

    Attributes:
        picture: File of the drawn prediction.
        streams: File of the figure of the streams, unless the network did not run.
        found: What was found, rounded.
        json: File of the same, named after the image.
    """

    picture: Path
    streams: Path | None
    found: Things
    json: Path


class Demo(Choices):
    """What the page calls; the last few models stay in memory.

    Args:
        checkpoints: Folder to look for checkpoints in; no other file can be chosen.
        device: Device to run on; None is the GPU where there is one.
        results: Existing folder that takes the pictures, each result in a folder of its own.
    """

    def __init__(self, checkpoints: str | Path, device: str | None, results: str | Path) -> None:
        super().__init__(checkpoints)
        self.device, self.results = device, Path(results)
        self.predictor = lru_cache(maxsize=3)(self._predictor)

    def folders(self) -> list[Path]:
        """Those that visitors are not told of."""
        return [self.folder, self.results, Path.cwd(), Path.home()]

    def _predictor(
        self,
        config: str,
        checkpoint: str,
        detector: tuple[str, str] | None,
    ) -> Predictor:
        weights = None if checkpoint == PUBLISHED else self.folder / checkpoint
        persons = self.predictor(*detector, None) if detector else None
        path, _ = self.configs()[config]
        return Predictor(path, weights, detector=persons, device=self.device)

    def run(
        self,
        image: str | None,
        config: str,
        checkpoint: str,
        score: float,
        det_config: str = WHOLE_IMAGE,
        det_checkpoint: str = PUBLISHED,
    ) -> Result:
        """Predicts, and writes what there is to see.

        Raises:
            ConfigError: An image or a choice that cannot work.
        """
        if image is None:
            raise ConfigError('Drop an image first')
        pixels = read_image(image, MAX_PIXELS)
        _, host = self.configs()[config]
        takes = host.detectors and det_config != WHOLE_IMAGE
        detector = (det_config, det_checkpoint) if takes else None
        predictor = self.predictor(config, checkpoint, detector)
        predictor.score = score
        with record_streams(predictor.model) as streams:
            prediction = predictor(pixels)
        folder = Path(tempfile.mkdtemp(dir=self.results))
        picture, figure = folder / 'picture.png', None
        write_png(picture, prediction.picture[..., ::-1])
        if streams.image is not None:  # the pose estimator does not run where nobody is found
            shown = normalization(predictor.cfg).undo(streams.image)
            figure = plot_streams(streams, shown, folder / 'streams.png')
        found, name = round_numbers(prediction.found), Path(image)
        content = describe_source(predictor, pixels.shape[:2], image=name.name)
        json = folder / f'{name.stem}.json'
        write_text(json, to_json(content | {'found': found}))
        return Result(picture, figure, found, json)
