"""Checks of label maps and of lists of classified images, before any time is spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmhrnet.apis.annotations import CORRECT, check_images, raise_faults
from mmhrnet.apis.config import ConfigError
from mmhrnet.apis.images import read_image

SAMPLE = 20  # pairs of image and label map that are opened
IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')  # those that mmpretrain lists
IGNORED = 255  # the label without a class


@dataclass(frozen=True)
class MapTask:
    """What a config takes as images and label maps.

    Attributes:
        images: Folder of the images.
        maps: Folder of the label maps.
        image_suffix: How the name of an image ends.
        map_suffix: How that of its label map ends.
        list_file: Names of the images without suffix, one a line; None takes all.
        classes: Number of labels, from 0; None takes any.
    """

    images: Path
    maps: Path
    image_suffix: str
    map_suffix: str
    list_file: Path | None
    classes: int | None


@dataclass(frozen=True)
class ClassTask:
    """What a config takes as classified images.

    Attributes:
        folder: Folder of the images, or of one folder for each class.
        list_file: Lines of '<file name> <class index>'; None takes the folders as classes.
        classes: Number of classes.
        names: Their names, if the config says them.
    """

    folder: Path
    list_file: Path | None
    classes: int
    names: tuple[str, ...] | None


def check_label_maps(task: MapTask) -> None:
    """Raises a ConfigError unless each image has a label map; opens a sample of both."""
    found = _names(task.images, task.image_suffix)
    names = found
    if task.list_file:
        names = task.list_file.read_text(encoding='utf-8').split('\n')
        names = [name.strip() for name in names if name.strip()]
        absent = sorted(set(names) - set(found))
        raise_faults(task.list_file, f'images are not in {task.images}', absent, CORRECT)
    if not names:
        where = task.list_file or f'*{task.image_suffix} in {task.images}'
        raise ConfigError(f'There are no images {where}: correct data_prefix or img_suffix')
    there = set(_names(task.maps, task.map_suffix))
    absent = [f'{name}{task.map_suffix}' for name in names if name not in there]
    fix = 'Get or make them, or correct data_prefix or seg_map_suffix'
    raise_faults(task.maps, f'of {len(names)} label maps are not there', absent, fix)
    sample = names[:: -(-len(names) // SAMPLE)]
    faults = [fault for name in sample if (fault := _map_fault(task, name))]
    raise_faults(task.maps, f'of {len(sample)} label maps looked at are wrong', faults, CORRECT)


def _names(folder: Path, suffix: str) -> list[str]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob('*'))
    return sorted(file.removesuffix(suffix) for file in files if file.endswith(suffix))


def _map_fault(task: MapTask, name: str) -> str:
    file = task.maps / f'{name}{task.map_suffix}'
    try:
        with Image.open(file) as picture:
            labels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        return f'{file} is no readable image: {error}'
    if labels.ndim != 2:
        return f'{file} has {labels.shape[2]} channels: a label map holds one class index a pixel'
    height, width = read_image(task.images / f'{name}{task.image_suffix}').shape[:2]
    if labels.shape != (height, width):
        return f'{file} is {labels.shape[1]}x{labels.shape[0]}, its image {width}x{height}'
    found = np.unique(labels)
    unknown = [int(k) for k in found if k != IGNORED and task.classes and k >= task.classes]
    if unknown:
        last = (task.classes or 0) - 1
        return f'{file} holds the labels {unknown}: only 0 to {last}, and {IGNORED} for no class'
    return ''


def check_class_list(task: ClassTask) -> None:
    """Raises a ConfigError for lines, folders or images that cannot be learned from."""
    if task.list_file is None:
        where, files = task.folder, _classified(task)
    else:
        where, files = task.list_file, list(_listed(task.list_file, task))
    check_images(where, task.folder, {file: {} for file in files})


def _listed(list_file: Path, task: ClassTask) -> Iterator[str]:
    try:
        lines = list_file.read_text(encoding='utf-8').removesuffix('\n').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{list_file} is no list of images: {error}') from error
    faults = [f'line {n}: {f}' for n, line in enumerate(lines, 1) if (f := _line_fault(line, task))]
    fix = 'A line is: <file name> <class index>, as in: cats/1.jpg 0'
    raise_faults(list_file, 'lines are wrong', faults, fix)
    for line in lines:
        yield line.strip().rsplit(' ', 1)[0]


def _line_fault(line: str, task: ClassTask) -> str:
    name, _, label = line.strip().rpartition(' ')
    if not name or not label.isdigit():
        return repr(line)
    known = int(label) < task.classes
    return '' if known else f'{line!r}: the class is not in 0 to {task.classes - 1}'


def _classified(task: ClassTask) -> list[str]:
    folders = sorted(path for path in task.folder.iterdir() if path.is_dir())
    names = [folder.name for folder in folders]
    if len(folders) != task.classes:
        differ = sorted(set(names) ^ set(task.names or names))[:5]
        only = f' (not in both: {", ".join(differ)})' if differ else ''
        raise ConfigError(
            f'{task.folder} has {len(folders)} class folders, the model {task.classes} '
            f'classes{only}: change model.head.num_classes and metainfo.classes, or the folders'
        )
    files = {
        folder.name: [f for f in folder.rglob('*') if f.suffix.lower() in IMAGES]
        for folder in folders
    }
    empty = [name for name, some in files.items() if not some]
    fix = f'Fill them with files of {", ".join(IMAGES)}, or take them away'
    raise_faults(task.folder, 'class folders have no image', empty, fix)
    found = sorted(file for some in files.values() for file in some)
    return [file.relative_to(task.folder).as_posix() for file in found]
