"""Runs the whole models of ``mmhrnet export --format onnx`` without PyTorch and OpenMMLab.

    from mmhrnet.runtime import load, read_image

    model = load('pose.onnx')
    print(model(read_image('person.jpg'))['found'])

This file needs numpy, OpenCV or Pillow, and onnxruntime or openvino. It imports no other file, so
it can be copied beside a model: ``python runtime.py MODEL IMAGE --json DIR``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any, TextIO

import numpy as np

try:
    import cv2
except ImportError:  # Pillow then reads, resizes and draws, whose resizing differs in roundings
    cv2 = None  # type: ignore[assignment]

METADATA = 'mmhrnet.json'
BACKENDS = ('onnxruntime', 'openvino')
IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')
BATCH = 16  # persons at a time
WINDOWS = 4  # parts of a picture at a time
TOP = 5  # classes that are listed
SCORE = 0.3  # lowest score of an object that is listed, and of a joint that is drawn
PERSON = 'person'  # the class whose joints a pose estimator looks for
OVERLAP = 0.3  # of two boxes that are the same person, as in mmpose's demo
XYXY = {'bbox_format': 'xyxy'}
TEXT = 0.036  # height of a line of text, of the longer side of a picture
PIXEL_DIGITS, SCORE_DIGITS = 2, 4
IN_PIXELS = ('bbox', 'keypoints')
Record = dict[str, Any]
Settings = Mapping[str, Any]  # of a step, or of a whole file
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


class ModelError(ValueError):
    """A file, picture or argument that cannot work. Its text is one line."""


def load(
    path: str | Path, backend: str = 'auto', threads: int | None = None, score: float = SCORE
) -> Model:
    """Loads a whole model.

    Args:
        path: The ``.onnx`` file.
        backend: 'onnxruntime', 'openvino', or 'auto' for the first that is installed.
        threads: Threads of a prediction; None leaves it to the backend.
        score: Lowest score of objects that are listed and of joints that are drawn.

    Raises:
        ModelError: The file is not a whole model or damaged, or no backend is installed.
    """
    about = read_about(Path(path))
    try:
        run = _session(path, backend, threads, about.get('precision') == 'bf16')
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged graph leads to
        raise ModelError(
            f'{path} cannot be loaded: {" ".join(str(error).split())[:200]}'
        ) from error
    return Model(about, run, score)


def _session(path: str | Path, backend: str, threads: int | None, bf16: bool) -> Run:
    if backend not in ('auto', *BACKENDS):
        raise ModelError(f'There is no backend {backend}: choose auto, {" or ".join(BACKENDS)}')
    for name in BACKENDS if backend == 'auto' else [backend]:
        try:
            return (
                _onnxruntime(path, threads)
                if name == 'onnxruntime'
                else _openvino(path, threads, bf16)
            )
        except ImportError:
            continue
    missing = BACKENDS[0] if backend == 'auto' else backend
    raise ModelError(f'There is no backend to run a model: pip install {missing}')


def _onnxruntime(path: str | Path, threads: int | None) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    providers = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})


def _openvino(path: str | Path, threads: int | None, bf16: bool) -> Run:
    import openvino

    options: dict[str, object] = {
        'PERFORMANCE_HINT': 'LATENCY',
        # Without it, some processors compute with half of the digits.
        'INFERENCE_PRECISION_HINT': 'bf16' if bf16 else 'f32',
    }
    if threads:
        options['INFERENCE_NUM_THREADS'] = threads
    model = openvino.Core().compile_model(str(path), 'CPU', options)
    return lambda images: list(model([images]).values())


def read_about(path: Path) -> Settings:
    """What a whole model says about itself, read without a backend.

    Raises:
        ModelError: There is no such file, it is damaged, or mmhrnet did not write it as a whole.
    """
    if not path.is_file():
        raise ModelError(f'There is no file {path}')
    content = path.read_bytes()
    if b'\x08location' in content or b'EPContext' in content:
        raise ModelError(f'{path} points to data outside of itself')
    try:
        properties = [dict(_fields(value)) for key, value in _fields(content) if key == 14]
        texts = {bytes(entry[1]): bytes(entry[2]) for entry in properties}
        about = json.loads(texts.get(METADATA.encode(), b'{}'))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ModelError(f'{path} is not an ONNX file, or it is truncated') from error
    if about.get('task') not in TASKS:
        raise ModelError(
            f'{path} is not a whole model: write one with mmhrnet export --format onnx, without '
            '--raw and --features'
        )
    return about


def _fields(content: bytes | memoryview) -> Iterator[tuple[int, Any]]:
    """Numbers and contents of the fields of a message of protobuf.

    Raises:
        ValueError, IndexError: It is none, or it is truncated.
    """
    view, at = memoryview(content), 0
    while at < len(view):
        key, at = _number(view, at)
        if key & 7 == 0:
            value, at = _number(view, at)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            size, at = _number(view, at)
        else:
            size = {1: 8, 5: 4}[key & 7]
        if at + size > len(view):
            raise ValueError('truncated')
        yield key >> 3, view[at : at + size]
        at += size


def _number(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while view[at] & 128:
        value |= (view[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return value | view[at] << shift, at + 1


@dataclass(frozen=True)
class Model:
    """A loaded file: ``model(image)`` returns what was found.

    Attributes:
        about: What the file says about itself: task, names, steps from a picture to the input.
        session: Takes the input and returns the outputs.
        score: Lowest score of objects that are listed and of joints that are drawn.
    """

    about: Settings
    session: Run
    score: float = SCORE

    def __call__(self, image: np.ndarray, boxes: np.ndarray | None = None) -> Record:
        """Predicts for a picture of any size.

        Args:
            image: BGR as OpenCV reads it, (H, W, 3) uint8.
            boxes: For top-down pose: left, top, right and bottom of each person in pixels, (P, 4).
                Without them, the whole picture is one person.

        Returns:
            What ``mmhrnet demo`` writes as JSON; for segmentation, ``label_map`` is the class of
            each pixel, (H, W) uint8.

        Raises:
            ModelError: Another image, or boxes for another task.
        """
        _check(image)
        task = self.about['task']
        if boxes is not None and task != 'pose':
            raise ModelError(f'Boxes are for pose; this file is for {task}')
        height, width = image.shape[:2]
        record = {'program': 'mmhrnet', 'version': self.about['mmhrnet']}
        record |= {'width': width, 'height': height}
        more = TASKS[task](self, image, boxes) if task == 'pose' else TASKS[task](self, image)
        return record | more

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the file by their names.

        Args:
            images: RGB of the size of the input, (N, H, W, 3) uint8.

        Raises:
            ModelError: The file takes another shape.
        """
        shape = self.about['shape']
        size = [*shape[:1], *shape[1:3]] if shape != 'free' else [len(images), *self._size(images)]
        if list(images.shape) != [*size, 3]:
            free = 'number' if self.about['fixed_size'] else 'number and size'
            raise ModelError(
                f'The file takes images of the shape {(*size, 3)}, not {images.shape}; one that is '
                f'exported without --static takes any {free}'
            )
        return dict(zip(self.about['outputs'], self.session(np.ascontiguousarray(images))))

    def _size(self, images: np.ndarray) -> Sequence[int]:
        return self.about['size'] if self.about['fixed_size'] else images.shape[1:3]

    def name(self, label: int) -> str:
        """The name of a class, or its number."""
        names = self.about['classes']
        return names[label] if label < len(names) else str(label)


def _check(image: object) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        raise ModelError('The image must be BGR, (H, W, 3) uint8, as read_image gives it')


@dataclass(frozen=True)
class TopDown:
    """A detector and a pose estimator: ``TopDown(detector, pose)(image)`` finds persons' joints.

    Attributes:
        detector: Finds the persons: its class 'person', or its only class if it names none.
        pose: Finds the joints in each of their boxes.

    Raises:
        ModelError: A model is for another task, or the detector does not know persons.
    """

    detector: Model
    pose: Model

    def __post_init__(self) -> None:
        found, task = self.detector.about['task'], self.pose.about['task']
        if found != 'detection':
            raise ModelError(f'The detector must be a file for detection, not for {found}')
        if task != 'pose':
            raise ModelError(f'A detector finds persons for a model for pose, not for {task}')
        if finds_persons(self.pose):
            raise ModelError('This model finds the persons itself: leave the detector out')
        if PERSON not in (self.detector.about['classes'] or [PERSON]):
            raise ModelError(f"The detector has no class '{PERSON}'")

    def __call__(self, image: np.ndarray) -> Record:
        """What the pose estimator finds in the boxes of the detector; see :class:`Model`."""
        _check(image)
        names = self.detector.about['classes'] or [PERSON]
        objects = detect(self.detector, image)
        persons = objects['labels'] == names.index(PERSON)
        boxes, scores = objects['boxes'][persons], objects['scores'][persons].astype(float)
        kept = _drop_doubles(boxes, scores)
        record = self.pose(image, boxes[kept])
        for person, score in zip(record['found'], scores[kept].tolist()):
            person['bbox_score'] = round(score, SCORE_DIGITS)
        return record


def _drop_doubles(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Indices of the boxes (P, 4) that overlap with none of a higher score, best first."""
    boxes, kept = boxes.astype(float), []
    sizes = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)  # mmpose counts both pixels of a border
    order = scores.argsort()[::-1]
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        first = np.maximum(boxes[best, :2], boxes[order, :2])
        last = np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.maximum(last - first + 1, 0).prod(1)
        order = order[common / (sizes[best] + sizes[order] - common) <= OVERLAP]
    return kept


def classify(model: Model, image: np.ndarray) -> Record:
    """The most likely classes of a picture."""
    scores = _run_one(model, _take_steps(model, image))['probabilities'][0]
    best = np.argsort(-scores, kind='stable')[:TOP].tolist()
    found = [{'label': i, 'class': model.name(i), 'score': float(scores[i])} for i in best]
    return {'found': round_numbers(found)}


def segment(model: Model, image: np.ndarray) -> Record:
    """The class of each pixel, and the share of each class."""
    shown = _take_steps(model, image)
    sizes = shown.shape[:2], image.shape[:2]
    if 'stride' in model.about:
        labels = _enlarge(slide(model, shown), *sizes, _aligned(model))
    else:
        outputs = _run_one(model, shown)
        labels = outputs['labels'][0]
        if labels.shape != image.shape[:2]:
            labels = _enlarge(outputs['logits'][0], *sizes, _aligned(model))
    counts = np.bincount(labels.ravel())
    found = [
        {'label': i, 'class': model.name(i), 'share': float(counts[i] / labels.size)}
        for i in np.argsort(-counts, kind='stable').tolist()
        if counts[i]
    ]
    return {'label_map': labels, 'found': round_numbers(found)}


def slide(model: Model, image: np.ndarray) -> np.ndarray:
    """The logits (C, H, W) of a picture, the mean of those of overlapping windows."""
    size = height, width = [*map(min, model.about['crop_size'], image.shape)]
    starts = map(_starts, image.shape, size, model.about['stride'])
    places = [(slice(y, y + height), slice(x, x + width)) for y, x in product(*starts)]
    crops = [image[place] for place in places]
    parts = [outputs['logits'] for outputs in _in_batches(model, crops, WINDOWS)]
    total = np.zeros((len(parts[0]), *image.shape[:2]), np.float32)
    counts = np.zeros(image.shape[:2], np.float32)
    for place, logits in zip(places, parts):
        for whole, one in zip(total, logits):
            whole[place] += resize(one, size, _aligned(model))
        counts[place] += 1
    return total / counts


def _starts(side: int, window: int, stride: int) -> Iterator[int]:
    """Where the windows along a side begin; the last one is moved to end with the side."""
    last = side - window
    return (min(start, last) for start in range(0, last + stride, stride))


def _aligned(model: Model) -> bool:
    return model.about.get('align_corners', False)  # older files do not say it


def _enlarge(
    logits: np.ndarray, size: Sequence[int], target: Sequence[int], aligned: bool
) -> np.ndarray:
    """Labels of the size of the picture: logits (C, h, w) first grow to the size of the input."""
    best = np.full(tuple(target), -np.inf, np.float32)
    labels = np.zeros(tuple(target), np.uint8 if len(logits) <= 256 else np.int32)
    for index, one in enumerate(logits):
        one = resize(resize(one, size, aligned), target, aligned)
        higher = one > best
        best[higher], labels[higher] = one[higher], index
    return labels


def _take_steps(model: Model, image: np.ndarray) -> np.ndarray:
    for step in model.about['steps']:
        image = STEPS[step['type']](image, step)
    return image


def _run_one(model: Model, image: np.ndarray) -> dict[str, np.ndarray]:
    count = 1 if model.about['shape'] == 'free' else model.about['shape'][0]
    return model.run(np.repeat(image[None, ..., ::-1], count, axis=0))


def find_objects(model: Model, image: np.ndarray) -> Record:
    """The objects of a picture, with their masks if the file has them."""
    objects = detect(model, image)
    rows = zip(*(objects[key].tolist() for key in ('labels', 'scores', 'boxes')))
    found: list[Record] = [
        {'label': label, 'class': model.name(label), 'score': score, 'bbox': box}
        for label, score, box in rows
    ]
    for thing, box, mask in zip(found, objects['boxes'], objects.get('masks', ())):
        inside = paste_mask(mask, box, image.shape[:2], model.about['mask_threshold'])
        thing['mask'] = encode_mask(inside)
    return {**XYXY, 'found': round_numbers(found)}


def detect(model: Model, image: np.ndarray) -> dict[str, np.ndarray]:
    """What a detector is sure enough of.

    Args:
        model: The detector.
        image: BGR, (H, W, 3) uint8.

    Returns:
        ``labels`` (K,), ``scores`` (K,), ``boxes`` (K, 4) as left, top, right and bottom in pixels
        of the picture, and perhaps ``masks`` (K, h, w), probabilities within each box.
    """
    shown, factor, shift = image, np.ones(2), np.zeros(2)
    for step in model.about['steps']:
        before, shown = np.array(shown.shape[1::-1]), STEPS[step['type']](shown, step)
        after = np.array(shown.shape[1::-1])
        if step['type'] == 'RandomCenterCropPad':
            shift = after // 2 - before // 2
        else:
            factor = factor * (after / before)
    outputs = _run_one(model, shown)
    scores = outputs['scores'][0]
    kept = (scores >= model.score) & (scores > 0)
    found = {name: output[0][kept] for name, output in outputs.items()}
    boxes = found['boxes'] - np.tile(shift, 2).astype(np.float32)
    # mmdet divides the boxes of masks and multiplies all others, which differ in the last digit.
    if 'masks' in found:
        found['boxes'] = boxes / np.tile(factor, 2).astype(np.float32)
    else:
        found['boxes'] = boxes * np.tile(1 / factor, 2).astype(np.float32)
    return found


def paste_mask(
    mask: np.ndarray, box: np.ndarray, size: Sequence[int], threshold: float
) -> np.ndarray:
    """The pixels of an object, (H, W) bool.

    Args:
        mask: Probabilities within the box, (h, w).
        box: Left, top, right and bottom in pixels of the picture.
        size: Height and width of the picture.
        threshold: Lowest probability of a pixel of the object.
    """
    left, top, right, bottom = box
    whole = np.zeros(tuple(size), bool)
    y, down = _spread(top, bottom, size[0], mask.shape[0])
    x, across = _spread(left, right, size[1], mask.shape[1])
    whole[y, x] = down @ mask @ across.T >= threshold
    return whole


def _spread(low: float, high: float, limit: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels from one side of a box to the other, and the weights of the cells for each."""
    first = max(int(np.floor(low)) - 1, 0)
    last = min(max(int(np.ceil(high)) + 1, first), limit)
    pixels = np.arange(first, last, dtype=np.float32) + np.float32(0.5)
    with np.errstate(divide='ignore', invalid='ignore'):
        places = (pixels - low) / (high - low) * cells - 0.5
    places[~np.isfinite(places)] = (cells - 1) / 2  # of a box without an extent
    distances = abs(places[:, None] - np.arange(cells, dtype=np.float32))
    return slice(first, last), np.maximum(1 - distances, 0)


def encode_mask(mask: np.ndarray) -> Record:
    """COCO's compressed run-length code of a mask, (H, W) bool, as pycocotools writes it."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(edges, prepend=0, append=flat.size)
    if flat[0]:
        runs = np.insert(runs, 0, 0)  # the first run is one of zeros
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    text = bytearray()
    for number in numbers.tolist():
        more = True
        while more:  # five bits at a time, the lowest first, and a sixth for more
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text.append(48 + bits + 32 * more)
    return {'size': list(mask.shape), 'counts': text.decode()}


def decode_mask(code: Settings) -> np.ndarray:
    """The mask, (H, W) bool, of COCO's compressed run-length code."""
    runs: list[int] = []
    number = shift = 0
    for bits in code['counts'].encode():
        number |= (bits - 48 & 31) << shift
        shift += 5
        if bits - 48 & 32:
            continue
        if bits - 48 & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    height, width = code['size']
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def find_joints(model: Model, image: np.ndarray, boxes: np.ndarray | None) -> Record:
    """The joints of the person in each box, or of those that the model finds itself."""
    if finds_persons(model):
        if boxes is not None:
            raise ModelError('This model finds the persons itself: give it no boxes')
        return _list_persons(model, find_persons(model, image))
    height, width = image.shape[:2]
    given = [[0, 0, width, height]] if boxes is None else boxes
    boxes = np.asarray(given, np.float32).reshape(-1, 4)
    steps = {step['type']: step for step in model.about['steps']}
    width, height = size = steps['TopdownAffine']['input_size']
    centres, scales = _frames(boxes, steps['GetBBoxCenterScale']['padding'], width / height)
    matrix = _udp_matrix if steps['TopdownAffine']['use_udp'] else _matrix
    crops = [warp(image, matrix(c, s, size), size) for c, s in zip(centres, scales)]
    parts = _in_batches(model, crops, BATCH)
    found = []
    for centre, scale, box, outputs in zip(centres, scales, boxes, parts):
        joints = outputs['keypoints'] / np.array(size) * scale + centre - 0.5 * scale
        one = {
            'keypoints': joints.astype(np.float32).tolist(),
            'keypoint_scores': outputs['scores'].tolist(),
        }
        found.append({**one, 'bbox': box.tolist(), 'bbox_score': 1.0})
    return _list_persons(model, found)


def _list_persons(model: Model, found: list[Record]) -> Record:
    names = model.about['keypoints']
    record = {**XYXY, **({'keypoint_names': names} if names else {})}
    return {**record, 'found': round_numbers(found)}


def finds_persons(model: Model) -> bool:
    """Whether a model finds the joints of all persons of a picture at once."""
    return 'suppression' in model.about


def find_persons(model: Model, image: np.ndarray) -> list[Record]:
    """The joints of each person in a picture."""
    (step,) = model.about['steps']
    shown, centre, scale = resize_for_persons(image, step)
    outputs = _run_one(model, shown)
    there = outputs['instance_scores'][0] != 0
    joints, scores, ranks = (outputs[name][0][there] for name in model.about['outputs'])
    kept = drop_near(joints, ranks, **model.about['suppression'])
    joints = joints[kept] / np.array(shown.shape[1::-1]) * scale + centre - 0.5 * scale
    return [
        {'keypoints': places.tolist(), 'keypoint_scores': values.tolist()}
        for places, values in zip(joints.astype(np.float32), scores[kept])
    ]


def resize_for_persons(
    image: np.ndarray, step: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brings a picture into a size, or around it, of sides that a factor divides.

    Returns:
        The input, and the centre and the size of what it shows in pixels of the picture, (2,).
    """
    (h, w), factor, expands = image.shape[:2], step['size_factor'], step['resize_mode'] == 'expand'
    limits = [-(-side // factor) * factor for side in step['input_size']]
    choose = max if expands else min
    exact = choose(limits[0], limits[1] * (w / h)), choose(limits[1], limits[0] / (w / h))
    size = [int(np.ceil(side / factor) * factor) for side in exact] if expands else limits
    sides = np.array([w, h])
    if step['use_udp']:
        centre, scale = ((sides - 1.0) / 2).astype(np.float32), sides.astype(np.float32)
        matrix = _udp_matrix(centre, scale, exact)
    else:
        centre = (sides / 2).astype(np.float32)
        scale = (sides * np.array(size) / exact).astype(np.float32)
        matrix = _matrix(centre, scale, size)
    return warp(image, matrix, size), centre, scale


def drop_near(
    joints: np.ndarray, ranks: np.ndarray, distance: float, near: int | None, most: int
) -> list[int]:
    """Indices of persons (P, K, 2) that share few places with better ones, best first."""
    if not len(joints) or distance <= 0:
        return [*range(len(joints))]
    extents = np.linalg.norm(joints.max(1) - joints.min(1), axis=1)
    gaps = np.linalg.norm(joints[:, None] - joints, axis=3)
    limit = joints.shape[1] // 2 if near is None else near
    close = (gaps < (extents * distance)[:, None, None]).sum(2) > limit
    np.fill_diagonal(close, True)  # also where all joints are in one place
    kept, dropped = [], np.zeros(len(joints), bool)
    for index in np.argsort(ranks)[::-1]:
        group = close[index].nonzero()[0]
        best = group[ranks[group].argmax()]
        if not (dropped[index] or dropped[best]):
            kept.append(int(best))
            dropped |= close[index]
    if 0 < most < len(kept):
        kept = [kept[i] for i in np.argsort(ranks[kept])[::-1][:most]]
    return kept


def _in_batches(
    model: Model, crops: Sequence[np.ndarray], most: int
) -> Iterator[dict[str, np.ndarray]]:
    """The outputs for each of some pictures of one size."""
    shape = model.about['shape']
    count = most if shape == 'free' else shape[0]
    for start in range(0, len(crops), count):
        part = list(crops[start : start + count])
        missing = 0 if shape == 'free' else count - len(part)
        images = np.stack(part + part[:1] * missing)[..., ::-1]
        outputs = model.run(images)
        for index in range(len(part)):
            yield {name: output[index] for name, output in outputs.items()}


def _frames(boxes: np.ndarray, padding: float, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (P, 2) of boxes, and their sizes (P, 2) with a margin, widened to a ratio."""
    w, h = np.hsplit((boxes[:, 2:] - boxes[:, :2]) * padding, 2)
    wide = np.hstack([w, w / ratio])
    scales = np.where(w > h * ratio, wide, np.hstack([h * ratio, h]))
    return (boxes[:, 2:] + boxes[:, :2]) * 0.5, scales


def _matrix(centre: np.ndarray, scale: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The map (2, 3) from the picture to the input, as mmpose computes it from three points."""
    half = size[0] * 0.5
    source, target = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    source[0], source[1] = centre, centre + np.array([scale[0] * -0.5, 0.0])
    target[0], target[1] = [half, size[1] * 0.5], [0, size[1] * 0.5]
    for points in (source, target):
        across = points[0] - points[1]
        points[2] = points[1] + [-across[1], across[0]]
    if cv2 is not None:
        return cv2.getAffineTransform(source, target)
    return np.linalg.solve(np.hstack([source, np.ones((3, 1))]), target).T


def _udp_matrix(centre: np.ndarray, scale: np.ndarray, size: Sequence[float]) -> np.ndarray:
    """The same, from the centre of the first pixel to that of the last."""
    matrix = np.zeros((2, 3), np.float32)
    for axis in (0, 1):
        factor = (size[axis] - 1) / scale[axis]
        matrix[axis, axis] = factor
        matrix[axis, 2] = factor * (-0.5 * (centre[axis] * 2) + 0.5 * scale[axis])
    return matrix


def resize_edge(image: np.ndarray, step: Settings) -> np.ndarray:
    """Resizes the shorter side."""
    (h, w), side = image.shape[:2], step['scale']
    size = (int(side * h / w), side) if w < h else (side, int(side * w / h))
    return resizer(step)(image, size)


def resizer(step: Settings) -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    """How the library that a step names resizes."""
    return smooth if step.get('backend') == 'pillow' else resize


def crop_centre(image: np.ndarray, step: Settings) -> np.ndarray:
    """Cuts the middle out."""
    crop = step['crop_size']
    width, height = (crop, crop) if isinstance(crop, int) else crop
    top = max(0, round((image.shape[0] - height) / 2))
    left = max(0, round((image.shape[1] - width) / 2))
    return image[top : top + height, left : left + width]


def resize_whole(image: np.ndarray, step: Settings) -> np.ndarray:
    """Resizes to a size, or to as much of it as the ratio of the sides allows."""
    (h, w), scale = image.shape[:2], step['scale']
    width, height = (scale, scale) if isinstance(scale, int) else scale
    if step['keep_ratio']:
        longer, shorter = max(width, height), min(width, height)
        factor = min(longer / max(h, w), shorter / min(h, w))
        height, width = int(h * factor + 0.5), int(w * factor + 0.5)
    return resizer(step)(image, (height, width))


def resize_to_multiple(image: np.ndarray, step: Settings) -> np.ndarray:
    """Enlarges each side to a multiple of a number of pixels."""
    divisor = step['size_divisor']
    height, width = (-(-side // divisor) * divisor for side in image.shape[:2])
    return resize(image, (height, width))


def pad_around(image: np.ndarray, step: Settings) -> np.ndarray:
    """Puts a picture into the middle of one whose sides the network divides."""
    way, value = step['test_pad_mode']
    sides = []
    for side in image.shape[:2]:
        more = (side | value) + step['test_pad_add_pix']
        sides.append(more if way == 'logical_or' else -(-side // value) * value)
    colour = step['mean'][::-1] if step['to_rgb'] else step['mean']
    whole = np.empty((*sides, 3), np.uint8)
    whole[:] = np.round(colour)
    (top, height), (left, width) = (
        (new // 2 - old // 2, min(old, old // 2 + new // 2)) for old, new in zip(image.shape, sides)
    )
    whole[top : top + height, left : left + width] = image[:height, :width]
    return whole


STEPS: Mapping[str, Callable[[np.ndarray, Settings], np.ndarray]] = {
    'ResizeEdge': resize_edge,
    'CenterCrop': crop_centre,
    'Resize': resize_whole,
    'ResizeToMultiple': resize_to_multiple,
    'RandomCenterCropPad': pad_around,
}
TASKS: Mapping[str, Callable[..., Record]] = {
    'detection': find_objects,
    'classification': classify,
    'segmentation': segment,
    'pose': find_joints,
}


def resize(image: np.ndarray, size: Sequence[int], aligned: bool = False) -> np.ndarray:
    """Resizes (H, W) or (H, W, 3) to a height and width, bilinearly.

    Pixels are areas, as in OpenCV; with ``aligned``, they are points, and the outermost stay.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    if cv2 is not None and not aligned:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    places = []
    for old, new in zip(image.shape, size):
        if aligned:  # in the digits of PyTorch
            place = np.arange(new, dtype=np.float32) * (np.float32(old - 1) / max(new - 1, 1))
        else:
            place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        low = place.astype(int)
        places.append((low, np.minimum(low + 1, old - 1), (place - low).astype(np.float32)))
    (top, below, down), (left, right, across) = places
    tail = (1,) * (image.ndim - 2)
    down, across = down.reshape(-1, 1, *tail), across.reshape(-1, *tail)
    rows = image[top] * (1 - down) + image[below] * down
    mixed = rows[:, left] * (1 - across) + rows[:, right] * across
    return mixed.round().astype(np.uint8) if image.dtype == np.uint8 else mixed


def smooth(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resizes (H, W, 3) uint8 to a height and width as Pillow does, to the bit."""
    for axis in (1, 0):
        if image.shape[axis] != size[axis]:
            image = _smooth_axis(image.swapaxes(0, axis), size[axis]).swapaxes(0, axis)
    return image


def _smooth_axis(image: np.ndarray, length: int) -> np.ndarray:
    """Weighs the pixels around each new one along the first axis, in whole numbers of 22 bits."""
    step = len(image) / length
    reach = max(step, 1.0)
    centre = (np.arange(length) + 0.5) * step
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    last = np.minimum((centre + reach + 0.5).astype(int), len(image))
    taps = first[:, None] + np.arange((last - first).max())
    weights = np.maximum(1 - abs((taps - centre[:, None] + 0.5) * (1 / reach)), 0)
    weights *= taps < last[:, None]
    weights = (weights / weights.sum(1, keepdims=True) * (1 << 22) + 0.5).astype(np.int32)
    total = np.full((length, *image.shape[1:]), 1 << 21, np.int32)
    for place, weight in zip(taps.T, weights.T):
        total += image[np.minimum(place, len(image) - 1)] * weight[:, None, None]
    return (total >> 22).clip(0, 255).astype(np.uint8)


def warp(image: np.ndarray, matrix: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The part of a picture that a map (2, 3) brings to a width and height, black outside."""
    if cv2 is not None:
        return cv2.warpAffine(image, matrix, tuple(size), flags=cv2.INTER_LINEAR)
    from PIL import Image

    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    back[:, 2] += 0.5 - back[:, :2] @ [0.5, 0.5]  # Pillow counts from the corners of pixels
    picture = Image.fromarray(np.ascontiguousarray(image))
    done = picture.transform(
        tuple(size), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BILINEAR
    )
    return np.asarray(done)


def round_numbers(found: list[Record]) -> list[Record]:
    """Pixels with two decimals, scores and shares with four, as ``mmhrnet demo`` writes them."""
    return [
        {k: _round(v, PIXEL_DIGITS if k in IN_PIXELS else SCORE_DIGITS) for k, v in thing.items()}
        for thing in found
    ]


def _round(value: Any, digits: int) -> Any:
    if isinstance(value, list):
        return [_round(part, digits) for part in value]
    return round(value, digits) if isinstance(value, float) else value


def to_json(content: Settings) -> str:
    """JSON with a line for each entry, and one for each thing that was found."""
    lines = [f' {json.dumps(key)}: {_write_entry(value)}' for key, value in content.items()]
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def _write_entry(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return '[\n' + ',\n'.join(f'  {json.dumps(thing)}' for thing in value) + '\n ]'
    return json.dumps(value)


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image as BGR, (H, W, 3) uint8, upright by its EXIF.

    Raises:
        ModelError: It is not an image.
    """
    image = None
    if Path(path).is_file():
        image = cv2.imread(str(path), cv2.IMREAD_COLOR) if cv2 is not None else _read(path)
    if image is None:
        raise ModelError(f'{path} is not an image that can be read')
    return image


def _read(path: str | Path) -> np.ndarray | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert('RGB'))[..., ::-1]
    except (OSError, ValueError):
        return None


def write_png(path: Path, image: np.ndarray) -> None:
    """Writes BGR or grey, (H, W, 3) or (H, W) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.ascontiguousarray(image)
    if cv2 is not None:
        path.write_bytes(cv2.imencode('.png', image)[1].tobytes())
    else:
        from PIL import Image

        Image.fromarray(image if image.ndim == 2 else image[..., ::-1]).save(path)


def draw(model: Model | TopDown, image: np.ndarray, record: Record) -> np.ndarray:
    """Draws what was found on a copy of the image, BGR (H, W, 3) uint8."""
    if isinstance(model, TopDown):
        model = model.pose
    if 'label_map' in record:
        palette = _palette(model.about['palette'], int(record['label_map'].max()) + 1)
        colours = palette[record['label_map']][..., ::-1]
        return (image * 0.5 + colours * 0.5).astype(np.uint8)
    if model.about['task'] == 'pose':
        return _draw_joints(model, image, record)
    if model.about['task'] == 'detection':
        return _draw_objects(model, image, record)
    height = TEXT * max(image.shape)
    texts = [((0, height * row), _caption(thing)) for row, thing in enumerate(record['found'])]
    return _paint(image, texts=texts)


def _caption(thing: Record) -> str:
    return f'{thing["class"]}: {100 * thing["score"]:.1f} %'


def _draw_objects(model: Model, image: np.ndarray, record: Record) -> np.ndarray:
    found, lines, texts = record['found'], [], []
    count = max((thing['label'] for thing in found), default=-1) + 1
    palette, image = _palette(model.about['palette'], count), image.copy()
    for thing in found:
        colour = palette[thing['label']]
        if 'mask' in thing:
            inside = decode_mask(thing['mask'])
            image[inside] = image[inside] * 0.5 + colour[::-1] * 0.5
        left, top, right, bottom = thing['bbox']
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        edges = zip(corners, corners[1:] + corners[:1])
        lines += [(start, end, tuple(colour.tolist())) for start, end in edges]
        texts.append(((left, top), _caption(thing)))
    return _paint(image, lines, texts=texts)


def _palette(colours: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Colours (C, 3), RGB; random ones for classes without."""
    rest = np.random.default_rng(0).integers(0, 256, (max(count - len(colours), 0), 3))
    return np.concatenate([np.array(colours, int).reshape(-1, 3), rest]).astype(np.uint8)


def _draw_joints(model: Model, image: np.ndarray, record: Record) -> np.ndarray:
    about, lines, dots = model.about, [], []
    links = _palette(about['skeleton_palette'], len(about['skeleton'])).tolist()
    for person in record['found']:
        places, scores = person['keypoints'], person['keypoint_scores']
        joints = _palette(about['palette'], len(places)).tolist()
        seen = [score >= model.score for score in scores]
        for (start, end), colour in zip(about['skeleton'], links):
            if seen[start] and seen[end]:
                lines.append((places[start], places[end], tuple(colour)))
        dots += [(place, tuple(c)) for place, c, ok in zip(places, joints, seen) if ok]
    return _paint(image, lines, dots)


def _paint(
    image: np.ndarray,
    lines: Iterable[tuple[Sequence[float], Sequence[float], tuple[int, ...]]] = (),
    dots: Iterable[tuple[Sequence[float], tuple[int, ...]]] = (),
    texts: Iterable[tuple[Sequence[float], str]] = (),
) -> np.ndarray:
    """Lines and dots with their colours, RGB, and texts below and right of places, on a copy."""
    thick = max(1, round(max(image.shape) / 300))
    if cv2 is None:
        return _paint_with_pillow(image, lines, dots, texts, thick)
    image = image.copy()
    for start, end, colour in lines:
        cv2.line(image, _whole(start), _whole(end), colour[::-1], thick, cv2.LINE_AA)
    for place, colour in dots:
        cv2.circle(image, _whole(place), 2 * thick, colour[::-1], -1, cv2.LINE_AA)
    size = max(image.shape) / 1000
    for (x, y), text in texts:
        corner = _whole((x + 4 * thick, y + TEXT * max(image.shape)))
        for colour, width in (((0, 0, 0), 3 * thick), ((255, 255, 255), thick)):
            cv2.putText(image, text, corner, 0, size, colour, width, cv2.LINE_AA)
    return image


def _paint_with_pillow(
    image: np.ndarray, lines: Iterable, dots: Iterable, texts: Iterable, thick: int
) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    pen = ImageDraw.Draw(picture)
    for start, end, colour in lines:
        pen.line([*_whole(start), *_whole(end)], fill=colour, width=thick)
    for (x, y), colour in dots:
        pen.ellipse([x - 2 * thick, y - 2 * thick, x + 2 * thick, y + 2 * thick], fill=colour)
    size = 0.8 * TEXT * max(image.shape)
    style = dict(fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0), font_size=size)
    for (x, y), text in texts:
        pen.text((x + 4 * thick, y + 2 * thick), text, **style)
    return np.asarray(picture)[..., ::-1]


def _whole(place: Sequence[float]) -> tuple[int, int]:
    return round(place[0]), round(place[1])


def write_image(model: Model | TopDown, path: Path, name: Path, options: Namespace) -> None:
    """Predicts for an image file and writes NAME.json and NAME.png into the folders asked for."""
    image = read_image(path)
    record = model(image)
    if options.draw:
        write_png(options.draw / f'{name}.png', draw(model, image, record))
    labels = record.pop('label_map', None)
    content = _name_source(record, image=str(path))
    if labels is not None:
        found = content.pop('found')
        content |= {'label_map': f'{name.name}_labels.png', 'found': found}
    if not options.json:
        print(to_json(content), end='')
        return
    target = options.json / f'{name}.json'
    if labels is not None:
        write_png(target.with_name(f'{name.name}_labels.png'), labels)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(to_json(content).encode('utf-8', 'backslashreplace'))


def _name_source(record: Record, **source: object) -> Record:
    """The record with what it is about, where ``mmhrnet demo`` writes that."""
    head = {key: record.pop(key) for key in ('program', 'version')}
    return {**head, **source, **record}


def write_video(model: Model | TopDown, source: Path | int, options: Namespace) -> None:
    """Predicts for a video, or for a camera until Ctrl-C: NAME.jsonl and NAME.mp4.

    The first line is about the whole, each further one about a frame. Files appear when they are
    complete. Without a folder for them, each line is printed at once.

    Raises:
        ModelError: OpenCV is missing or can read no frame.
    """
    if cv2 is None:
        raise ModelError('Videos and cameras need OpenCV: pip install opencv-python-headless')
    kind, name = 'camera', f'camera{source}'
    if isinstance(source, Path):
        kind, name = 'video', source.stem
    capture = _capture(source)
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    frames = _read_frames(capture)
    first = next(frames, None)
    if first is None:
        raise ModelError(f'{source} is not a {kind} that OpenCV reads')
    about = {kind: source if kind == 'camera' else str(source), 'fps': rate}
    with (
        _open_lines(options.json / f'{name}.jsonl') if options.json else nullcontext() as lines,
        _open_video(options.draw / f'{name}.mp4', rate) if options.draw else nullcontext() as show,
    ):
        try:
            _write_frames(model, chain([first], frames), about, lines, show)
        except KeyboardInterrupt:
            if kind == 'video':  # a part would pass for the whole
                raise


def _capture(source: Path | int) -> Any:
    """What OpenCV reads frames from. If it cannot, we say so, and its own log need not."""
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source if isinstance(source, int) else str(source))
    finally:
        log.setLogLevel(level)


def _read_frames(capture: Any) -> Iterator[np.ndarray]:
    while (frame := capture.read()[1]) is not None:
        yield frame


def _write_frames(
    model: Model | TopDown,
    frames: Iterable[np.ndarray],
    about: Record,
    lines: TextIO | None,
    show: Callable[[np.ndarray], None] | None,
) -> None:
    """Draws each frame, and writes or prints its line."""
    for index, frame in enumerate(frames):
        record = model(frame)
        if show:
            show(draw(model, frame, record))
        record.pop('label_map', None)
        found = record.pop('found')
        if index == 0:
            print(json.dumps(_name_source(record, **about)), file=lines, flush=True)
        print(json.dumps({'frame': index, 'found': found}), file=lines, flush=True)


@contextmanager
def _open_lines(path: Path) -> Iterator[TextIO]:
    with _beside(path) as temporary, temporary.open('w', encoding='utf-8') as file:
        yield file


@contextmanager
def _open_video(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that writes a frame."""
    writer, count = cv2.VideoWriter(), 0

    def write(picture: np.ndarray) -> None:
        nonlocal count
        height, width = (side - side % 2 for side in picture.shape[:2])  # codecs need even sides
        if not count:
            code = cv2.VideoWriter.fourcc(*'mp4v')
            writer.open(str(temporary), code, rate, (width, height))
        writer.write(np.ascontiguousarray(picture[:height, :width]))
        count += 1

    with _beside(path) as temporary:
        try:
            yield write
        finally:
            writer.release()
        written = cv2.VideoCapture(str(temporary)).get(cv2.CAP_PROP_FRAME_COUNT)
        if written < count:  # OpenCV does not report a full disk
            raise OSError(f'OpenCV could not write all of the {count} frames of {path}')


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary path, which replaces the given one if nothing is raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.mmhrnet-{os.getpid()}.{path.name}')
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def find_images(source: Path) -> list[tuple[Path, Path]]:
    """The images of a path, each with the name of its results.

    Raises:
        ModelError: There is no such path, or no image in it.
    """
    if source.is_file():
        return name_results([source], source)
    found = sorted(path for path in source.rglob('*') if path.suffix.lower() in IMAGES)
    if not found:
        raise ModelError(f'There is no image, folder of images, video or camera {source}')
    return name_results(found, source)


def name_results(images: Sequence[Path], source: Path) -> list[tuple[Path, Path]]:
    """Each image with the path of its results, without suffix, below the output folder.

    The suffix of the image stays in the name where two images differ only by it.
    """
    root = source if source.is_dir() else source.parent
    names = [path.relative_to(root).with_suffix('') for path in images]
    counts = Counter(names)
    return [
        (path, name if counts[name] == 1 else path.relative_to(root))
        for path, name in zip(images, names)
    ]


def main(words: Sequence[str] | None = None) -> int:
    """The command. A bad image does not stop the others.

    Returns:
        The exit status: 0, or 2 after a line about each mistake.
    """
    parser = ArgumentParser(description='Run a whole model of mmhrnet without PyTorch.')
    parser.add_argument('model', metavar='MODEL.onnx', type=Path)
    parser.add_argument('source', metavar='IMAGE|FOLDER|VIDEO|CAMERA', type=Path)
    parser.add_argument('--backend', choices=['auto', *BACKENDS], default='auto')
    parser.add_argument('--threads', type=int)
    persons = 'for pose: the whole model of a detector, which finds the persons'
    parser.add_argument('--detector', type=Path, metavar='DETECTOR.onnx', help=persons)
    lowest = 'lowest score drawn and listed; default: %(default)s'
    parser.add_argument('--score-thr', type=float, default=SCORE, help=lowest)
    parser.add_argument('--draw', type=Path, metavar='DIR', help='folder for pictures')
    results = 'folder for a JSON file for each image; without it, they are printed'
    parser.add_argument('--json', type=Path, metavar='DIR', help=results)
    options = parser.parse_args(words)
    try:
        mistakes = run_all(options)
    except (ModelError, OSError) as error:
        mistakes = [str(error)]
    for text in mistakes:
        print(f'{parser.prog}: {text}', file=sys.stderr)
    return 2 if mistakes else 0


def run_all(options: Namespace) -> list[str]:
    """Predicts for everything that the command names; returns what could not be read."""
    how = (options.backend, options.threads, options.score_thr)
    single = load(options.model, *how)
    model = TopDown(load(options.detector, *how), single) if options.detector else single
    source = options.source
    is_camera = re.fullmatch('[0-9]{1,4}', str(source)) and not source.exists()
    if is_camera or source.suffix.lower() in VIDEOS:
        write_video(model, int(str(source)) if is_camera else source, options)
        return []
    mistakes = []
    for path, name in find_images(source):
        try:
            write_image(model, path, name, options)
        except ModelError as error:
            mistakes.append(str(error))
    return mistakes


if __name__ == '__main__':
    sys.exit(main())
