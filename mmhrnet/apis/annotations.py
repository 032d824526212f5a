"""Checks of COCO annotation files and of the images they name, before any time is spent.

What the hosts would fail on is an error. What they skip without a word (boxes under a pixel or
outside of the image, COCO itself has some) is a warning while it is rare, and an error where it is
so frequent that the file must be another one than the config takes.
"""

from __future__ import annotations

import gc
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from mmhrnet.apis.config import ConfigError
from mmhrnet.apis.images import read_image
from mmhrnet.models.checks import is_count, suggest

LOGGER = logging.getLogger(__name__)
SAMPLE = 50  # images of a data set that are opened
SHOWN = 5  # faults of a kind that are listed
RARE = 0.1  # share of the annotations that may be skipped
NUMBERS = {int, float}
LISTS = ('images', 'annotations', 'categories')
CORRECT = 'Correct them, or take them out of the file'
MIXED_UP = (
    'So many are no accident: is bbox [x, y, width, height] in pixels, and is this the file of '
    'these images and of this task?'
)
CASE = 'Names must be equal letter by letter: change them in the file, or metainfo.classes'


@dataclass(frozen=True)
class CocoTask:
    """What a config takes from a COCO file.

    Attributes:
        file: The annotation file.
        folder: Where its images are.
        classes: Names of the classes, in the order of the model's outputs; None takes any.
        joints: Keypoints of a person; None takes no notice of them.
        masks: Whether masks are used.
        strict: Whether it is COCO's evaluation that follows, which needs areas and visibilities.
        labelled: False for the images of a test whose truth is not public.
        persons: Detections of persons that a test takes instead of the annotated ones.
    """

    file: Path
    folder: Path
    classes: Sequence[str] | None = None
    joints: int | None = None
    masks: bool = False
    strict: bool = True
    labelled: bool = True
    persons: Path | None = None


def check_coco(task: CocoTask) -> None:
    """Raises a ConfigError that names file, annotation and image; opens a sample of the images."""
    collecting = gc.isenabled()
    gc.disable()  # it would look through millions of numbers again and again
    try:
        content = read_json(task.file, dict)
        images = _check_lists(task, content)
        if task.labelled:
            _check_annotations(task, content, images)
        if task.persons:
            _check_persons(task.persons)
    finally:
        if collecting:
            gc.enable()
    check_images(task.file, task.folder, {i['file_name']: i for i in images.values()})


def _check_persons(path: Path) -> None:
    found = read_json(path, list)
    if not any(isinstance(box, dict) and box.get('category_id') == 1 for box in found):
        raise ConfigError(
            f'{path} has no person (category_id 1), there is nothing to test on: take another '
            'file, or the annotated persons by bbox_file=None'
        )


def read_json(path: Path, kind: type) -> Any:
    """The content of a JSON file.

    Raises:
        ConfigError: It is no file, no JSON, or its content is of another kind.
    """
    if path.is_dir():
        raise ConfigError(f'{path} is a folder, an annotation file is wanted: correct ann_file')
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        begins = f'it begins with {raw[:30]!r}' if raw.strip() else 'it is empty'
        raise ConfigError(f'{path} is no JSON, {begins}: {error}. Get it again') from error
    if not isinstance(content, kind):
        raise ConfigError(
            f'{path} holds a {type(content).__name__} instead of a {kind.__name__}: '
            'it is no annotation file of this task'
        )
    return content


def raise_faults(path: Path, what: str, faults: Sequence[str], fix: str) -> None:
    """Raises a ConfigError that lists the first faults, if there are any."""
    if faults:
        raise ConfigError(f'{path}: {_listing(what, faults)}\n{fix}')


def _listing(what: str, faults: Sequence[str]) -> str:
    head = f'{len(faults)} {what}' + (f', the first {SHOWN}' if len(faults) > SHOWN else '')
    return '\n  '.join([f'{head}:', *faults[:SHOWN]])


def check_images(path: Path, folder: Path, images: dict[str, dict]) -> None:
    """Every image must be there; of some, content and size are checked too.

    Args:
        path: The file that names them.
        folder: Where they are.
        images: What it says of each, by name.

    Raises:
        ConfigError: Images are missing, unreadable or of another size.
    """
    names: dict[str, set[str]] = {}
    for inner in {name.rpartition('/')[0] for name in images}:
        part = folder / inner
        names[inner] = {file.name for file in os.scandir(part)} if part.is_dir() else set()
    absent = [name for name in images if not _is_there(name, names)]
    raise_faults(path, f'images are not in {folder}', absent, 'Get them, or correct data_prefix')
    faults = []
    for name in list(images)[:: -(-len(images) // SAMPLE)]:
        height, width = read_image(folder / name).shape[:2]
        image = images[name]
        said = image.get('width', width), image.get('height', height)
        if said != (width, height):
            faults.append(f'{name} is {width} wide and {height} high, the file says {said}')
    raise_faults(path, 'images have another size than it says', faults, 'Correct width and height')


def _is_there(name: str, names: dict[str, set[str]]) -> bool:
    inner, _, last = name.rpartition('/')
    return last in names[inner]


def _check_lists(task: CocoTask, content: dict) -> dict[Any, dict]:
    """Images by id, and a ConfigError for lists that are absent, of another kind or not unique."""
    path, needed = task.file, LISTS if task.labelled else LISTS[:1]
    for name in needed:
        if name not in content:
            hint = suggest(name, [str(key) for key in content])
            raise ConfigError(f'{path} has no {name!r}: {hint}It has {", ".join(content)}')
        entries = content[name]
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise ConfigError(f'{path}: {name!r} must be a list of dicts, as in COCO')
        if not entries:
            raise ConfigError(f'{path}: {name!r} is empty, there is nothing to learn or to measure')
        _check_ids(path, name, entries)
    faults = [f'image {i["id"]}: {fault}' for i in content['images'] if (fault := _image_fault(i))]
    raise_faults(path, 'images are wrong', faults, CORRECT)
    if task.labelled:
        _check_categories(task, content['categories'])
    return {image['id']: image for image in content['images']}


def _check_ids(path: Path, name: str, entries: list[dict]) -> None:
    faults = [str(e)[:80] for e in entries if type(e.get('id')) not in (int, str)]
    raise_faults(path, f'{name} have no id', faults, 'Give each a number of its own')
    counts = Counter(entry['id'] for entry in entries)
    twice = [f'id {number}' for number, count in counts.items() if count > 1]
    raise_faults(path, f'ids of {name} are there twice', twice, 'Give each a number of its own')


def _image_fault(image: dict) -> str:
    name = image.get('file_name')
    if not isinstance(name, str) or not name:
        return f'file_name is {name!r}'
    for key in ('width', 'height'):
        if not is_count(image.get(key)):
            return f'{name}: {key} is {image.get(key)!r}, not a positive integer'
    return ''


def _check_categories(task: CocoTask, categories: list[dict]) -> None:
    for category in categories:
        if not isinstance(category.get('name'), str):
            raise ConfigError(f'{task.file}: category {category["id"]} has no name')
        found = category.get('keypoints')
        if task.joints and found and len(found) != task.joints:
            raise ConfigError(
                f'{task.file}: category {category["name"]!r} has {len(found)} keypoints, the model '
                f'{task.joints}: take the file of this task, or change the out_channels of the head'
            )
    if task.classes is not None:
        _check_classes(task.file, [c['name'] for c in categories], list(task.classes))


def _check_classes(path: Path, names: list[str], classes: list[str]) -> None:
    """The hosts count labels in the order of the file: it must be that of the classes."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f'{path}: categories {twice} are there twice: give each its own name')
    kept = [name for name in names if name in classes]
    missing = [name for name in classes if name not in names]
    hints = [f'{name!r}: {suggest(name, names)}'.rstrip(': ') for name in missing[:SHOWN]]
    lacks = f'{path} has {len(missing)} of the {len(classes)} classes not ({", ".join(hints)})'
    if not kept:
        raise ConfigError(f'{lacks}, its categories are {", ".join(names[:20])}. {CASE}')
    if kept != classes[: len(kept)] and missing:
        raise ConfigError(f'{lacks}: the labels of the others would shift. {CASE}')
    if kept != classes[: len(kept)]:
        raise ConfigError(
            f'{path} has the categories in another order than the classes: labels would get '
            f'wrong names. Set metainfo=dict(classes={tuple(kept)!r}) in every data set'
        )
    if missing:
        LOGGER.warning('%s', lacks)


def _check_annotations(task: CocoTask, content: dict, images: dict[Any, dict]) -> None:
    categories = {category['id'] for category in content['categories']}
    wrong, skipped = [], []
    for annotation in content['annotations']:
        image = images.get(annotation.get('image_id'))
        fault = _fault(task, annotation, image)
        if fault:
            wrong.append(_name(annotation, image) + fault)
            continue
        reason = _skipped(task, annotation, image, categories)
        if reason:
            skipped.append(_name(annotation, image) + reason)
    raise_faults(task.file, 'annotations are wrong', wrong, CORRECT)
    total = len(content['annotations'])
    if len(skipped) > RARE * total:
        what = f'of {total} annotations would be skipped'
        raise_faults(task.file, what, skipped, MIXED_UP)
    if skipped:
        LOGGER.warning(
            '%s: %d of %d annotations will be skipped, like %s',
            *(task.file, len(skipped), total, skipped[0]),
        )


def _name(annotation: dict, image: dict | None) -> str:
    of = image['file_name'] if image else f'image {annotation.get("image_id")}'
    return f'annotation {annotation["id"]} of {of}: '


def _numeric(values: Iterable) -> bool:
    return NUMBERS.issuperset(map(type, values)) and isfinite(sum(values))


def _fault(task: CocoTask, annotation: dict, image: dict | None) -> str:
    """What the host would fail on, or nothing."""
    for key in ('image_id', 'category_id'):
        if key not in annotation:
            return f'it has no {key}'
    area = annotation.get('area')
    if task.strict and type(area) not in NUMBERS:
        return f'area is {area!r}, not a number'
    fault = _box_fault(annotation.get('bbox'))
    if not fault and task.masks and image:
        fault = _mask_fault(annotation.get('segmentation'), image)
    if not fault and task.joints and 'keypoints' in annotation:
        fault = _joint_fault(annotation['keypoints'], task)
    return fault


def _box_fault(box: Any) -> str:
    if not isinstance(box, list) or len(box) != 4:
        return f'bbox {box} is not [x, y, width, height]'
    if not _numeric(box):
        return f'bbox {box} holds what is no finite number'
    return f'bbox {box} has a negative size' if box[2] < 0 or box[3] < 0 else ''


def _mask_fault(mask: Any, image: dict) -> str:
    if not mask:
        return 'it has no segmentation, and the config learns masks'
    if isinstance(mask, list):
        fine = all(isinstance(polygon, list) and _numeric(polygon) for polygon in mask)
        return '' if fine else 'segmentation must be a list of polygons [x1, y1, x2, y2, ...]'
    if not isinstance(mask, dict) or not {'size', 'counts'} <= set(mask):
        return 'segmentation is neither a list of polygons nor a dict of size and counts'
    size, counts = [image['height'], image['width']], mask['counts']
    if mask['size'] != size:
        return f'the size of segmentation is {mask["size"]}, that of the image {size}'
    if isinstance(counts, str):
        return ''
    if not isinstance(counts, list) or not _numeric(counts) or sum(counts) != size[0] * size[1]:
        return 'the counts of segmentation must add up to the pixels of the image'
    return ''


def _joint_fault(joints: Any, task: CocoTask) -> str:
    wanted = 3 * (task.joints or 0)
    if not isinstance(joints, list) or len(joints) != wanted:
        found = len(joints) if isinstance(joints, list) else joints
        return f'keypoints has {found} numbers, not {wanted}: x, y, visibility of {task.joints}'
    if not _numeric(joints):
        return 'keypoints holds what is no finite number'
    if task.strict and not {0, 1, 2}.issuperset(joints[2::3]):
        return f'a visibility of keypoints is not 0, 1 or 2: {sorted(set(joints[2::3]))}'
    return ''


def _skipped(task: CocoTask, annotation: dict, image: dict | None, categories: set) -> str:
    """Why the host would leave an annotation out without a word, or nothing."""
    if image is None:
        return 'there is no such image'
    if annotation['category_id'] not in categories:
        return f'there is no category {annotation["category_id"]!r}'
    if annotation.get('iscrowd'):
        return ''
    x, y, width, height = annotation['bbox']
    if width < 1 or height < 1:
        return f'bbox {[x, y, width, height]} is smaller than a pixel'
    if min(x + width, y + height) <= 0 or x >= image['width'] or y >= image['height']:
        return f'bbox {[x, y, width, height]} is outside of the image'
    if task.joints and 'keypoints' not in annotation:
        return 'it has no keypoints'
    mask = annotation.get('segmentation') if task.masks else None
    if isinstance(mask, list) and any(len(p) < 6 or len(p) % 2 for p in mask):
        return 'a polygon of segmentation has an odd count of numbers, or under 6'
    return ''
