"""Predictions for images, folders and videos, as pictures and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TextIO

import cv2
import mmcv
import numpy as np
from rich.progress import track

from mmhrnet.datasets.images import ImageError, read_image, write_png
from mmhrnet.errors import ConfigError
from mmhrnet.files import beside, check_folder, write_text
from mmhrnet.inference.predict import Predictor
from mmhrnet.inference.records import describe_source
from mmhrnet.runtime import IMAGES, VIDEOS, name_results, round_numbers, to_json
from mmhrnet.terminal import CONSOLE

FPS = 25.0  # of a video that does not say


def demo(
    source: str | Path,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    *,
    out_dir: str | Path = 'work_dirs/demo',
    det_config: str | Path | None = None,
    det_checkpoint: str | Path | None = None,
    swap: bool = False,
    device: str | None = None,
    score_thr: float = 0.3,
    cfg_options: Mapping[str, object] | None = None,
) -> list[Path]:
    """Writes a picture and a JSON file for each image; a bad image does not stop the others.

    Of a video it writes a video, and JSON with a line about the video and one for each frame.

    Args:
        source: An image, a folder of images (with its folders), or a video.
        config: Config file of any host; None takes the config that the checkpoint contains.
        checkpoint: Its weights; None takes the published ones of the config.
        out_dir: Folder to write into.
        det_config: For top-down pose: the detector that finds the persons.
        det_checkpoint: Its weights, which suffice without ``det_config`` if they contain it; None
            takes the published ones.
        swap: Put mmhrnet in the place of the host's HRNet in ``config``.
        device: Device to run on; None is the GPU where there is one.
        score_thr: Lowest score of what is drawn and listed.
        cfg_options: Settings over the config.

    Returns:
        The pictures.

    Raises:
        ConfigError: Arguments or weights that cannot work, or, after all others are done, images
            that could not be read.
    """
    source, out_dir = Path(source), Path(out_dir)
    images = find_images(source)
    check_folder(out_dir)
    detector = None
    if det_config or det_checkpoint:
        detector = Predictor(det_config, det_checkpoint, device=device, score=score_thr)
    predictor = Predictor(
        config,
        checkpoint,
        device=device,
        swap=swap,
        detector=detector,
        score=score_thr,
        cfg_options=cfg_options,
    )
    if source.suffix.lower() in VIDEOS:
        return [predict_video(predictor, source, out_dir)]
    pictures, errors = [], []
    for path, name in track(name_results(images, source), 'Images', console=CONSOLE):
        try:
            pictures.append(write_prediction(predictor, path, out_dir / name))
        except ImageError as error:
            errors.append(str(error))
    if pictures:
        CONSOLE.print(f'pictures and JSON: {out_dir}')
    if errors:
        raise ConfigError('\n  '.join([f'{len(errors)} of {len(images)} were left out:', *errors]))
    return pictures


def find_images(source: Path) -> list[Path]:
    """The file itself, or the images of a folder and of its folders.

    Raises:
        ConfigError: The file or folder does not exist, or the folder has no images.
    """
    if not source.exists():
        raise ConfigError(f'There is no image, folder or video {source}')
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob('*') if path.suffix.lower() in IMAGES)
    if not found:
        raise ConfigError(f'The folder {source} has no images ({", ".join(IMAGES)})')
    return found


def write_prediction(predictor: Predictor, image: Path, target: Path) -> Path:
    """Writes NAME.png, NAME.json and, for segmentation, the class indices in NAME_labels.png.

    The JSON is written last: if it exists, the others are complete.

    Args:
        predictor: The model.
        image: Image file.
        target: Path of the results, without suffix.

    Returns:
        The picture.

    Raises:
        ImageError: The image cannot be read.
    """
    pixels = read_image(image)
    prediction = predictor(pixels)
    picture = target.with_name(f'{target.name}.png')
    content = describe_source(predictor, pixels.shape[:2], image=str(image))
    if prediction.label_map is not None:
        labels = target.with_name(f'{target.name}_labels.png')
        write_png(labels, prediction.label_map)
        content['label_map'] = labels.name
    write_png(picture, prediction.picture[..., ::-1])
    content['found'] = round_numbers(prediction.found)
    write_text(target.with_name(f'{target.name}.json'), to_json(content))
    return picture


def predict_video(predictor: Predictor, source: Path, out_dir: Path) -> Path:
    """Writes NAME.mp4 and NAME.jsonl: a line about the video, then one for each frame.

    Raises:
        ImageError: OpenCV cannot read the video.
    """
    reader = mmcv.VideoReader(str(source))
    if not reader.opened or not reader.width:
        raise ImageError(f'{source} is not a video that OpenCV reads')
    target = out_dir / f'{source.stem}.mp4'
    with (
        beside(target) as video,
        beside(target.with_suffix('.jsonl')) as lines,
        lines.open('w', encoding='utf-8') as file,
    ):
        about = describe_source(
            predictor, (reader.height, reader.width), video=str(source), fps=reader.fps or FPS
        )
        file.write(json.dumps(about) + '\n')
        pictures = _predict_frames(predictor, reader, file)
        _write_video(video, pictures, reader.fps or FPS)
    CONSOLE.print(f'video with JSON lines: {target}')
    return target


def _predict_frames(
    predictor: Predictor, reader: mmcv.VideoReader, lines: TextIO
) -> Iterator[np.ndarray]:
    total = len(reader) if len(reader) > 0 else None  # some containers do not know
    for index, frame in enumerate(track(reader, 'Frames', total=total, console=CONSOLE)):
        prediction = predictor(frame)
        line = {'frame': index, 'found': round_numbers(prediction.found)}
        lines.write(json.dumps(line) + '\n')
        yield prediction.picture[..., ::-1]


def _write_video(path: Path, pictures: Iterator[np.ndarray], fps: float) -> None:
    first = next(pictures)
    height, width = (side - side % 2 for side in first.shape[:2])  # codecs need even sides
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    count = 0
    for picture in chain([first], pictures):
        writer.write(np.ascontiguousarray(picture[:height, :width]))
        count += 1
    writer.release()
    if mmcv.VideoReader(str(path)).frame_cnt != count:  # OpenCV does not report a full disk
        raise OSError(f'OpenCV could not write all of its {count} frames')
