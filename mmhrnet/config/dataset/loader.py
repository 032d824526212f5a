"""Reads images as the pipeline of a data set does, and checks whether EXIF turns them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.config import ConfigDict
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from mmhrnet.datasets.images import ImageError, check_image, is_cut_off
from mmhrnet.terminal import last_line

Name = TypeVar('Name', str, Path)
LOGGER = logging.getLogger(__name__)
SAMPLE = 50  # number of files of a data set that are decoded
ENDS = 10_000  # number of those whose last bytes are looked at
ORIENTATION = 0x0112  # in the EXIF: 1 is upright, from 5 on width and height are swapped


def sample(names: Sequence[Name], most: int = SAMPLE) -> Sequence[Name]:
    """Up to 50 of the names, or another number, evenly spread."""
    return names[:: -(-len(names) // most)] if names else names


def check_ends(paths: Sequence[Path]) -> None:
    """Raises an ImageError for an image that is cut off, which OpenCV fills up with grey."""
    for path in filter(is_cut_off, sample(paths, ENDS)):
        check_image(path)


def make_loader(scope: str, pipeline: Sequence[ConfigDict | BaseTransform]) -> Loader:
    """The loader of the step that is named ``LoadImage...``, else of the first step."""
    steps = [*pipeline, dict(type='LoadImageFromFile')]
    names = [str(step.get('type') if isinstance(step, dict) else step) for step in steps]
    named = (step for step, name in zip(pipeline, names) if 'LoadImage' in name)
    step = next(named, steps[0])
    with DefaultScope.overwrite_default_scope(scope):
        return Loader(TRANSFORMS.build(step) if isinstance(step, dict) else step)


class Loader:
    """Images as the pipeline of a data set reads them.

    Args:
        transform: The step of the pipeline that loads.
    """

    def __init__(self, transform: BaseTransform) -> None:
        self.transform = transform
        self.is_host = type(transform).__module__.startswith(('mmcv.', 'mmpose.')) and isinstance(
            transform, LoadImageFromFile
        )

    def size(self, path: Path) -> tuple[int, int] | None:
        """Width and height of the loaded image; None if the step needs more than a file name.

        Raises:
            ImageError: It cannot be loaded.
        """
        if self.is_host:
            check_image(path)
        try:
            found = self.transform({'img_path': str(path)}) or {}
        except KeyError:
            return None
        except Exception as error:  # the step may be the user's own
            name = type(self.transform).__name__
            raise ImageError(f'{path}: {name} cannot load it: {last_line(error)}') from error
        return found['img'].shape[1::-1] if 'img' in found else None

    def orientation(self, path: Path) -> int:
        """The orientation in the EXIF, which a host's loader applies or ignores."""
        if not self.is_host:
            return 1
        with Image.open(path) as picture:
            orientation = picture.getexif().get(ORIENTATION, 1)
        return orientation if orientation in range(2, 9) else 1

    def explain_turn(self, path: Path) -> str:
        """The fix for an image whose EXIF swaps width and height, or nothing."""
        if self.orientation(path) < 5:
            return ''
        turns = getattr(self.transform, 'color_type', '') in ('color', 'grayscale')
        other = 'color_ignore_orientation' if turns else 'color'
        return (
            f'The EXIF of {path.name} turns it by 90 degrees, and the labels belong to the image '
            f"{'before' if turns else 'after'} that: set color_type='{other}' in the loading step "
            'of each pipeline, or save the images without EXIF as the labels need them'
        )

    def warn_of_turned(self, paths: Sequence[Path], labels: str) -> None:
        """Warns of images that EXIF turns without changing their size."""
        turned = [path for path in paths if self._is_turned_unseen(path)]
        if turned:
            LOGGER.warning(
                '%s: the EXIF turns %d of %d images looked at, such as this one; check with '
                'tools/browse_dataset.py whether their %s are turned too',
                *(turned[0], len(turned), len(paths), labels),
            )

    def _is_turned_unseen(self, path: Path) -> bool:
        orientation = self.orientation(path)
        if orientation < 2:
            return False
        with Image.open(path) as picture:
            return orientation < 5 or picture.width == picture.height
