"""Image files of any kind, or one clear reason why not; pictures written whole."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmhrnet.errors import ConfigError
from mmhrnet.files import write_bytes
from mmhrnet.terminal import last_line

MAX_PIXELS = 100_000_000  # of an image: 300 MB when decoded

ENDS = {
    b'\xff\xd8': b'\xff\xd9',
    b'\x89P': b'IEND\xaeB`\x82',
}  # of JPEG and PNG, by their first bytes


class ImageError(ConfigError):
    """An image that cannot be read, with the reason."""


def check_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> None:
    """Decodes an image whole; OpenCV silently fills in what a truncated one lacks.

    Raises:
        ImageError: No such file, not an image, truncated, or of more than ``max_pixels``.
    """
    if not Path(path).is_file():
        raise ImageError(f'There is no image {path}')
    try:
        with Image.open(path) as header:
            width, height = header.size
            if width * height <= max_pixels:
                header.load()
    except Exception as error:  # a decoder may raise anything
        raise ImageError(f'{path} is not a readable image: {last_line(error)}') from error
    if width * height > max_pixels:
        raise ImageError(
            f'{path} has {width}x{height} pixels, more than {max_pixels:,}: make it smaller'
        )


def is_cut_off(path: str | Path) -> bool:
    """Whether a file is empty, closed to us, or a JPEG or PNG without its end; reads ten bytes.

    Few images have other bytes behind their end, so only :func:`check_image` can be sure.
    """
    try:
        with Path(path).open('rb', buffering=0) as file:
            start = file.read(2)
            file.seek(max(os.fstat(file.fileno()).st_size - 8, 0))
            return not start or not file.read().endswith(ENDS.get(start, b''))
    except OSError:
        return True


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image of any depth and channels as BGR, (H, W, 3) uint8, upright by its EXIF.

    Raises:
        ImageError: No such file, not an image, truncated, or of more than ``max_pixels``.
    """
    check_image(path, max_pixels)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f'{path} is of a kind that OpenCV does not read: save it as PNG')
    return image


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Writes BGR or grey as OpenCV has it, (H, W, 3) or (H, W) uint8, in one step."""
    write_bytes(path, cv2.imencode('.png', np.ascontiguousarray(image))[1].tobytes())
