"""Pictures of predictions and of ground truth, drawn by the hosts' own visualizers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import mmcv
import numpy as np
import torch
from matplotlib import rc_context
from mmengine.config import Config
from mmengine.registry import VISUALIZERS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmhrnet.datasets.images import write_png
from mmhrnet.hosts import host_of
from mmhrnet.hosts.captions import caption
from mmhrnet.hosts.host import Look

if TYPE_CHECKING:
    from mmengine.structures import BaseDataElement
    from mmengine.visualization import Visualizer

GAP = 12  # pixels between the two pictures of a pair
SIDE = 480  # pixels that a small image is enlarged to, so that its labels can be read
PLAIN_TEXT = {'text.parse_math': False}  # matplotlib's: dollars in names are not formulas


class Artist:
    """Draws the data samples of a config's host, with that host's visualizer.

    Args:
        cfg: Config of any host, with its ``visualizer``.
        meta: Meta information of the data: classes, colours, skeleton.
    """

    def __init__(self, cfg: Config, meta: Mapping[str, object]) -> None:
        self.host = host_of(cfg)
        # A visualizer of its own, without the files that the config's backends would write.
        unwanted = ('type', '_scope_', 'vis_backends', 'save_dir')
        options = {key: value for key, value in cfg.visualizer.items() if key not in unwanted}
        kind: type[Visualizer] = VISUALIZERS.get(f'{self.host.name}.{cfg.visualizer.type}')
        self.visualizer = kind(**options)
        self.host.use_meta(self.visualizer, meta)

    def __call__(
        self,
        image: np.ndarray,
        sample: BaseDataElement,
        *,
        truth: bool = False,
        heatmaps: bool = False,
        score: float | None = None,
    ) -> np.ndarray:
        """Draws the prediction of a sample, or its ground truth.

        Args:
            image: RGB, (H, W, 3) uint8.
            sample: The host's data sample, in pixels of the image.
            truth: Draw the annotation instead of the prediction.
            heatmaps: For pose, draw the heatmaps under the image.
            score: Lowest score of a box or a joint to be drawn; None is the host's.

        Returns:
            RGB, as large as the image, or larger if that is small.
        """
        factor = max(1.0, SIDE / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        drawn = self.host.enlarge(sample.cpu().clone(), factor, image.shape[:2])
        look = Look(truth, heatmaps, self.host.shown_score if score is None else score)
        with rc_context(PLAIN_TEXT), DefaultScope.overwrite_default_scope(self.host.name):
            return self.host.draw(self.visualizer, image, drawn, look)


@torch.no_grad()
def draw_predictions(
    runner: Runner, loader: DataLoader, out_dir: str | Path, count: int = 6
) -> Path:
    """Draws the first images of a data set: ground truth on the left, prediction on the right.

    Args:
        runner: A runner of any host with its weights loaded.
        loader: The images, with their annotations.
        out_dir: Folder for the PNG files, made if absent.
        count: Number of images.
    """
    out_dir = Path(out_dir)
    draw = Artist(runner.cfg, loader.dataset.metainfo)  # type: ignore[attr-defined]
    runner.model.eval()
    # Pose has a box file where the persons of a test are those that a detector found.
    given = 'boxes of a detector' if getattr(loader.dataset, 'bbox_file', None) else 'ground truth'
    samples = chain.from_iterable(map(runner.model.val_step, loader))
    images = groupby(samples, attrgetter('img_path'))
    for index, (source, samples_of_image) in enumerate(islice(images, count)):
        image = mmcv.imread(source, channel_order='rgb')
        sample = draw.host.merge(list(samples_of_image))
        left = caption(draw(image, sample, truth=True), given)
        right = caption(draw(image, sample), 'prediction')
        gap = np.full((len(left), GAP, 3), 255, np.uint8)
        path = out_dir / f'{index:02d}_{Path(source).stem}.png'
        write_png(path, np.hstack([left, gap, right])[..., ::-1])
    return out_dir
