"""Scenes drawn by code: articulated people and simple shapes in front of textured backgrounds.

A scene is painted far to near on a canvas wider than the image by `MARGIN` on every side, then
cropped, so that an object may leave the image and its hidden share is still known.
Coordinates are (x, y) in pixels with integers at pixel centres, y pointing down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np


class Surface(NamedTuple):
    """Look of one background: a mean RGB colour and noise stretched over cells (height, width)."""

    colour: tuple[int, int, int]
    cell: tuple[int, int]
    contrast: float


class Shape(NamedTuple):
    """A shape of radius 1 around the origin.

    Attributes:
        radii: Distances of its corners, which are spread evenly over a turn.
        start: Angle in radians of the first corner from the x axis.
        marks: Dark lines on its face, each as start, end and half thickness.
    """

    radii: tuple[float, ...]
    start: float
    marks: tuple[tuple[tuple[float, float], tuple[float, float], float], ...]


SURFACES = {
    'sky': Surface((150, 185, 225), (32, 48), 16.0),
    'grass': Surface((95, 140, 60), (6, 1), 20.0),
    'water': Surface((45, 105, 145), (2, 12), 20.0),
    'sand': Surface((205, 175, 125), (1, 1), 12.0),
    'wall': Surface((190, 170, 165), (1000, 6), 12.0),
    'floor': Surface((125, 85, 55), (7, 1000), 14.0),
}
SCENES = {  # kind of scene: its surfaces from top to bottom
    'meadow': ('sky', 'grass'),
    'beach': ('sky', 'water', 'sand'),
    'desert': ('sky', 'sand'),
    'room': ('wall', 'floor'),
}
SHAPES = {
    'disk': Shape((1.0,) * 32, 0.0, (((0.0, 0.0), (0.0, 0.0), 0.5),)),
    'square': Shape(
        (1.0,) * 4,
        np.pi / 4,
        (((-0.53, -0.53), (0.53, 0.53), 0.14), ((-0.53, 0.53), (0.53, -0.53), 0.14)),
    ),
    'triangle': Shape(
        (1.0,) * 3,
        np.pi / 6,
        (((-0.18, -0.2), (0.18, -0.2), 0.13), ((-0.4, 0.2), (0.4, 0.2), 0.13)),
    ),
    'star': Shape((1.0, 0.45) * 5, -np.pi / 2, ()),
}

OBJECT_CLASSES = ('person', *SHAPES)
SCENE_CLASSES = tuple(SCENES)
SEMANTIC_CLASSES = (*SURFACES, *OBJECT_CLASSES)
OBJECT_PALETTE = (  # RGB, for display
    (220, 40, 60),
    (250, 160, 30),
    (150, 60, 200),
    (40, 200, 170),
    (250, 240, 80),
)
SEMANTIC_PALETTE = (*(surface.colour for surface in SURFACES.values()), *OBJECT_PALETTE)
KEYPOINTS = (
    'nose',
    *(
        f'{side}_{joint}'
        for joint in ('eye', 'ear', 'shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
        for side in ('left', 'right')
    ),
)

HEIGHTS, WIDTHS = (96, 128), (128, 160)  # of an image, both ends included
MARGIN = 48
MIN_OBJECTS, MAX_OBJECTS = 3, 8
OBJECT_ODDS = (1 / 3, *(2 / 3 / len(SHAPES) for _ in SHAPES))  # people are the richest class
PERSON_HEIGHTS, SHAPE_RADII = (44.0, 76.0), (13.0, 25.0)
MAX_TILT = 0.3  # radians, either way from upright
TYPICAL_HUES = {'disk': 30, 'square': 275, 'triangle': 165, 'star': 60}  # degrees
TYPICAL, HUE_SPREAD = 0.85, 15.0  # share of objects near the hue of their class, and how near
MIN_VISIBLE = 0.6  # share of an object that nearer ones and the image's border leave to see
ATTEMPTS = 8  # placements tried per wanted object
SUBPIXEL_BITS = 4
CAMERA_NOISE, OBJECT_CONTRAST = 4.0, 7.0  # standard deviations, of 255

# From, to, and half thickness of what a person has on either side, in its height.
LEGS = (('hip', 'knee', 0.048), ('knee', 'ankle', 0.04))
ARMS = (('shoulder', 'elbow', 0.042), ('elbow', 'wrist', 0.036))
EARS = (('ear', 'ear', 0.03),)


@dataclass(frozen=True)
class Instance:
    """One object of a scene.

    Attributes:
        label: Index into `OBJECT_CLASSES`.
        mask: Its visible pixels, bool (H, W).
        keypoints: For a person (17, 3): x, y and 2 (visible), 1 (hidden by a nearer object)
            or 0 (outside the image, x = y = 0). For other objects None.
    """

    label: int
    mask: np.ndarray
    keypoints: np.ndarray | None = None

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Tight box around the mask: x, y, width, height."""
        x, y, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return x, y, width, height


@dataclass(frozen=True)
class Scene:
    """One image with the ground truth of all tasks.

    Attributes:
        image: RGB, uint8 (H, W, 3).
        semantic: Index into `SEMANTIC_CLASSES` of every pixel, uint8 (H, W).
        instances: The objects from far to near.
        label: Index into `SCENE_CLASSES`.
    """

    image: np.ndarray
    semantic: np.ndarray
    instances: tuple[Instance, ...]
    label: int


class Part(NamedTuple):
    """A filled polygon (N, 2) and the name of its colour in the object's palette."""

    outline: np.ndarray
    paint: str


class Figure(NamedTuple):
    """An object: parts in painting order, the joints (17, 2) of a person, the hue of a shape."""

    parts: list[Part]
    joints: np.ndarray | None = None
    hue: float | None = None


class Layer(NamedTuple):
    """A figure in front of the background.

    Attributes:
        label: Index into `OBJECT_CLASSES`.
        figure: Its geometry on the canvas.
        visible: Its pixels in the image that no nearer layer covers, bool (H, W).
        required: How many pixels of it have to stay visible.
    """

    label: int
    figure: Figure
    visible: np.ndarray
    required: float


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draws one scene: its size, kind, objects and all their looks come from `rng` alone."""
    height, width = (int(rng.integers(low, high + 1)) for low, high in (HEIGHTS, WIDTHS))
    label = int(rng.integers(len(SCENE_CLASSES)))
    canvas, semantic = _draw_background(
        rng, SCENES[SCENE_CLASSES[label]], height + 2 * MARGIN, width + 2 * MARGIN
    )
    layers = _draw_objects(rng, canvas)

    image, semantic = _crop(canvas), _crop(semantic)
    image = image + rng.normal(0, CAMERA_NOISE, image.shape)
    for layer in layers:
        semantic[layer.visible] = len(SURFACES) + layer.label
    instances = tuple(
        Instance(layer.label, layer.visible, _keypoints(layer.figure.joints, layer.visible))
        for layer in layers
    )
    return Scene(image.clip(0, 255).astype(np.uint8), semantic, instances, label)


def _draw_objects(rng: np.random.Generator, canvas: np.ndarray) -> list[Layer]:
    """Paints `MIN_OBJECTS` to `MAX_OBJECTS` objects onto the canvas, in place, far to near.

    A placement that would leave too little of any object visible is dropped for another.
    """
    layers: list[Layer] = []
    wanted = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    for _ in range(ATTEMPTS * wanted):
        label = int(rng.choice(len(OBJECT_CLASSES), p=OBJECT_ODDS))
        figure = _make_figure(rng, label, canvas.shape)
        alpha = np.zeros(canvas.shape[:2], np.uint8)
        for part in figure.parts:
            _fill(alpha, part.outline, (255,))
        mask = alpha > 127

        candidates = [layer._replace(visible=layer.visible & ~_crop(mask)) for layer in layers]
        candidates.append(Layer(label, figure, _crop(mask), MIN_VISIBLE * mask.sum()))
        if all(layer.visible.sum() >= layer.required for layer in candidates):
            _paint(rng, canvas, figure, mask)
            layers = candidates
        if len(layers) == wanted:
            break
    return layers


def _draw_background(
    rng: np.random.Generator, surfaces: tuple[str, ...], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bands of texture with tilted borders: an RGB image and its semantic map."""
    canvas = np.empty((height, width, 3), np.uint8)
    semantic = np.empty((height, width), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    tilt = rng.uniform(-0.1, 0.1)
    for index, name in enumerate(surfaces):
        surface = SURFACES[name]
        colour = surface.colour + rng.normal(0, 12, 3)
        texture = surface.contrast * _noise(rng, height, width, surface.cell)  # (H, W)
        top = height * (index / len(surfaces) + rng.uniform(-0.07, 0.07)) if index else -np.inf
        below = rows + tilt * (columns - width / 2) >= top
        canvas[below] = (colour + texture[below][:, None]).clip(0, 255)
        semantic[below] = SEMANTIC_CLASSES.index(name)
    return canvas, semantic


def _noise(rng: np.random.Generator, height: int, width: int, cell: tuple[int, int]) -> np.ndarray:
    """Smooth noise (H, W) that varies over cells of the given height and width."""
    grid = rng.standard_normal((max(1, height // cell[0]), max(1, width // cell[1])), np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)


def _make_figure(rng: np.random.Generator, label: int, canvas_shape: tuple[int, ...]) -> Figure:
    """A figure of random size and tilt, its middle at a random point well inside the image."""
    if OBJECT_CLASSES[label] == 'person':
        figure, sizes = _make_person(rng), PERSON_HEIGHTS
    else:
        figure, sizes = _make_shape(SHAPES[OBJECT_CLASSES[label]]), SHAPE_RADII
    turn = rng.uniform(*sizes) * _rotation(rng.uniform(-MAX_TILT, MAX_TILT))  # (2, 2)
    corners = np.concatenate([part.outline for part in figure.parts]) @ turn
    middle = (corners.min(0) + corners.max(0)) / 2
    image_size = np.array(canvas_shape[1::-1]) - 2 * MARGIN  # (width, height)
    shift = MARGIN + image_size * rng.uniform(0.12, 0.88, 2) - middle
    parts = [Part(part.outline @ turn + shift, part.paint) for part in figure.parts]
    joints = None if figure.joints is None else figure.joints @ turn + shift
    return Figure(parts, joints, TYPICAL_HUES.get(OBJECT_CLASSES[label]))


def _make_shape(shape: Shape) -> Figure:
    """An upright shape of radius 1 around the origin."""
    angles = shape.start + np.linspace(0, 2 * np.pi, len(shape.radii), endpoint=False)
    corners = np.array(shape.radii)[:, None] * _direction(angles)  # (corners, 2)
    marks = [_capsule(np.array(start), np.array(end), width) for start, end, width in shape.marks]
    return Figure([Part(corners, 'body'), *(Part(mark, 'mark') for mark in marks)])


def _make_person(rng: np.random.Generator) -> Figure:
    """An upright figure about 1 high that stands around the origin and faces the viewer."""
    joints = _random_joints(rng)
    head, neck, pelvis = np.array([[0, -0.45], [0, -0.27], [0, -0.02]])
    parts = [
        *_limbs(joints, LEGS),
        Part(_capsule(neck, pelvis, 0.105), 'body'),
        *_limbs(joints, ARMS),
        *_limbs(joints, EARS),
        Part(_capsule(head, head, 0.105), 'head'),
        *(Part(_capsule(joints[k], joints[k], 0.014), 'face') for k in KEYPOINTS[:3]),
    ]
    return Figure(parts, np.stack([joints[name] for name in KEYPOINTS]))


def _random_joints(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Places of a person's keypoints; seen from the front, its left is on the right."""
    joints = {'nose': np.array([rng.uniform(-0.025, 0.025), -0.425])}
    for side, sign in (('left', 1), ('right', -1)):
        mirror = np.array([sign, 1])
        arm, leg = rng.uniform(0.1, 2.6), rng.uniform(-0.05, 0.6)
        forearm, shin = arm + rng.uniform(-0.4, 1.3), leg - rng.uniform(-0.1, 0.6)
        joints[f'{side}_eye'] = joints['nose'] + mirror * (0.042, -0.05)
        joints[f'{side}_ear'] = mirror * (0.105, -0.46)
        joints[f'{side}_shoulder'] = mirror * (0.115, -0.29)
        joints[f'{side}_elbow'] = joints[f'{side}_shoulder'] + 0.16 * mirror * _hanging(arm)
        joints[f'{side}_wrist'] = joints[f'{side}_elbow'] + 0.15 * mirror * _hanging(forearm)
        joints[f'{side}_hip'] = mirror * (0.07, 0.0)
        joints[f'{side}_knee'] = joints[f'{side}_hip'] + 0.22 * mirror * _hanging(leg)
        joints[f'{side}_ankle'] = joints[f'{side}_knee'] + 0.21 * mirror * _hanging(shin)
    return joints


def _limbs(joints: dict[str, np.ndarray], limbs: tuple[tuple[str, str, float], ...]) -> list[Part]:
    return [
        Part(_capsule(joints[f'{side}_{start}'], joints[f'{side}_{end}'], radius), side)
        for side in ('right', 'left')
        for start, end, radius in limbs
    ]


def _direction(angle: float | np.ndarray) -> np.ndarray:
    """Unit vectors (..., 2) at an angle in radians from the x axis."""
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _rotation(angle: float) -> np.ndarray:
    """Matrix (2, 2) that turns points (N, 2) on its left by an angle in radians."""
    return np.stack([_direction(angle), _direction(angle + np.pi / 2)])


def _hanging(angle: float) -> np.ndarray:
    """Unit vector of a limb raised outwards by an angle from hanging straight down."""
    return np.array([np.sin(angle), np.cos(angle)])


def _capsule(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Outline (24, 2) of a thick line with round ends; a circle where both ends are one point."""
    heading = np.arctan2(end[1] - start[1], end[0] - start[0])
    arc = np.linspace(-np.pi / 2, np.pi / 2, 12)
    caps = end + radius * _direction(heading + arc), start - radius * _direction(heading + arc)
    return np.concatenate(caps)


def _paint(rng: np.random.Generator, canvas: np.ndarray, figure: Figure, mask: np.ndarray) -> None:
    """Paints a figure that covers `mask`, and a faint texture over it, onto the canvas in place."""
    palette = _palette(rng, figure.hue, backdrop=canvas[mask].mean(0))
    for part in figure.parts:
        _fill(canvas, part.outline, palette[part.paint])
    height, width = mask.shape
    texture = OBJECT_CONTRAST * _noise(rng, height, width, cell=(3, 3))[mask]
    canvas[mask] = (canvas[mask] + texture[:, None]).clip(0, 255)


def _palette(
    rng: np.random.Generator, hue: float | None, backdrop: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    """RGB colours around a hue in degrees, or of any; left limbs are lighter than right ones.

    Most objects have a hue near that of their class, as oranges do, and some have any other. Of
    four random body colours it keeps the one that differs most from the backdrop.
    """
    hsv = rng.uniform((0, 0.35, 0.6), (360, 1, 1), (4, 3)).astype(np.float32)
    if hue is not None and rng.random() < TYPICAL:
        hsv[:, 0] = (hue + rng.normal(0, HUE_SPREAD, 4)) % 360
    candidates = 255 * cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]  # (4, 3)
    body = candidates[np.abs(candidates - backdrop).sum(1).argmax()]
    limb = rng.uniform(0, 255, 3)
    colours = {
        'body': body,
        'mark': 0.35 * body,
        'head': rng.uniform(90, 255, 3),
        'left': 165 + 0.35 * limb,
        'right': 0.35 * limb,
        'face': np.full(3, 15.0),
    }
    return {name: tuple(colour.tolist()) for name, colour in colours.items()}


def _fill(target: np.ndarray, outline: np.ndarray, value: tuple[float, ...]) -> None:
    fixed = np.round(outline * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(target, [fixed], value, cv2.LINE_AA, SUBPIXEL_BITS)


def _crop(canvas: np.ndarray) -> np.ndarray:
    """The image's part of a canvas, as a view."""
    return canvas[MARGIN:-MARGIN, MARGIN:-MARGIN]


def _keypoints(joints: np.ndarray | None, visible: np.ndarray) -> np.ndarray | None:
    """COCO keypoints (17, 3) of joints (17, 2) on the canvas; see `Instance`."""
    if joints is None:
        return None
    keypoints = np.zeros((len(joints), 3))
    last = np.array(visible.shape[::-1]) - 1  # of x and y
    for keypoint, point in zip(keypoints, (joints - MARGIN).round(2), strict=True):
        if (point >= 0).all() and (point <= last).all():
            x, y = point.round().astype(int)
            keypoint[:] = *point, 2 if visible[y, x] else 1
    return keypoints
