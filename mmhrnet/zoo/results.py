"""Figures that were measured again, one JSON file each, and what is needed to believe them."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from mmhrnet.checkpoints.places import checksum_of
from mmhrnet.errors import ConfigError, plural
from mmhrnet.files import UNFINISHED, write_text
from mmhrnet.hub.published import metafile_models, published_weights

Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, Field(pattern='^[0-9a-f]{64}$')]


class Strict(BaseModel):
    """Without fields that are not declared."""

    model_config = ConfigDict(extra='forbid', frozen=True)


class Versions(Strict):
    """Distributions with their versions, such as ``mmcv-lite 2.1.0``; ``host`` is the library."""

    python: Text
    torch: Text
    mmengine: Text
    mmcv: Text
    host: Text
    mmhrnet: Text


class Provenance(Strict):
    """Where a figure is from.

    Attributes:
        config: Name of the config, without its suffix.
        versions: What it was measured with.
        device: Name of the GPU or the processor.
        date: Day of the measurement.
        by: Who measured it.
    """

    config: Text
    versions: Versions
    device: Text
    date: datetime.date
    by: Text


class Data(Strict):
    """What was evaluated.

    Attributes:
        annotations: SHA-256 of each file that was read, by name. For label maps, one of all their
            names and contents; for folders of classes, one of the names and labels of all images.
        images: Number of images.
    """

    annotations: Annotated[dict[Text, Digest], Field(min_length=1)]
    images: PositiveInt


class Inputs(Strict):
    """What decides a figure.

    Attributes:
        weights: Name of the published file.
        file: What was read: that file, or the ``hf://`` address of what stands in for it.
        sha256: Of what was read.
        settings: SHA-256 of the model and the pipeline in the config.
        data: What was evaluated.
    """

    weights: Text
    file: Text
    sha256: Digest
    settings: Digest
    data: Data


class Evaluation(Provenance):
    """Metrics of published weights, by the names and in the units of the host's evaluator."""

    kind: Literal['evaluation']
    inputs: Inputs
    metrics: Annotated[dict[Text, FiniteFloat], Field(min_length=1)]


class Latency(Provenance):
    """The time that a config takes for a batch, which does not depend on its weights.

    Attributes:
        runtime: Such as ``PyTorch, deploy form`` or ``ONNX Runtime``.
        precision: Of the network.
        threads: On a processor; None on a GPU.
        batch: Images at once.
        shape: Height and width of the input.
        milliseconds: Median of a batch.
    """

    kind: Literal['latency']
    runtime: Text
    precision: Literal['fp32', 'fp16', 'bf16', 'int8']
    threads: PositiveInt | None
    batch: PositiveInt
    shape: tuple[PositiveInt, PositiveInt]
    milliseconds: PositiveFloat


Record = Evaluation | Latency
READER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator='kind')])


def read_results(folder: str | Path) -> dict[Path, Record]:
    """The records of all JSON files of a folder, oldest first.

    Raises:
        ConfigError: A file is no record, lacks provenance, or is of other weights than it says.
    """
    paths = sorted(Path(folder).glob('*.json'))
    found = {path: _read(path) for path in paths if not path.name.startswith(UNFINISHED)}
    return dict(sorted(found.items(), key=lambda item: (item[1].date, item[0])))


def _read(path: Path) -> Record:
    try:
        record = READER.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(f'{path}{_fault(error)}') from error
    fault = _contradiction(record)
    if fault:
        raise ConfigError(f'{path}, {fault}')
    return record


def _fault(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return f' cannot be read: {error.strerror}'
    first, *others = error.errors(include_url=False)
    field = '.'.join(str(part) for part in first['loc'] if part not in ('evaluation', 'latency'))
    more = f' ({plural(len(others), "more fault")})' if others else ''
    return f'{f", {field}" if field else ""}: {first["msg"]}{more}'


def _contradiction(record: Record) -> str:
    """What the tables say otherwise, or nothing."""
    if isinstance(record, Latency):
        known = {model['Name'] for model in metafile_models()}
        return '' if record.config in known else f'config: no metafile has {record.config}'
    inputs = record.inputs
    weights = published_weights().get(inputs.weights)
    if weights is None or weights.config != record.config:
        return f'inputs.weights: {inputs.weights} are no published weights of {record.config}'
    checksum = checksum_of(inputs.weights) if inputs.file == inputs.weights else None
    if checksum and not inputs.sha256.startswith(checksum):
        return f'inputs.sha256: the SHA-256 of {inputs.weights} begins with {checksum[:16]}'
    return ''


def find_result(records: dict[Path, Record], inputs: Inputs) -> tuple[Path, Evaluation] | None:
    """The file and the record with these inputs."""
    for path, record in records.items():
        if isinstance(record, Evaluation) and record.inputs == inputs:
            return path, record
    return None


def result_path(folder: str | Path, record: Record) -> Path:
    """A file that is named after what was measured and a hash of what decides the figure."""
    if isinstance(record, Evaluation):
        name, decides = Path(record.inputs.weights).stem, record.inputs.model_dump_json()
    else:
        name, decides = record.config, record.model_dump_json(exclude={'milliseconds', 'date'})
    digits = hashlib.sha256(decides.encode()).hexdigest()[:8]
    return Path(folder, f'{name}.{digits}.json')


def write_result(folder: str | Path, record: Record) -> Path:
    """Writes the file of a record, in the place of one of the same inputs."""
    path = result_path(folder, record)
    write_text(path, record.model_dump_json(indent=1) + '\n')
    return path


def of_weights(records: Sequence[Record], name: str) -> list[Evaluation]:
    """The evaluations of published weights."""
    return [r for r in records if isinstance(r, Evaluation) and r.inputs.weights == name]


def of_config(records: Sequence[Record], name: str) -> list[Latency]:
    """The latencies of a config."""
    return [r for r in records if isinstance(r, Latency) and r.config == name]
