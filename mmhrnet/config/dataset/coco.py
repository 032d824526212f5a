"""Checks of COCO annotation files and of the images they name, before any time is spent.

What the hosts would fail on is an error. What they skip silently (boxes smaller than a pixel or
outside of the image, of which COCO itself has some) is a warning while it is rare. It is an error
if it is so frequent that the file must be the wrong one, or if nothing is left.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmhrnet.config.dataset.coco_format import (
    CORRECT,
    SHOWN,
    Category,
    CocoFile,
    Code,
    Face,
    Image,
    Masked,
    Measured,
    Person,
    no_collection,
    raise_faults,
    read_coco,
    read_json,
)
from mmhrnet.config.dataset.loader import Loader, check_ends, sample
from mmhrnet.errors import ConfigError, suggest

LOGGER = logging.getLogger(__name__)
RARE = 0.1  # share of the annotations that may be skipped
BEYOND = 1.05  # boxes that end beyond this share of the image may be given by two corners
# Why the hosts leave an annotation out silently.
NO_IMAGE = 'there is no such image'
NO_CATEGORY = 'there is no category {category_id!r}'
CROWD = 'iscrowd is 1'
IGNORED = 'ignore is 1'
OTHER_CLASS = 'its class is not one of the config'
TINY = 'bbox {bbox} is smaller than a pixel'
OUTSIDE = 'bbox {bbox} is outside of the image'
SMALL_IMAGE = 'a side of its image is under filter_cfg.min_size'
NO_AREA = 'area is 0 or less'
BAD_POLYGON = 'a polygon of segmentation has an odd count of numbers, or fewer than 6'
NO_JOINTS = 'it has no keypoints'
UNSET = 'no joint has a visibility above 0'
NOT_COUNTED = 'num_keypoints is 0, but joints are set'
DELIBERATE = (CROWD, IGNORED, OTHER_CLASS, UNSET, SMALL_IMAGE)
FIXES = {
    CROWD: 'Write 0 for each single object',
    IGNORED: 'Write 0 for each object to learn',
    UNSET: 'Write x, y, 2 for each joint that is visible, and 1 for one that is hidden',
    SMALL_IMAGE: 'Set filter_cfg.min_size of the data set to 0',
    NO_AREA: 'Give each its area: width * height of the box where there is no mask',
    NOT_COUNTED: 'Give each the number of its joints with a visibility above 0',
}
OTHER_SKELETON = (
    'describe the keypoints of the file in the metainfo of every data set, and set their number in '
    'model.head'
)
MIXED_UP = (
    'That is too many for an accident: is bbox [x, y, width, height] in pixels, and does the file '
    'belong to these images and to this task?'
)
CASE = (
    'Names must be equal letter by letter: change them in the file, or metainfo.classes. A class '
    "without objects needs an entry of 'categories' too"
)


@dataclass(frozen=True)
class CocoTask:
    """What a config takes from a COCO file.

    Attributes:
        file: The annotation file.
        folder: The folder of its images.
        loader: Reads the images.
        classes: Names of the classes, in the order of the model's outputs; None allows any.
        joints: Names of the keypoints of a person; None ignores keypoints.
        masks: Whether masks are used.
        strict: Whether COCO's evaluation follows, which needs areas and visibilities.
        labelled: False for the images of a test without public annotations.
        persons: Detected persons that a test takes instead of the annotated ones.
        training: Whether the data are for training.
        min_size: Smallest side of the images that are used.
    """

    file: Path
    folder: Path
    loader: Loader = field(compare=False)
    classes: Sequence[str] | None = None
    joints: Sequence[str] | None = None
    masks: bool = False
    strict: bool = True
    labelled: bool = True
    persons: Path | None = None
    training: bool = True
    min_size: int = 0

    @property
    def form(self) -> type:
        """The form of the annotations."""
        if self.joints:
            return Person if self.strict else Face
        return Masked if self.masks else Measured

    def check(self) -> None:
        """Raises a ConfigError that names file, annotation and image; opens some of the images."""
        with no_collection():
            coco = read_coco(self.file, self.form, self.labelled)
            if self.labelled:
                _check_categories(self, coco.categories)
                _check_misfits(self, coco)
                _check_what_is_left(self, coco)
        if self.persons:
            _check_persons(self.persons)
        images = {image['file_name']: image for image in coco.images.values()}
        check_images(self.file, self.folder, images, self.loader)


def _check_persons(path: Path) -> None:
    found = read_json(path, list)
    if not any(isinstance(box, dict) and box.get('category_id') == 1 for box in found):
        raise ConfigError(
            f'{path} has no person (category_id 1), so there is nothing to test on: take another '
            'file, or the annotated persons with bbox_file=None'
        )


def check_images(
    path: Path, folder: Path, images: Mapping[str, Mapping[str, object]], loader: Loader
) -> None:
    """Every image must exist and have its end; content and size of some are checked too.

    Args:
        path: The file that names them.
        folder: Their folder.
        images: What the file says of each, by name.
        loader: Reads them.

    Raises:
        ConfigError: Images are missing, unreadable or of another size.
    """
    parts = {name: name.rpartition('/') for name in images}
    listed: dict[str, set[str]] = {}
    for inner in {inner for inner, _, _ in parts.values()}:
        part = folder / inner
        listed[inner] = {file.name for file in os.scandir(part)} if part.is_dir() else set()
    absent = [name for name, (inner, _, last) in parts.items() if last not in listed[inner]]
    fix = 'Download them, or correct data_prefix'
    raise_faults(path, f'images that are not in {folder}', absent, fix)
    check_ends([folder / name for name in images])
    faults, fix = [], 'Correct width and height'
    for name in sample(list(images)):
        size, image = loader.size(folder / name), images[name]
        said = (image['width'], image['height']) if 'width' in image else size
        if size and said != size:
            fix = loader.explain_turn(folder / name) or fix
            faults.append(f'{name} is {size[0]} wide and {size[1]} high, the file says {said}')
    raise_faults(path, 'images of another size than it says', faults, fix)
    if any('width' in image for image in images.values()):
        loader.warn_of_turned([folder / name for name in sample(list(images))], 'boxes')


def _check_categories(task: CocoTask, categories: list[Category]) -> None:
    for category in categories:
        found = category.get('keypoints')
        if task.joints and found and len(found) != len(task.joints):
            raise ConfigError(
                f'{task.file}: category {category["name"]!r} has {len(found)} keypoints, but '
                f'metainfo and head have {len(task.joints)}: take the file of this task, or '
                f'{OTHER_SKELETON}'
            )
    if task.classes is not None:
        _check_classes(task.file, [c['name'] for c in categories], list(task.classes))


def _check_classes(path: Path, names: list[str], classes: list[str]) -> None:
    """The hosts number the labels in the order of the file, which must be that of the classes."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f'{path}: the names {twice} are used twice: give each category its own')
    kept = [name for name in names if name in classes]
    missing = [name for name in classes if name not in names]
    hints = [f'{name!r}: {suggest(name, names)}'.rstrip(': ') for name in missing[:SHOWN]]
    lacks = f'{path} lacks {len(missing)} of the {len(classes)} classes ({", ".join(hints)})'
    if not kept:
        raise ConfigError(f'{lacks}. Its categories are {", ".join(names[:20])}. {CASE}')
    if kept != classes[: len(kept)] and missing:
        raise ConfigError(f'{lacks}. The labels of the others would shift. {CASE}')
    if kept != classes[: len(kept)]:
        raise ConfigError(
            f'{path} has its categories in another order than the classes, so labels would get '
            f"wrong names. Put the entries of 'categories' in the order {', '.join(classes)} (the "
            'ids may stay), or, if the files of all data sets have this order, set '
            f'metainfo=dict(classes={tuple(kept)!r}) in each'
        )
    if missing:
        LOGGER.warning('%s', lacks)


def _check_misfits(task: CocoTask, coco: CocoFile) -> None:
    """Annotations that do not fit the image or the task, so that the host would fail."""
    faults = []
    for annotation in coco.annotations if task.joints or task.masks else ():
        image = coco.images.get(annotation['image_id'])
        if task.joints:
            fault = _joint_fault(annotation.get('keypoints'), len(task.joints), task.strict)
        else:
            fault = _code_fault(annotation['segmentation'], image)
        if fault:
            faults.append(_name(annotation, image) + fault)
    fix = f'{CORRECT}, or {OTHER_SKELETON}' if task.joints else CORRECT
    raise_faults(coco.path, 'wrong annotations', faults, fix)


def _joint_fault(visibilities: list[float] | None, wanted: int, strict: bool) -> str:
    if visibilities is None:
        return ''
    if len(visibilities) != wanted:
        found = 3 * len(visibilities)
        return (
            f'keypoints has {found} numbers, not {3 * wanted}: x, y, visibility of {wanted} joints'
        )
    unknown = [v for v in visibilities if v not in (0, 1, 2)] if strict else []
    if unknown:
        return f'a visibility of keypoints is not 0, 1 or 2: {unknown[0]:g}'
    return ''


def _code_fault(mask: list[int] | Code, image: Image | None) -> str:
    if image is None or isinstance(mask, list):
        return ''
    size, counts = [image['height'], image['width']], mask['counts']
    if mask['size'] != size:
        return f'the size of segmentation is {mask["size"]}, that of the image is {size}'
    if not isinstance(counts, str) and counts != size[0] * size[1]:
        return 'the counts of segmentation must add up to the pixels of the image'
    return ''


def _check_boxes(coco: CocoFile) -> None:
    """Boxes in another convention, which the hosts would clip or skip."""
    known = [entry for entry in coco.annotations if entry['image_id'] in coco.images]
    images = [coco.images[entry['image_id']] for entry in known]
    boxes = np.array([entry['bbox'] for entry in known]).reshape(-1, 4)
    sizes = np.array([(image['width'], image['height']) for image in images]).reshape(-1, 2)
    if len(boxes) and (boxes <= 1).all():
        raise ConfigError(
            f'{coco.path}: no bbox has a number above 1, as if they were shares of the image: '
            'multiply them by its width and height, because they must be [x, y, width, height] in '
            'pixels'
        )
    beyond = (boxes[:, :2] + boxes[:, 2:] > BEYOND * sizes).any(axis=1).sum()
    corners = (boxes[:, :2] <= boxes[:, 2:]) & (boxes[:, 2:] <= sizes)
    if beyond > RARE * len(boxes) and corners.all():
        raise ConfigError(
            f'{coco.path}: {beyond} of {len(boxes)} boxes end outside of their images, but all '
            'would be inside as [x1, y1, x2, y2]: write [x1, y1, x2 - x1, y2 - y1]'
        )


def _check_what_is_left(task: CocoTask, coco: CocoFile) -> None:
    _check_boxes(coco)
    classes = {category['id']: category['name'] for category in coco.categories}
    entries: dict[str, list[dict]] = {}  # by the reason for which they are skipped
    for entry in coco.annotations:
        image, name = coco.images.get(entry['image_id']), classes.get(entry['category_id'])
        entries.setdefault(_why_skipped(task, entry, image, name), []).append(entry)
    left = entries.pop('', [])
    _weigh(coco, entries, not left)
    if not task.training:
        return
    taught = {classes[entry['category_id']] for entry in left}
    warn_of_untaught(coco.path, 'classes', [c for c in task.classes or () if c not in taught])
    if task.joints:
        seen = {k for entry in left for k, v in enumerate(entry['keypoints']) if v > 0}
        unset = [name for k, name in enumerate(task.joints) if k not in seen]
        warn_of_untaught(coco.path, 'keypoints', unset)


def _why_skipped(task: CocoTask, entry: dict, image: Image | None, name: str | None) -> str:
    """The first reason for which the hosts leave an annotation out, or nothing."""
    if image is None:
        return NO_IMAGE
    if name is None:
        return NO_CATEGORY
    if entry.get('iscrowd'):
        return CROWD
    if task.classes is not None and name not in task.classes:
        return OTHER_CLASS
    fault = _bad_box(task, entry, image)
    return fault or (_bad_joints(entry) if task.joints else _bad_object(entry))


def _bad_box(task: CocoTask, entry: dict, image: Image) -> str:
    x, y, width, height = entry['bbox']
    if min(width, height) < 1:
        return TINY
    if x + width <= 0 or y + height <= 0 or x >= image['width'] or y >= image['height']:
        return OUTSIDE
    if min(image['width'], image['height']) < task.min_size:
        return SMALL_IMAGE
    return NO_AREA if task.strict and entry['area'] <= 0 else ''


def _bad_joints(person: dict) -> str:
    if 'keypoints' not in person:
        return NO_JOINTS
    if not any(visibility > 0 for visibility in person['keypoints']):
        return UNSET
    return '' if person.get('num_keypoints', 1) else NOT_COUNTED


def _bad_object(entry: dict) -> str:
    if entry.get('ignore'):
        return IGNORED
    mask = entry.get('segmentation')  # the lengths of its polygons
    wrong = isinstance(mask, list) and any(length < 6 or length % 2 for length in mask)
    return BAD_POLYGON if wrong else ''


def _weigh(coco: CocoFile, skipped: dict[str, list[dict]], nothing_left: bool) -> None:
    """Raises an error if nothing is left, or if too much is skipped by accident."""
    total = len(coco.annotations)
    shown = {r: some for r, some in skipped.items() if nothing_left or r not in DELIBERATE}
    reasons = sorted(shown, key=lambda reason: -len(shown[reason]))
    count = sum(map(len, shown.values()))
    likes = []
    for reason in reasons:
        first = shown[reason][0]
        likes.append(_name(first, coco.images.get(first['image_id'])) + reason.format_map(first))
    if nothing_left or count > RARE * total:
        lines = [f'{len(shown[reason])}, such as {like}' for reason, like in zip(reasons, likes)]
        listed = '\n  '.join([f'{count} of {total} annotations would be skipped:', *lines])
        raise ConfigError(f'{coco.path}: {listed}\n{FIXES.get(reasons[0], MIXED_UP)}')
    if count:
        LOGGER.warning(
            '%s: %d of %d annotations will be skipped, such as %s',
            *(coco.path, count, total, likes[0]),
        )


def warn_of_untaught(path: Path, what: str, names: Sequence[str], where: str = '') -> None:
    """Warns of classes or keypoints that no data contain."""
    if names:
        shown = ', '.join(names[:SHOWN]) + (', ...' if len(names) > SHOWN else '')
        LOGGER.warning('%s: no data for %d of the %s (%s)%s', path, len(names), what, shown, where)


def _name(annotation: dict, image: Image | None) -> str:
    of = image['file_name'] if image else f'image {annotation["image_id"]}'
    return f'annotation {annotation["id"]} of {of}: '
