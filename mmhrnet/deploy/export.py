"""A model as one file that runs elsewhere, checked against the model before it appears."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from mmhrnet.deploy.archive import check_onnx, check_pt2
from mmhrnet.deploy.bottomup import sample_deformed
from mmhrnet.deploy.necks import DeployHRNetV2p
from mmhrnet.deploy.optimize import optimize
from mmhrnet.deploy.rewrites import PORTABLE, Rewrites
from mmhrnet.errors import UserError
from mmhrnet.files import beside
from mmhrnet.models.checks import check_choice, is_count
from mmhrnet.models.hrnet import MIN_SIZE

if TYPE_CHECKING:
    import onnx

FormatName = Literal['pt2', 'aoti', 'onnx']
INPUT = 'images'
SIDES = (2, 3)  # its dimensions of height and width
METADATA = 'mmhrnet.json'
TOLERANCE = 1e-4  # relative to the largest number of an output
LARGEST = 1 << 14  # batch size, and side in pixels
OPSET = 18  # of ONNX: the lowest that torch writes; the onnx package converts it to others


class ExportError(UserError, ValueError):
    """A model, option or machine for which no file can be written, or a file that does not load."""


class Check(NamedTuple):
    """The largest difference to the model at one input shape, relative to the largest output."""

    shape: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class Shipped:
    """A loaded file: ``shipped(images)`` returns a tuple of tensors.

    Attributes:
        run: What runs a contiguous tensor of images.
        metadata: What was written into the file: the input's normalization, names, versions.
    """

    run: Callable[[Tensor], Sequence[Tensor]]
    metadata: Mapping[str, object]

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        # A compiled package takes strides for granted and would silently misread others.
        return tuple(self.run(images.contiguous()))


class Format(NamedTuple):
    """How a kind of file is written, and the versions of torch that can."""

    suffix: str
    write: Callable[..., None]  # of program, path, metadata, and options of the format
    torch: str  # the first version that writes fixed sizes
    torch_free: str  # the first version that writes free sizes


def export(
    model: nn.Module,
    images: Tensor,
    path: str | Path,
    *,
    format: FormatName = 'pt2',
    dynamic: bool = True,
    metadata: Mapping[str, object] | None = None,
    opset: int | None = None,
    sides: Sequence[int] = SIDES,
    check: Callable[[Shipped, Tensor], Check] | None = None,
    rewrites: Rewrites | None = PORTABLE,
    prepare: Callable[[nn.Module], None] = lambda _: None,
) -> list[Check]:
    """Writes the deploy form of a model into one file and checks it against the plain model.

    Args:
        model: Takes one tensor of images and returns a tuple of tensors; contains parts of mmhrnet.
        images: Example input; with ``dynamic``, of two images or more.
        path: File to write; it appears only after it has passed the check.
        format: 'pt2' (torch.export), 'aoti' (compiled by AOTInductor) or 'onnx'.
        dynamic: Leave the batch size and ``sides`` free instead of fixing those of ``images``.
        metadata: Anything that JSON can represent, written into the file.
        opset: Version of ONNX's operators, for 'onnx'; None is that of torch. TensorRT 8 takes 17.
        sides: The dimensions of height and width, where they may be free; none if they are fixed.
        check: Compares a loaded file with something else than ``model``, at a shape of input.
        rewrites: Those of the deploy form; None writes the model as it stands.
        prepare: Changes the deploy form in place before it is written, such as its precision.

    Returns:
        Differences at three shapes, or at the one that is fixed.

    Raises:
        ConfigError: An unknown format.
        ExportError: Nothing could be written, or the file does not do what the model does.
        WriteError: The path cannot be written.
    """
    path = Path(path)
    check_format(format, path, opset, dynamic)
    options = {} if opset is None else {'opset': opset}
    model = model.eval()
    with torch.no_grad():
        fast = sample_deformed(optimize(model, rewrites)) if rewrites else model
        prepare(fast)
        smallest = smallest_side(fast)
        program = trace(fast, images, smallest if dynamic else None, sides)
        shapes = check_shapes(images.shape, smallest, sides) if dynamic else [tuple(images.shape)]
        check = check or partial(compare, model)
        with beside(path) as file:
            FORMATS[format].write(program, file, dict(metadata or {}), **options)
            shipped = load(file)
            return [check(shipped, images.new_empty(shape)) for shape in shapes]


def check_format(
    format: FormatName, path: Path, opset: int | None = None, dynamic: bool = True
) -> None:
    """Checks what can be checked before a model is built.

    Raises:
        ConfigError: An unknown format.
        ExportError: A file name or option of another format, or a machine that cannot write it.
    """
    suffix = FORMATS[check_choice('format', format, FORMATS)].suffix
    if path.suffix != suffix:
        raise ExportError(f'{path} must end in {suffix}, as files of the format {format} do')
    if opset is not None and format != 'onnx':
        raise ExportError(f'opset={opset!r} is for the format onnx, not for {format}')
    if opset is not None and not is_count(opset):
        raise ExportError(f'opset={opset!r} must be a positive number, such as 17')
    _check_torch(format, dynamic)
    problem = compiler_problem() if format == 'aoti' else None
    if problem:
        raise ExportError(
            f'The format aoti compiles: {problem}, or use pt2 or onnx, which do not compile'
        )


def _check_torch(format: FormatName, dynamic: bool) -> None:
    kind = FORMATS[format]
    since = kind.torch_free if dynamic else kind.torch
    if torch.__version__ < since:
        fixed = '' if torch.__version__ < kind.torch else ', or a fixed size (--static)'
        raise ExportError(
            f'The format {format}{" with free sizes" if dynamic else ""} needs torch {since} or '
            f'newer{fixed}; this is {torch.__version__}'
        )


def compiler_problem() -> str | None:
    """Why torch.compile and AOTInductor cannot compile for a CPU here, and what to do; or None."""
    if not any(map(shutil.which, ('g++', 'clang++', 'c++', 'cl'))):
        return 'there is no C++ compiler, install g++'
    if ' ' in torch.__file__:  # the linker gets this path without quotes
        return f'torch is installed in a path with a space ({torch.__file__}), install it elsewhere'
    return None


def smallest_side(model: nn.Module) -> int:
    """The smallest side of an image, in pixels, that a file of free sizes takes.

    It leaves every map two rows and columns: torch.export treats one as a special case.
    """
    levels = [m.num_outs for m in model.modules() if isinstance(m, DeployHRNetV2p)]
    return max([MIN_SIZE + 1, *(4 << count for count in levels)])


def trace(
    model: nn.Module, images: Tensor, smallest: int | None, sides: Sequence[int] = SIDES
) -> ExportedProgram:
    """The graph of a model, of free batch size and ``sides`` from ``smallest`` up, or fixed ones.

    Raises:
        ExportError: The example is too small, or the graph depends on the input.
    """
    shapes = None if smallest is None else (_free_dimensions(images, smallest, sides),)
    try:
        return _without_traces(torch.export.export(model, (images,), dynamic_shapes=shapes))
    except torch._dynamo.exc.UserError as error:
        raise ExportError(
            f'This model cannot be exported{"" if smallest is None else " with free sizes"}: '
            f'{str(error).splitlines()[0]} Try a fixed size (--static)'
        ) from error


def _without_traces(program: ExportedProgram) -> ExportedProgram:
    """Drops the lines of source code that each node came from, with the paths of this machine."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta.pop('stack_trace', None)
    return program


def _free_dimensions(images: Tensor, smallest: int, sides: Sequence[int]) -> dict[int, Dim]:
    if len(images) < 2 or any(images.shape[side] < smallest for side in sides):
        raise ExportError(
            f'A free size needs an example of 2 images or more with sides of {smallest} or more, '
            f'not one of the shape {tuple(images.shape)}: use a fixed size (--static)'
        )
    free = {side: Dim(f'side{side}', min=smallest, max=LARGEST) for side in sides}
    return {0: Dim('n', max=LARGEST), **free}


def check_shapes(
    shape: Sequence[int], smallest: int, sides: Sequence[int] = SIDES
) -> list[tuple[int, ...]]:
    """The shape itself, a smaller one, and a larger one of sides that 32 does not divide."""
    small, large = [1, *shape[1:]], [shape[0] + 1, *shape[1:]]
    for side, more in zip(sides, (33, 65)):
        small[side] = max(shape[side] // 64 * 32, smallest)
        large[side] = shape[side] + more
    return [tuple(shape), tuple(small), tuple(large)]


def difference(ys: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest number of the same output.

    Of whole numbers, such as labels, it is the share of those that differ.
    """
    return max(_difference(a.to(b.device), b) for a, b in zip(ys, expected))


def _difference(a: Tensor, b: Tensor) -> float:
    if not b.is_floating_point():
        return float((a != b).float().mean())
    return float((a.to(b.dtype) - b).abs().max() / b.abs().max().clamp_min(1e-30))


def compare(model: nn.Module, shipped: Shipped, images: Tensor) -> Check:
    """Runs a model and its file on random numbers.

    Raises:
        ExportError: Outputs of another number or shape, or a difference above the tolerance.
    """
    images = torch.randn_like(images)
    found, expected = shipped(images), model(images)
    shapes = [tuple(y.shape) for y in found], [tuple(y.shape) for y in expected]
    if shapes[0] != shapes[1]:
        raise ExportError(
            f'The file returns {shapes[0]} instead of {shapes[1]}; no file is written'
        )
    return check_error(tuple(images.shape), difference(found, expected))


def check_error(shape: tuple[int, ...], error: float, tolerance: float = TOLERANCE) -> Check:
    """Raises an ExportError if a difference is above the tolerance."""
    if not error <= tolerance:
        raise ExportError(
            f'The file differs from the model by {error:.1e} at {shape}, more than '
            f'{tolerance:.0e}; no file is written'
        )
    return Check(shape, error)


def load(path: str | Path, *, compiled: bool = True) -> Shipped:
    """Loads a file of any format that :func:`export` wrote.

    A ``.pt2`` is a program: load only files that you trust. A compiled package (``aoti``) is
    native code. A graph (``pt2``) is refused if loading it would unpickle an object, run Python of
    its own or import a module, but it runs the operators of PyTorch that it names, with the
    arguments that it gives. An ONNX file is refused if it points to data outside of itself.

    Args:
        path: The file.
        compiled: Whether it may be a compiled package, which has the same suffix as a graph.

    Raises:
        ExportError: There is no such file, or :func:`export` did not write it.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f'There is no file {path}')
    try:
        return _loader(path, compiled)(path)
    except (ExportError, ImportError):
        raise
    except Exception as error:  # whatever a damaged file leads to
        reason = ' '.join(str(error).split()).rstrip('.')[:200] or type(error).__name__
        raise ExportError(
            f'{path} cannot be loaded: {reason}. Export the model again with tools/export.py'
        ) from error


def _loader(path: Path, compiled: bool) -> Callable[[Path], Shipped]:
    if path.suffix == FORMATS['onnx'].suffix:
        return _load_onnx
    if not zipfile.is_zipfile(path):
        raise ExportError(f'{path} is neither .onnx nor a .pt2 archive, or it is truncated')
    with zipfile.ZipFile(path) as archive:
        is_compiled = any('/aotinductor/' in name for name in archive.namelist())
    if is_compiled and not compiled:
        raise ExportError(f'{path} is native code: load it with compiled=True if you trust it')
    return _load_aoti if is_compiled else _load_pt2


def _metadata(path: Path, text: str | None) -> Mapping[str, object]:
    if not text:
        raise ExportError(
            f'{path} has no {METADATA}, so mmhrnet did not write it: use tools/export.py'
        )
    return dict(json.loads(text))


def _write_pt2(program: ExportedProgram, path: Path, metadata: Mapping[str, object]) -> None:
    buffer = io.BytesIO()  # not the file: torch aborts the process if the disk is full
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    path.write_bytes(buffer.getbuffer())


def _load_pt2(path: Path) -> Shipped:
    check_pt2(path)
    files = {METADATA: ''}
    module = torch.export.load(path, extra_files=files).module()
    return Shipped(torch.no_grad()(module), _metadata(path, files[METADATA]))


def _write_aoti(program: ExportedProgram, path: Path, metadata: Mapping[str, object]) -> None:
    device = program.example_inputs[0][0].device
    options = {
        # Freezing packs weights for one size of the input, which makes other sizes slower.
        'freezing': not program.range_constraints and device.type == 'cpu',
        'aot_inductor.metadata': {METADATA: json.dumps(metadata)},
    }
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs=options
    )


def _load_aoti(path: Path) -> Shipped:
    package = torch._inductor.aoti_load_package(str(path))
    return Shipped(package, _metadata(path, package.get_metadata().get(METADATA)))


def _write_onnx(
    program: ExportedProgram, path: Path, metadata: Mapping[str, object], opset: int | None = None
) -> None:
    import onnx

    outputs = metadata.get('outputs')
    written = torch.onnx.export(
        program,
        (),
        dynamo=True,
        input_names=[str(metadata.get('input', INPUT))],
        output_names=outputs if isinstance(outputs, list) else None,
        opset_version=opset and OPSET,
        verbose=False,
    )
    if written is None:
        raise ExportError('torch wrote no ONNX graph')
    model = written.model_proto
    # Tools that replace a weight, such as quantize_dynamic, do not update its shape here.
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [v for v in model.graph.value_info if v.name in weights]:
        model.graph.value_info.remove(value)
    if opset is not None:
        model = _at_opset(model, opset)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata)})
    onnx.save(model, path)


def _at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """An ONNX model in operators of another version, for runtimes that read no newer file.

    Raises:
        ExportError: This version lacks one of the operators.
    """
    import onnx

    # The converter leaves this attribute, which opsets before 18 lack; 0 is its default.
    for node in model.graph.node:
        for known in [a for a in node.attribute if a.name == 'noop_with_empty_axes' and not a.i]:
            node.attribute.remove(known)
    try:
        model = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(model)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        reason = ' '.join(str(error).split()).rpartition('failed: ')[2].replace('$', '')
        raise ExportError(
            f'This model cannot be written in ONNX opset {opset}: {reason}'
        ) from error
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    return model


def _load_onnx(path: Path) -> Shipped:
    import onnxruntime

    check_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    metadata = session.get_modelmeta().custom_metadata_map
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(y) for y in session.run(None, {name: images.cpu().numpy()})]

    return Shipped(run, _metadata(path, metadata.get(METADATA)))


FORMATS: dict[FormatName, Format] = {
    # Before 2.6, torch cannot trace a nearest upsampling of free sizes and has no packages of
    # AOTInductor; before 2.7, its ONNX exporter fails on free sizes or on other opsets.
    'pt2': Format('.pt2', _write_pt2, '2.4', '2.6'),
    'aoti': Format('.pt2', _write_aoti, '2.6', '2.6'),
    'onnx': Format('.onnx', _write_onnx, '2.7', '2.7'),
}
