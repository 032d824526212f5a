"""The form of COCO annotation files, and a reader that keeps what is checked."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, MinLen
from pydantic import AfterValidator, AllowInfNan, FailFast, Strict, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import NotRequired, TypeAliasType, TypedDict

from mmhrnet.errors import ConfigError, suggest

Content = TypeVar('Content', list, dict)
SHOWN = 5  # number of faults of a kind that are listed
CORRECT = 'Correct them, or remove them from the file'


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
    keypoints: NotRequired[list[object] | None]


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
    """For COCO's evaluation, which needs areas."""


class Face(Annotation, Jointed):
    """For data sets that are evaluated by distances."""


SINGULAR = {'images': 'image', 'annotations': 'annotation', 'categories': 'category'}
FORMS = {
    'id': 'a number of its own',
    'image_id': 'the id of an image',
    'category_id': 'the id of a category',
    'file_name': 'the name of an image',
    'name': 'a name',
    'width': 'a positive integer',
    'height': 'a positive integer',
    'bbox': '[x, y, width, height] of finite numbers, with no negative size',
    'area': 'a finite number',
    'iscrowd': '0 or 1',
    'ignore': '0 or 1',
    'segmentation': 'a list of polygons [x1, y1, x2, y2, ...], or a dict of size and counts, '
    'because the config learns masks',
    'keypoints': 'the finite numbers x, y, visibility of each joint',
    'num_keypoints': 'an integer',
}


@dataclass
class CocoFile:
    """The content of a file, as far as it is checked.

    Attributes:
        path: The file.
        images: The images by id.
        annotations: The annotations, in the order of the file.
        categories: The categories, in the order of the file.
    """

    path: Path
    images: dict[Id, Image]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)


def raise_faults(path: Path, what: str, faults: Sequence[str], fix: str) -> None:
    """Raises a ConfigError that lists the first faults, if there are any."""
    if faults:
        count = f'{SHOWN} of {len(faults)}' if len(faults) > SHOWN else str(len(faults))
        head = f'{path}: {what} ({count}):'
        raise ConfigError('\n  '.join([head, *faults[:SHOWN]]) + f'\n{fix}')


def read_json(path: Path, kind: type[Content]) -> Content:
    """The content of a JSON file.

    Raises:
        ConfigError: It is not a file, not JSON, or its content is of another kind.
    """
    return _parse(path, _read(path), kind)


def read_coco(path: Path, form: type, labelled: bool = True) -> CocoFile:
    """The entries of a COCO file in their form.

    Args:
        path: The file.
        form: The form of an annotation.
        labelled: False for a file that needs no annotations.

    Raises:
        ConfigError: It is not a COCO file, or some of its entries have another form.
    """
    raw = _read(path)
    try:
        found = _adapter(form, labelled).validate_json(raw)
    except ValidationError as error:
        _explain(path, _parse(path, raw, dict), error, list(_lists(form, labelled)))
        raise
    for name, entries in found.items():
        if not entries:
            raise ConfigError(
                f'{path}: {name!r} is empty, so there is nothing to learn or to measure'
            )
        counts = Counter(entry['id'] for entry in entries)
        twice = [f'id {number}' for number, count in counts.items() if count > 1]
        raise_faults(path, f'ids of {name} that are used twice', twice, 'Give each its own id')
    return CocoFile(path, {image['id']: image for image in found.pop('images')}, **found)


def _lists(form: type, labelled: bool) -> dict[str, object]:
    """The types of the lists that a file must have, by name."""
    labels = {'annotations': list[form], 'categories': list[Category]}  # type: ignore[valid-type]
    return {'images': list[Image], **(labels if labelled else {})}


@cache
def _adapter(form: type, labelled: bool) -> TypeAdapter[Any]:
    return TypeAdapter(TypedDict('File', _lists(form, labelled)))  # type: ignore[operator]


def _explain(path: Path, content: dict, error: ValidationError, names: list[str]) -> None:
    """Raises a ConfigError for the first of the lists that is missing or has faults."""
    keys: dict[tuple[int | str, ...], str] = {}  # of the first fault of an entry
    for fault in reversed(error.errors(include_url=False)):
        *place, key = fault['loc'][:3]
        keys[tuple(place)] = str(key)
    for name in names:
        given = content.get(name)
        if name not in content:
            hint = suggest(name, [str(key) for key in content])
            raise ConfigError(f'{path} has no {name!r}: {hint}It has {", ".join(content)}')
        if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
            raise ConfigError(f'{path}: {name!r} must be a list of dicts, as in COCO')
        files = {str(image.get('id')): image.get('file_name') for image in content['images']}
        faults = [
            f'{_title(name, entry, files)}: {_fault(entry, keys[name, index])}'
            for index, entry in enumerate(given)
            if (name, index) in keys
        ]
        raise_faults(path, f'wrong {name}', faults, CORRECT)


def _fault(entry: dict[str, object], key: str) -> str:
    form = f'must be {FORMS.get(key, "another")}'
    return (
        f'{key} is {entry[key]!r:.80}, it {form}'
        if key in entry
        else f'it has no {key}, which {form}'
    )


def _title(name: str, entry: dict[str, object], files: dict[str, str | None]) -> str:
    image = str(entry.get('image_id'))
    of = f' of {files.get(image) or f"image {image}"}' if name == 'annotations' else ''
    return f'{SINGULAR[name]} {entry.get("id", "without id")}{of}'


@contextmanager
def no_collection() -> Iterator[None]:
    """Pauses the garbage collector, which would look through millions of entries many times."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ConfigError(f'{path} is a folder, not an annotation file: correct ann_file')
    return path.read_bytes()


def _parse(path: Path, raw: bytes, kind: type[Content]) -> Content:
    try:
        content = from_json(raw)
    except ValueError as error:
        begins = f'it begins with {raw[:30]!r}' if raw.strip() else 'it is empty'
        raise ConfigError(f'{path} is not JSON, {begins}: {error}. Download it again') from error
    if not isinstance(content, kind):
        raise ConfigError(
            f'{path} contains a {type(content).__name__} instead of a {kind.__name__}: '
            'it is not an annotation file of this task'
        )
    return content
