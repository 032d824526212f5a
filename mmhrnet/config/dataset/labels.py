"""Checks of label maps and of lists of classified images, before any time is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mmhrnet.config.dataset.coco import check_images, warn_of_untaught
from mmhrnet.config.dataset.coco_format import CORRECT, raise_faults
from mmhrnet.config.dataset.loader import Loader, check_ends, sample
from mmhrnet.errors import ConfigError, plural
from mmhrnet.terminal import last_line

IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')  # those that mmpretrain lists


@dataclass(frozen=True)
class MapTask:
    """What a config takes as images and label maps.

    Attributes:
        images: Folder of the images.
        maps: Folder of the label maps.
        image_suffix: How the name of an image ends.
        map_suffix: How the name of its label map ends.
        list_file: Names of the images without suffix, one per line; None takes all.
        loader: Reads the images.
        classes: Names of the classes by label, with None for one that is not learned; None
            allows any label.
        ignored: The label without a class.
        training: Whether the data are for training.
    """

    images: Path
    maps: Path
    image_suffix: str
    map_suffix: str
    list_file: Path | None
    loader: Loader = field(compare=False)
    classes: tuple[str | None, ...] | None
    ignored: int
    training: bool

    def check(self) -> None:
        """Raises a ConfigError unless each image has a label map; opens a sample of both."""
        found = _names(self.images, self.image_suffix)
        names = found
        if self.list_file:
            names = self.list_file.read_text(encoding='utf-8').split('\n')
            names = [name.strip() for name in names if name.strip()]
            absent = sorted(set(names) - set(found))
            raise_faults(self.list_file, f'images that are not in {self.images}', absent, CORRECT)
        if not names:
            where = self.list_file or f'*{self.image_suffix} in {self.images}'
            raise ConfigError(f'There are no images {where}: correct data_prefix or img_suffix')
        there = set(_names(self.maps, self.map_suffix))
        absent = [f'{name}{self.map_suffix}' for name in names if name not in there]
        fix = 'Add them, or correct data_prefix or seg_map_suffix'
        raise_faults(self.maps, f'missing label maps of {plural(len(names), "image")}', absent, fix)
        check_ends([_image(self, name) for name in names])
        check_ends([self.maps / f'{name}{self.map_suffix}' for name in names])
        some = sample(names)
        labels: set[int] = set()
        faults = [fault for name in some if (fault := _map_fault(self, name, labels))]
        raise_faults(self.maps, f'wrong label maps of {len(some)} looked at', faults, CORRECT)
        self.loader.warn_of_turned([_image(self, name) for name in some], 'label maps')
        if self.classes:
            _check_taught(self, labels, len(some), len(names))


@dataclass(frozen=True)
class ClassTask:
    """What a config takes as classified images.

    Attributes:
        folder: Folder of the images, or of one folder for each class.
        list_file: Lines of '<file name> <class index>'; None takes the folders as classes.
        loader: Reads the images.
        classes: Number of classes.
        names: Their names, if the config has them.
        training: Whether the data are for training.
        suffixes: How the names of images end.
    """

    folder: Path
    list_file: Path | None
    loader: Loader = field(compare=False)
    classes: int
    names: tuple[str, ...] | None
    training: bool
    suffixes: tuple[str, ...] = IMAGES

    def check(self) -> None:
        """Raises a ConfigError for lines, folders or images that cannot be learned from."""
        if self.list_file is None:
            where, files = self.folder, _classified(self)
        else:
            where, files = self.list_file, _listed(self.list_file, self)
        check_images(where, self.folder, {file: {} for file in files}, self.loader)


def _names(folder: Path, suffix: str) -> list[str]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob('*'))
    return sorted(file.removesuffix(suffix) for file in files if file.endswith(suffix))


def _image(task: MapTask, name: str) -> Path:
    return task.images / f'{name}{task.image_suffix}'


def _map_fault(task: MapTask, name: str, labels: set[int]) -> str:
    """What is wrong with a label map, or nothing; adds its labels to ``labels``."""
    file = task.maps / f'{name}{task.map_suffix}'
    try:
        with Image.open(file) as picture:
            array = np.asarray(picture)
    except Exception as error:  # a decoder may raise anything
        return f'{file} is not a readable image: {last_line(error)}'
    if array.ndim != 2:
        return f'{file} has {array.shape[2]} channels: a label map has one class index per pixel'
    size = task.loader.size(_image(task, name))
    if size and array.shape[::-1] != size:
        turn = task.loader.explain_turn(_image(task, name))
        width, height = array.shape[::-1]
        return f'{file} is {width}x{height}, its image is {size[0]}x{size[1]}. {turn}'.rstrip('. ')
    found = set(np.unique(array).tolist())
    labels |= found
    unknown = sorted(k for k in found - {task.ignored} if task.classes and k >= len(task.classes))
    if unknown:
        last = len(task.classes or ()) - 1
        allowed = f'allowed are 0 to {last}, and {task.ignored} for no class'
        return f'{file} has the labels {unknown}: {allowed}'
    return ''


def _check_taught(task: MapTask, labels: set[int], looked: int, total: int) -> None:
    """Warns of classes that are in no map; an error if there is only one to learn."""
    classes = dict(enumerate(task.classes or ()))
    wanted = {name for name in classes.values() if name is not None}
    taught = {classes.get(label) for label in labels} & wanted
    where = f' in the {looked} of {total} label maps looked at, which have {sorted(labels)[:20]}'
    masks = len(wanted) == 2 and labels == {0, task.ignored}
    alone = task.training and looked == total and len(taught) < min(2, len(wanted))
    if masks or alone or not taught:
        count = 'one class' if taught else 'no class'
        fix = f'{task.ignored} means no class: write 1 instead' if masks else CORRECT
        raise ConfigError(f'{task.maps}: there is {count} to learn{where}. {fix}')
    if task.training:
        warn_of_untaught(task.maps, 'classes', sorted(wanted - taught), where)


def _listed(list_file: Path, task: ClassTask) -> list[str]:
    try:
        lines = list_file.read_text(encoding='utf-8').removesuffix('\n').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{list_file} is not a list of images: {error}') from error
    faults = [f'line {n}: {f}' for n, line in enumerate(lines, 1) if (f := _line_fault(line, task))]
    fix = 'A line is: <file name> <class index>, as in: cats/1.jpg 0'
    raise_faults(list_file, 'wrong lines', faults, fix)
    entries = [line.strip().rsplit(' ', 1) for line in lines]
    if task.training:
        _check_classes_taught(list_file, task, {int(label) for _, label in entries})
    return [name for name, _ in entries]


def _check_classes_taught(path: Path, task: ClassTask, found: set[int]) -> None:
    if len(found) == 1 < task.classes:
        raise ConfigError(
            f'{path}: all images are of class {found.pop()}, but the model has {task.classes} '
            'classes: count them from 0, and list images of each'
        )
    names: Sequence[str] = task.names or [str(index) for index in range(task.classes)]
    unseen = [name for index, name in enumerate(names) if index not in found]
    warn_of_untaught(path, 'classes', unseen)


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
            f'{task.folder} has {len(folders)} class folders, but the model has {task.classes} '
            f'classes{only}: change model.head.num_classes and metainfo.classes, or the folders'
        )
    if task.names and names != list(task.names) and names == sorted(task.names):
        raise ConfigError(
            f'{task.folder}: labels follow the sorted names of the folders, but metainfo.classes '
            f'has another order: set metainfo=dict(classes={tuple(names)!r}) in every data set'
        )
    files = {
        folder.name: [f for f in folder.rglob('*') if f.suffix.lower() in task.suffixes]
        for folder in folders
    }
    empty = [name for name, some in files.items() if not some]
    fix = f'Add files of {", ".join(task.suffixes)}, or leave the folders out'
    raise_faults(task.folder, 'class folders without images', empty, fix)
    found = sorted(file for some in files.values() for file in some)
    return [file.relative_to(task.folder).as_posix() for file in found]
