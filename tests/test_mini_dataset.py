from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmhrnet.datasets import (
    KEYPOINTS,
    OBJECT_CLASSES,
    SCENE_CLASSES,
    SEMANTIC_CLASSES,
    SEMANTIC_PALETTE,
    draw_scene,
    mini_root,
    scene,
    write_mini,
)
from mmhrnet.datasets import mini as mini_module

SIZES = {'num_train': 30, 'num_val': 20}
FIRST_OBJECT = SEMANTIC_CLASSES.index(OBJECT_CLASSES[0])


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp('mini') / 'set', **SIZES)


@pytest.fixture(params=['train', 'val'])
def split(request: pytest.FixtureRequest) -> str:
    return request.param


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def load(root: Path, kind: str, split: str) -> COCO:
    return COCO(str(root / f'annotations/{kind}_{split}2017.json'))


def test_same_seed_gives_same_bytes(root: Path, tmp_path: Path) -> None:
    again = write_mini(tmp_path / 'again', **SIZES)
    assert contents(again) == contents(root)


def test_longer_set_begins_with_the_shorter_one(root: Path, tmp_path: Path) -> None:
    shorter = contents(write_mini(tmp_path / 'short', num_train=3, num_val=2))
    images = {name for name in shorter if name.endswith(('.jpg', '.png'))}
    assert len(images) == 2 * (3 + 2)
    longer = contents(root)
    assert all(shorter[name] == longer[name] for name in images)


def test_seeds_and_splits_differ(root: Path, tmp_path: Path) -> None:
    first = 'train2017/000000000001.jpg'
    other = contents(write_mini(tmp_path / 'other', num_train=1, num_val=1, seed=1))
    ours = contents(root)
    assert len({ours[first], ours[first.replace('train', 'val')], other[first]}) == 3


def test_images_fit_their_entries(root: Path, split: str) -> None:
    images = load(root, 'instances', split).imgs.values()
    assert len(images) == SIZES[f'num_{split}']
    for image in images:
        pixels = cv2.imread(str(root / f'{split}2017' / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3)
        assert 96 <= image['height'] <= 128
        assert 128 <= image['width'] <= 160
    assert len({(image['height'], image['width']) for image in images}) > len(images) / 2
    assert any(image['height'] % 2 and image['width'] % 2 for image in images)


def test_boxes_are_tight_around_masks(root: Path, split: str) -> None:
    coco = load(root, 'instances', split)
    assert coco.anns
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        image = coco.imgs[annotation['image_id']]
        assert mask.shape == (image['height'], image['width'])
        rows, columns = np.nonzero(mask)
        x, y = columns.min(), rows.min()
        width, height = columns.max() + 1 - x, rows.max() + 1 - y
        assert annotation['bbox'] == [x, y, width, height]
        assert annotation['area'] == mask.sum() >= 60
        assert annotation['iscrowd'] == 0
        assert not any('keypoints' in key for key in annotation)


def test_semantic_map_agrees_with_masks(root: Path, split: str) -> None:
    coco = load(root, 'instances', split)
    for image in coco.imgs.values():
        name = image['file_name'].replace('.jpg', '.png')
        semantic = cv2.imread(str(root / 'semantic' / f'{split}2017' / name), cv2.IMREAD_UNCHANGED)
        assert semantic.dtype == np.uint8
        expected = np.zeros(semantic.shape, np.uint8)
        for annotation in coco.imgToAnns[image['id']]:
            mask = coco.annToMask(annotation).astype(bool)
            assert not expected[mask].any(), 'visible parts overlap'
            expected[mask] = FIRST_OBJECT + annotation['category_id'] - 1
        assert ((semantic >= FIRST_OBJECT) == (expected > 0)).all()
        assert (semantic[expected > 0] == expected[expected > 0]).all()


def test_every_class_occurs(root: Path, split: str) -> None:
    coco = load(root, 'instances', split)
    assert {c['id']: c['name'] for c in coco.cats.values()} == dict(enumerate(OBJECT_CLASSES, 1))
    assert {annotation['category_id'] for annotation in coco.anns.values()} == set(coco.cats)

    maps = (root / f'semantic/{split}2017').iterdir()
    seen = {k for path in maps for k in np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))}
    assert seen == set(range(len(SEMANTIC_CLASSES)))


def test_image_labels_name_the_scene(root: Path, split: str) -> None:
    lines = (root / f'meta/{split}.txt').read_text().splitlines()
    labels = {name: int(label) for name, label in (line.split(' ') for line in lines)}
    assert sorted(labels) == sorted(path.name for path in (root / f'{split}2017').iterdir())
    assert set(labels.values()) == set(range(len(SCENE_CLASSES)))
    for name, label in labels.items():
        path = root / f'semantic/{split}2017' / name.replace('.jpg', '.png')
        found = np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        surfaces = {SEMANTIC_CLASSES[k] for k in found if k < FIRST_OBJECT}
        assert surfaces <= set(scene.SCENES[SCENE_CLASSES[label]])


def test_keypoints_follow_coco(root: Path, split: str) -> None:
    coco = load(root, 'person_keypoints', split)
    (person,) = coco.cats.values()
    assert (person['id'], person['name']) == (1, 'person')
    assert tuple(person['keypoints']) == KEYPOINTS
    assert len(KEYPOINTS) == 17
    assert person['skeleton'][:2] == [[16, 14], [14, 12]]
    assert len(person['skeleton']) == 19
    for annotation in coco.anns.values():
        image = coco.imgs[annotation['image_id']]
        points = np.array(annotation['keypoints']).reshape(17, 3)
        x, y, seen = points.T
        assert annotation['num_keypoints'] == (seen > 0).sum()
        assert (points[seen == 0] == 0).all()
        assert ((x >= 0) & (x <= image['width'] - 1)).all()
        assert ((y >= 0) & (y <= image['height'] - 1)).all()

        mask = coco.annToMask(annotation)
        own = mask[y.round().astype(int), x.round().astype(int)]
        assert (own[seen == 2] == 1).all()
        assert (own[seen == 1] == 0).all()


def test_hidden_keypoints_lie_under_another_object(root: Path) -> None:
    people, objects = load(root, 'person_keypoints', 'train'), load(root, 'instances', 'train')
    hidden = 0
    for annotation in people.anns.values():
        others = [
            a for a in objects.imgToAnns[annotation['image_id']] if a['id'] > annotation['id']
        ]
        for x, y, seen in np.array(annotation['keypoints']).reshape(17, 3):
            if seen == 1:
                hidden += 1
                assert any(objects.annToMask(a)[round(y), round(x)] for a in others)
    assert hidden


def test_people_are_the_same_in_both_files(root: Path, split: str) -> None:
    people, objects = load(root, 'person_keypoints', split), load(root, 'instances', split)
    assert set(people.anns) == set(objects.getAnnIds(catIds=[1]))
    for key, annotation in people.anns.items():
        assert objects.anns[key].items() <= annotation.items()


def test_left_is_right_of_right_and_lighter() -> None:
    gaps, shades = [], []
    for index in range(40):
        drawn = draw_scene(np.random.default_rng(index))
        grey = drawn.image.mean(-1)
        for instance in drawn.instances:
            if instance.keypoints is None:
                continue
            joints = dict(zip(KEYPOINTS, instance.keypoints))
            left, right = joints['left_shoulder'], joints['right_shoulder']
            if left[2] and right[2]:
                gaps.append(left[0] - right[0])
            knees = joints['left_knee'], joints['right_knee']
            if all(seen == 2 for _, _, seen in knees):
                left, right = (grey[round(y), round(x)] for x, y, _ in knees)
                shades.append(left - right)
    assert min(len(gaps), len(shades)) > 10
    assert min(gaps) > 0
    assert min(shades) > 0


def test_meta_names_all_classes(root: Path) -> None:
    meta = json.loads((root / 'meta/classes.json').read_text())
    assert tuple(meta['object_classes']) == OBJECT_CLASSES
    assert tuple(meta['semantic_classes']) == SEMANTIC_CLASSES
    assert tuple(meta['scene_classes']) == SCENE_CLASSES
    assert meta['seed'] == 0
    assert meta['version'] == mini_module.VERSION
    assert len(set(SEMANTIC_PALETTE)) == len(SEMANTIC_CLASSES)


@pytest.mark.parametrize('arguments', [{'num_train': 0}, {'num_val': -1}, {'seed': -1}])
def test_numbers_out_of_range(arguments: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        write_mini(tmp_path / 'set', **arguments)
    assert not (tmp_path / 'set').exists()


def test_earlier_set_is_kept(root: Path) -> None:
    before = (root / 'meta/classes.json').stat().st_mtime_ns
    assert write_mini(root, **SIZES) == root
    assert (root / 'meta/classes.json').stat().st_mtime_ns == before


def test_foreign_folder_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / 'note.txt').write_text('keep me')
    for out, seed in ((root, 1), (tmp_path, 0), (tmp_path / 'note.txt', 0)):
        with pytest.raises(FileExistsError, match='choose another folder'):
            write_mini(out, **SIZES, seed=seed)
    assert [path.name for path in tmp_path.iterdir()] == ['note.txt']


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    assert (write_mini(tmp_path, num_train=1, num_val=1) / 'meta/classes.json').is_file()


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw_twice(rng: np.random.Generator) -> scene.Scene:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(draw_scene(rng))
        return drawn[-1]

    monkeypatch.setattr(mini_module, 'draw_scene', draw_twice)
    with pytest.raises(KeyboardInterrupt):
        write_mini(tmp_path / 'set', num_train=5, num_val=1)
    assert len(drawn) == 2
    assert not list(tmp_path.iterdir())


def test_loser_of_a_race_accepts_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'set'

    def overtaken(rng: np.random.Generator) -> scene.Scene:
        monkeypatch.undo()
        write_mini(out, num_train=1, num_val=1)
        return draw_scene(rng)

    monkeypatch.setattr(mini_module, 'draw_scene', overtaken)
    write_mini(out, num_train=1, num_val=1)
    assert [path.name for path in tmp_path.iterdir()] == ['set']


def test_mini_root_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_scene(np.random.default_rng(0))
    monkeypatch.setattr(mini_module, 'draw_scene', lambda _: drawn)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    monkeypatch.delenv('MMHRNET_CACHE', raising=False)
    root = mini_root()
    assert root.parent == tmp_path / 'xdg/mmhrnet'
    assert str(mini_module.VERSION) in root.name
    assert len(list((root / 'train2017').iterdir())) == mini_module.NUM_TRAIN

    monkeypatch.setenv('MMHRNET_CACHE', str(tmp_path / 'own'))
    (tmp_path / 'own').mkdir()
    root.rename(tmp_path / 'own' / root.name)
    monkeypatch.setattr(mini_module, 'draw_scene', None)
    assert mini_root() == tmp_path / 'own' / root.name


def test_drawing_needs_no_training_library() -> None:
    script = (
        'import sys; import mmhrnet.datasets.mini, mmhrnet.datasets.scene;'
        'new = set(sys.modules) & {"torch", "mmcv", "mmdet", "mmpose", "mmseg", "mmpretrain"};'
        'sys.exit(str(new) if new else 0)'
    )
    subprocess.run([sys.executable, '-c', script], check=True)
