"""The form of COCO annotation files, and a reader that keeps of them what is checked.

Files are read in parts: as a whole, the numbers of COCO's polygons would take 3 GB of memory.
"""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
PART = 4 << 20  # bytes of annotations that are read at once
BEGIN = re.compile(rb'"annotations"\s*:\s*\[')
BETWEEN = re.compile(rb'\}\s*,\s*\{')
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
    annotations = _Entries(form)
    content = _split(raw, annotations) if labelled else None
    if content is None:
        content, annotations = _parse(path, raw, dict), _Entries(form)
    del raw
    lists = {'images': _Entries(Image)}
    if labelled:
        lists |= {'annotations': annotations, 'categories': _Entries(Category)}
    for name, entries in lists.items():
        _fill(path, name, entries, content)
    found = {name: entries.found for name, entries in lists.items()}
    return CocoFile(path, {image['id']: image for image in found.pop('images')}, **found)


class _Entries:
    """Entries of a form, and what is wrong with others."""

    def __init__(self, form: type) -> None:
        self.adapter = _adapter(form)
        self.found: list[Any] = []
        self.faults: list[tuple[Any, str]] = []

    def add(self, given: bytes | list[Any]) -> bool:
        """Takes a list of entries; False if it is no JSON."""
        check: Callable[..., list[Any]] = self.adapter.validate_python
        if isinstance(given, bytes):
            check = self.adapter.validate_json
        try:
            self.found += check(given)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            if errors[0]['type'] == 'json_invalid':
                return False
            entries = from_json(given) if isinstance(given, bytes) else given
            first = {e['loc'][0]: e['loc'] for e in reversed(errors)}
            self.faults += [(entries[i], _fault(entries[i], *first[i][1:2])) for i in sorted(first)]
        return True


@cache
def _adapter(form: type) -> TypeAdapter[Any]:
    return TypeAdapter(list[form])  # type: ignore[valid-type]


def _fault(entry: Any, key: str = '') -> str:
    if not key:
        return f'{entry!r:.80} is no dict'
    found = f'{key} is {entry[key]!r:.80}' if key in entry else f'it has no {key}'
    return f'{found}, it must be {FORMS.get(key, "another")}'


def _split(raw: bytes, annotations: _Entries) -> dict[str, Any] | None:
    """The file with the last of its annotations, after the others; None if it has few."""
    begin = BEGIN.search(raw)
    try:
        head = from_json(raw[: begin.end()] + b']}') if begin else None
        start = first = begin.end() if begin else len(raw)
        while cut := BETWEEN.search(raw, start + PART):
            if not annotations.add(b'[' + raw[start : cut.start() + 1] + b']'):
                break  # it was no cut between two annotations
            start = cut.end() - 1
        return head | from_json(b'{"annotations": [' + raw[start:]) if start > first else None
    except ValueError:
        return None


def _fill(path: Path, name: str, entries: _Entries, content: dict[str, Any]) -> None:
    """Adds those of the content, and raises a ConfigError for what is wrong with all."""
    if name not in content:
        hint = suggest(name, [str(key) for key in content])
        raise ConfigError(f'{path} has no {name!r}: {hint}It has {", ".join(content)}')
    given = content[name]
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise ConfigError(f'{path}: {name!r} must be a list of dicts, as in COCO')
    entries.add(given)
    if not entries.found and not entries.faults:
        raise ConfigError(f'{path}: {name!r} is empty, there is nothing to learn or to measure')
    files = {str(i.get('id')): i.get('file_name') for i in content['images'] if entries.faults}
    faults = [f'{_title(name, entry, files)}: {fault}' for entry, fault in entries.faults]
    raise_faults(path, f'{name} are wrong', faults, CORRECT)
    if len({entry['id'] for entry in entries.found}) < len(entries.found):
        counts = Counter(entry['id'] for entry in entries.found)
        twice = [f'id {number}' for number, count in counts.items() if count > 1]
        raise_faults(path, f'ids of {name} are there twice', twice, 'Give each one of its own')


def _title(name: str, entry: Any, files: dict[str, Any]) -> str:
    if not isinstance(entry, dict):
        return f'one of the {name}'
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
