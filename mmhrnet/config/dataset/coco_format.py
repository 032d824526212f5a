"""The form of COCO annotation files, and a reader that keeps of them what is checked."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import AfterValidator, AllowInfNan, FailFast, Strict, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import NotRequired, TypeAliasType, TypedDict

from mmhrnet.errors import ConfigError
from mmhrnet.models.checks import suggest

SHOWN = 5  # faults of a kind that are listed
CORRECT = 'Correct them, or take them out of the file'


def _visibilities(joints: list[float]) -> list[float]:
    if len(joints) % 3:
        raise ValueError(f'{len(joints)} numbers')
    return joints[2::3]


Number = Annotated[float, Strict(), AllowInfNan(False)]
Side = Annotated[Number, Ge(0)]
Text = Annotated[str, Strict()]
Length = Annotated[int, Strict(), Gt(0)]
Id = int | Text
Flag = Literal[0, 1, False, True, None]
Polygon = Annotated[list[Number], FailFast(), AfterValidator(len)]
Polygons = TypeAliasType('Polygons', Annotated[list[Polygon], MinLen(1), FailFast()])
Runs = TypeAliasType(
    'Runs', Annotated[list[Annotated[int, Strict()]], FailFast(), AfterValidator(sum)]
)
Joints = Annotated[list[Number], FailFast(), AfterValidator(_visibilities)]


class Image(TypedDict):
    id: Id
    file_name: Annotated[Text, MinLen(1)]
    width: Length
    height: Length


class Category(TypedDict):
    id: Id
    name: Text
    keypoints: NotRequired[list[Any] | None]


class Annotation(TypedDict):
    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[Number, Number, Side, Side]
    iscrowd: NotRequired[Flag]
    ignore: NotRequired[Flag]


class Measured(Annotation):
    area: Number


class Code(TypedDict):
    size: list[int]
    counts: Text | Runs


class Masked(Measured):
    segmentation: Polygons | Code


class Jointed(TypedDict):
    keypoints: NotRequired[Joints]  # their visibilities are kept
    num_keypoints: NotRequired[int | None]


class Person(Measured, Jointed):
    """Of COCO's evaluation, which needs areas."""


class Face(Annotation, Jointed):
    """Of data sets that are evaluated by distances."""


SINGULAR = {'images': 'image', 'annotations': 'annotation', 'categories': 'category'}
FORMS = {
    'id': 'a number of its own',
    'image_id': 'the id of an image',
    'category_id': 'the id of a category',
    'file_name': 'the name of an image',
    'name': 'a name',
    'width': 'a positive integer',
    'height': 'a positive integer',
    'bbox': '[x, y, width, height] of finite numbers, of which no size is negative',
    'area': 'a finite number',
    'iscrowd': '0 or 1',
    'ignore': '0 or 1',
    'segmentation': 'a list of polygons [x1, y1, x2, y2, ...], or a dict of size and counts, where '
    'the config learns masks',
    'keypoints': 'the finite numbers x, y, visibility of each joint',
    'num_keypoints': 'an integer',
}


@dataclass
class CocoFile:
    """What is checked of a file.

    Attributes:
        path: The file.
        images: The images by id.
        annotations: The annotations, in the order of the file.
        categories: The categories, in the order of the file.
    """

    path: Path
    images: dict[Any, Any] = field(default_factory=dict)
    annotations: list[Any] = field(default_factory=list)
    categories: list[Any] = field(default_factory=list)


def raise_faults(path: Path, what: str, faults: Sequence[str], fix: str) -> None:
    """Raises a ConfigError that lists the first faults, if there are any."""
    if faults:
        head = f'{len(faults)} {what}' + (f', the first {SHOWN}' if len(faults) > SHOWN else '')
        raise ConfigError('\n  '.join([f'{path}: {head}:', *faults[:SHOWN]]) + f'\n{fix}')


def read_json(path: Path, kind: type) -> Any:
    """The content of a JSON file.

    Raises:
        ConfigError: It is no file, no JSON, or its content is of another kind.
    """
    return _parse(path, _read(path), kind)


def read_coco(path: Path, form: type, labelled: bool = True) -> CocoFile:
    """The entries of a COCO file in their form.

    Args:
        path: The file.
        form: That of an annotation.
        labelled: False for a file that needs no annotations.

    Raises:
        ConfigError: It is no COCO file, or entries of it have another form.
    """
    raw = _read(path)
    try:
        found = _adapter(form, labelled).validate_json(raw)
    except ValidationError as error:
        _explain(path, _parse(path, raw, dict), error, list(_lists(form, labelled)))
        raise
    for name, entries in found.items():
        if not entries:
            raise ConfigError(f'{path}: {name!r} is empty, there is nothing to learn or to measure')
        counts = Counter(entry['id'] for entry in entries)
        twice = [f'id {number}' for number, count in counts.items() if count > 1]
        raise_faults(path, f'ids of {name} are there twice', twice, 'Give each one of its own')
    return CocoFile(path, {image['id']: image for image in found.pop('images')}, **found)


def _lists(form: type, labelled: bool) -> dict[str, Any]:
    """The lists that a file must have, by name."""
    labels = {'annotations': list[form], 'categories': list[Category]}  # type: ignore[valid-type]
    return {'images': list[Image], **(labels if labelled else {})}


@cache
def _adapter(form: type, labelled: bool) -> TypeAdapter[Any]:
    return TypeAdapter(TypedDict('File', _lists(form, labelled)))  # type: ignore[operator]


def _explain(path: Path, content: dict[str, Any], error: ValidationError, names: list[str]) -> None:
    """Raises a ConfigError for the first of the lists that is not there or has faults."""
    places: dict[Any, tuple[Any, ...]] = {}
    for fault in reversed(error.errors(include_url=False)):
        places[fault['loc'][:2]] = fault['loc'][2:3]
    for name in names:
        given = content.get(name)
        if name not in content:
            hint = suggest(name, [str(key) for key in content])
            raise ConfigError(f'{path} has no {name!r}: {hint}It has {", ".join(content)}')
        if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
            raise ConfigError(f'{path}: {name!r} must be a list of dicts, as in COCO')
        files = {str(image.get('id')): image.get('file_name') for image in content['images']}
        faults = [
            f'{_title(name, entry, files)}: {_fault(entry, *places[name, index])}'
            for index, entry in enumerate(given)
            if (name, index) in places
        ]
        raise_faults(path, f'{name} are wrong', faults, CORRECT)


def _fault(entry: dict[str, Any], key: str) -> str:
    found = f'{key} is {entry[key]!r:.80}' if key in entry else f'it has no {key}'
    return f'{found}, it must be {FORMS.get(key, "another")}'


def _title(name: str, entry: dict[str, Any], files: dict[str, Any]) -> str:
    image = str(entry.get('image_id'))
    of = f' of {files.get(image) or f"image {image}"}' if name == 'annotations' else ''
    return f'{SINGULAR[name]} {entry.get("id", "without id")}{of}'


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the garbage collector, which looks through millions of entries again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ConfigError(f'{path} is a folder, an annotation file is wanted: correct ann_file')
    return path.read_bytes()


def _parse(path: Path, raw: bytes, kind: type) -> Any:
    try:
        content = from_json(raw)
    except ValueError as error:
        begins = f'it begins with {raw[:30]!r}' if raw.strip() else 'it is empty'
        raise ConfigError(f'{path} is no JSON, {begins}: {error}. Get it again') from error
    if not isinstance(content, kind):
        raise ConfigError(
            f'{path} holds a {type(content).__name__} instead of a {kind.__name__}: '
            'it is no annotation file of this task'
        )
    return content
