"""Writes drawn scenes as one data set for detection, pose, segmentation and classification.

The layout is that of COCO (https://cocodataset.org/#format-data), so that a config made for COCO
only needs another data root:

    ROOT/{train,val}2017/000000000001.jpg             images
    ROOT/annotations/instances_{train,val}2017.json   boxes and masks
    ROOT/annotations/person_keypoints_{train,val}2017.json
    ROOT/semantic/{train,val}2017/000000000001.png    index of the semantic class of every pixel
    ROOT/meta/{train,val}.txt                         lines of '<file name> <scene class index>'
    ROOT/meta/classes.json                            class names and the parameters of the set
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from mmhrnet.datasets.scene import (
    KEYPOINTS,
    OBJECT_CLASSES,
    SCENE_CLASSES,
    SEMANTIC_CLASSES,
    SEMANTIC_PALETTE,
    Instance,
    draw_scene,
)
from mmhrnet.errors import ConfigError

VERSION = 1  # of the drawing and the layout: raise it whenever the written files change
NUM_TRAIN, NUM_VAL = 400, 60
SPLITS = ('train', 'val')
Entry = dict[str, object]  # of COCO's JSON files
SKELETON = (  # COCO's pairs of joints, counted from 1
    *([16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9]),
    *([8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]),
)


def mini_root() -> Path:
    """Folder of the default mini set in the cache; the first call writes the set.

    The cache is `$MMHRNET_CACHE`, else `$XDG_CACHE_HOME/mmhrnet`, else `~/.cache/mmhrnet`.
    """
    home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    cache = Path(os.environ.get('MMHRNET_CACHE') or Path(home, 'mmhrnet')).expanduser()
    return write_mini(cache / f'mini-v{VERSION}-{NUM_TRAIN}-{NUM_VAL}')


def is_mini(root: str | Path) -> bool:
    """Whether a data root is that of the default mini set, in anybody's cache."""
    return Path(root).name.startswith('mini-v')


def write_mini(
    out: str | Path, *, num_train: int = NUM_TRAIN, num_val: int = NUM_VAL, seed: int = 0
) -> Path:
    """Draws and writes a mini set, unless `out` already is the very same one.

    The set appears in one step when it is complete, so several processes may ask for it at once.
    An image depends on the seed, its split and its index alone: a longer set begins with the
    images of a shorter one.

    Args:
        out: Folder to create.
        num_train: Number of training images, at least 1.
        num_val: Number of validation images, at least 1.
        seed: Seed of all drawing, not negative.

    Returns:
        The folder `out`.

    Raises:
        ConfigError: If a number is out of range.
        FileExistsError: If `out` contains anything else.
    """
    out = Path(out)
    meta = _describe(num_train, num_val, seed)
    if _is_written(out, meta):
        return out

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name}-', dir=out.parent) as beside:
        root = Path(beside, out.name)
        for split, count in zip(SPLITS, (num_train, num_val), strict=True):
            _write_split(root, split, count, seed)
        _write(root / 'meta/classes.json', _to_json(meta))
        try:
            root.rename(out)
        except OSError:
            if not _is_written(out, meta):  # no other process was faster: the error is genuine
                raise
    return out


def _describe(num_train: int, num_val: int, seed: int) -> Entry:
    """What is written to `meta/classes.json`; equal descriptions mean equal sets."""
    parameters = {'num_train': num_train, 'num_val': num_val, 'seed': seed}
    for name, value in parameters.items():
        minimum = 0 if name == 'seed' else 1
        if value < minimum:
            raise ConfigError(f'{name} must be at least {minimum}, got {value}')
    return {
        'version': VERSION,
        **parameters,
        'object_classes': OBJECT_CLASSES,
        'semantic_classes': SEMANTIC_CLASSES,
        'semantic_palette': SEMANTIC_PALETTE,
        'scene_classes': SCENE_CLASSES,
    }


def _is_written(out: Path, meta: Entry) -> bool:
    """Whether `out` is the set that `meta` describes; False if it is still to be written.

    Raises:
        FileExistsError: If something else is there.
    """
    classes = out / 'meta/classes.json'
    if classes.is_file() and classes.read_bytes() == _to_json(meta):
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out} exists and is not a mini set of these parameters: choose another folder'
        )
    return False


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    images: list[Entry] = []
    annotations: list[Entry] = []
    lines = []
    for index in range(count):
        scene = draw_scene(np.random.default_rng((seed, SPLITS.index(split), index)))
        height, width = scene.semantic.shape
        image_id = index + 1
        name = f'{image_id:012d}'
        bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
        _write_image(root / f'{split}2017/{name}.jpg', bgr)
        _write_image(root / f'semantic/{split}2017/{name}.png', scene.semantic)
        images.append(
            {'id': image_id, 'file_name': f'{name}.jpg', 'width': width, 'height': height}
        )
        annotations += [
            {'id': annotation_id, 'image_id': image_id, **_annotation(instance)}
            for annotation_id, instance in enumerate(scene.instances, len(annotations) + 1)
        ]
        lines.append(f'{name}.jpg {scene.label}\n')

    _write(root / f'meta/{split}.txt', ''.join(lines).encode())
    _write_annotations(root / 'annotations', split, images, annotations)


def _write_annotations(
    folder: Path, split: str, images: list[Entry], annotations: list[Entry]
) -> None:
    """Writes COCO's two files: all objects without keypoints, and people with keypoints."""
    categories = [
        {'id': number, 'name': name, 'supercategory': 'person' if name == 'person' else 'shape'}
        for number, name in enumerate(OBJECT_CLASSES, 1)
    ]
    person = {**categories[0], 'keypoints': KEYPOINTS, 'skeleton': SKELETON}
    people = [annotation for annotation in annotations if 'keypoints' in annotation]
    objects = [
        {key: value for key, value in annotation.items() if 'keypoints' not in key}
        for annotation in annotations
    ]
    for kind, kept, kinds in (
        ('instances', objects, categories),
        ('person_keypoints', people, [person]),
    ):
        content = {
            'info': {'description': 'mmhrnet mini', 'version': str(VERSION)},
            'images': images,
            'annotations': kept,
            'categories': kinds,
        }
        _write(folder / f'{kind}_{split}2017.json', _to_json(content))


def _annotation(instance: Instance) -> Entry:
    """COCO's entry of one object, without ids; its mask is a compressed run-length code."""
    code = mask_utils.encode(np.asfortranarray(instance.mask, np.uint8))
    annotation: Entry = {
        'category_id': instance.label + 1,
        'bbox': list(instance.bbox),
        'area': int(instance.mask.sum()),
        'segmentation': {'size': code['size'], 'counts': code['counts'].decode()},
        'iscrowd': 0,
    }
    if instance.keypoints is not None:
        annotation['keypoints'] = [
            number for x, y, seen in instance.keypoints.tolist() for number in (x, y, int(seen))
        ]
        annotation['num_keypoints'] = int((instance.keypoints[:, 2] > 0).sum())
    return annotation


def _write_image(path: Path, image: np.ndarray) -> None:
    _write(path, cv2.imencode(path.suffix, image)[1].tobytes())


def _to_json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
