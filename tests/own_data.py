"""Small data sets of the four forms, laid out as docs/your_data.md shows, from drawn scenes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from mmhrnet.datasets.mini import write_mini

BOXES = {'disk': 'nut', 'square': 'bolt', 'triangle': 'washer'}
JOINTS = {'nose': 0, 'left_shoulder': 5, 'right_shoulder': 6, 'hips': 11}  # their place in COCO
MAPS = {'person': 1, 'disk': 2, 'square': 2, 'triangle': 2, 'star': 255}  # all else is 0
FOLDERS = ('meadow', 'beach', 'desert')


def write_own_data(folder: Path, num_train: int, num_val: int) -> None:
    """Writes ``data/parts``, ``data/people``, ``data/scenes`` and ``data/places``."""
    source = write_mini(folder / 'drawn', num_train=num_train, num_val=num_val)
    for split in ('train', 'val'):
        images = source / f'{split}2017'
        for name in ('parts', 'people'):
            shutil.copytree(images, folder / 'data' / name / split)
        write_boxes(source, folder / 'data/parts', split)
        write_joints(source, folder / 'data/people', split)
        shutil.copytree(images, folder / 'data/scenes/images' / split)
        write_maps(source, folder / 'data/scenes/labels', split)
        write_folders(source, folder / 'data/places', split)


def write_boxes(source: Path, folder: Path, split: str) -> None:
    coco = json.loads((source / f'annotations/instances_{split}2017.json').read_text())
    names = {category['id']: BOXES.get(category['name']) for category in coco['categories']}
    classes = list(BOXES.values())
    coco['categories'] = [{'id': i, 'name': name} for i, name in enumerate(classes, 1)]
    coco['annotations'] = [a for a in coco['annotations'] if names[a['category_id']]]
    for annotation in coco['annotations']:
        annotation['category_id'] = classes.index(names[annotation['category_id']]) + 1
    (folder / f'{split}.json').write_text(json.dumps(coco))


def write_joints(source: Path, folder: Path, split: str) -> None:
    coco = json.loads((source / f'annotations/person_keypoints_{split}2017.json').read_text())
    coco['categories'] = [{'id': 1, 'name': 'person', 'keypoints': list(JOINTS)}]
    for annotation in coco['annotations']:
        joints = np.reshape(annotation['keypoints'], (-1, 3))[list(JOINTS.values())]
        annotation.update(keypoints=joints.ravel().tolist())
        annotation.update(num_keypoints=int((joints[:, 2] > 0).sum()))
    (folder / f'{split}.json').write_text(json.dumps(coco))


def write_maps(source: Path, folder: Path, split: str) -> None:
    names = json.loads((source / 'meta/classes.json').read_text())['semantic_classes']
    indices = np.array([MAPS.get(name, 0) for name in names], np.uint8)
    (folder / split).mkdir(parents=True)
    for file in (source / f'semantic/{split}2017').iterdir():
        drawn = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / split / file.name), indices[drawn])


def write_folders(source: Path, folder: Path, split: str) -> None:
    names = json.loads((source / 'meta/classes.json').read_text())['scene_classes']
    for line in (source / f'meta/{split}.txt').read_text().splitlines():
        file, label = line.split()
        if names[int(label)] in FOLDERS:
            place = folder / split / names[int(label)]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / f'{split}2017' / file, place)
