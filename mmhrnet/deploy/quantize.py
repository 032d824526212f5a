"""Whole ONNX models in eight bits: calibrated on images, with the layers that hurt left in float.

Weights become int8 with a scale for each channel, activations uint8. The file keeps float operators
between pairs of QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime and OpenVINO replace
with kernels of eight bits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmhrnet.errors import ConfigError
from mmhrnet.terminal import CONSOLE

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import TensorsData

LAYERS = ('Conv', 'Gemm', 'MatMul')  # with weights
BETWEEN = ('Add', 'Relu', 'Resize', 'Concat', 'MaxPool', 'AveragePool', 'GlobalAveragePool')
METHODS = ('MinMax', 'Percentile', 'Entropy')  # of calibration
FLOAT_SHARE = 0.05  # of all multiply-adds, at most, stays in float
FLOAT_ERROR = 0.05  # of the sum of the errors: the smallest for which a layer stays in float
PERCENTILE = 99.99
# How much less the squared error of a method that clips must be than that of min-max. It clips the
# peaks of heatmaps: by about the same error, percentile lost 0.4 to 2.6 AP of a pose estimator in
# six settings, and min-max lost 0.1 or gained in six.
CLIPPED = 0.5
TINY = 1e-30
ROUNDED = '_DequantizeLinear_Output'  # what the quantizer calls a rounded tensor
HELD_OUT = 4  # one of so many images is not for calibration but for measuring errors,
MOST_HELD_OUT = 8  # of which there are at most so many


class Layer(NamedTuple):
    """Some neighbouring convolutions, which are quantized together or not at all.

    Attributes:
        name: Their place in the model, such as 'backbone.stage4.0.branches.1'.
        share: Their part of all multiply-adds that can be quantized.
        error: What quantizing them alone changes in the tensors that leave the quantized part:
            the square of the difference, divided by the square of the tensor.
        is_float: Whether they stay in float.
    """

    name: str
    share: float
    error: float
    is_float: bool


@dataclass(frozen=True)
class Quantization:
    """How a file was quantized.

    Attributes:
        errors: By method of calibration, before layers were left in float.
        method: The method that was taken.
        error: The error of the file.
        layers: All of them.
    """

    errors: Mapping[str, float]
    method: str
    error: float
    layers: Sequence[Layer]


@dataclass(frozen=True)
class Part:
    """What of a graph can be quantized.

    Attributes:
        nodes: Names of nodes, by the name of their layer.
        ends: Tensors that leave it, by the name of the layer that they can be compared for.
        operators: Types of the nodes.
        convolutions: Name of weight and output of each, by the name of the layer.
        unrounded: Those ends that need not be rounded. A ReLU becomes part of the rounding.
        tensors: What its nodes take and return.
    """

    nodes: Mapping[str, Sequence[str]]
    ends: Mapping[str, Sequence[str]]
    operators: Sequence[str]
    convolutions: Mapping[str, Sequence[tuple[str, str]]]
    unrounded: set[str]
    tensors: set[str]


def quantize(file: Path, images: Sequence[np.ndarray], out: Path) -> Quantization:
    """Writes a whole model in eight bits.

    The method of calibration is chosen by its error on images that are held out. Then each layer is
    quantized alone; those whose error is large for what they compute stay in float.

    Args:
        file: Whole model in ONNX.
        images: What it takes: RGB, (H, W, 3) uint8 each; every fourth is held out.
        out: File to write.

    Raises:
        ConfigError: Fewer than two images, or a model without a layer that can be quantized.
    """
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    held_out = images[::HELD_OUT][:MOST_HELD_OUT]
    rest = [image for index, image in enumerate(images) if index % HELD_OUT]
    if not rest:
        raise ConfigError(f'Quantizing needs two images or more, not {len(images)}')
    model = load_model_with_shape_infer(file)
    part = find_part(model)
    ends = {end for ends in part.ends.values() for end in ends}
    expected, names = _run(file, ends, held_out), list(part.nodes)
    run = _runner(file, ends)  # calibrators fail on a tensor without numbers: a head without boxes
    rest = [image for image in rest if all(y.size for y in run(image).values())]
    if not rest:
        raise ConfigError('A head has nothing to do in all images: give others by --calibrate')
    CONSOLE.print(
        f'calibrating on {len(rest)} images in {len(METHODS)} ways, then measuring each of '
        f'{len(names)} layers on {len(held_out)}'
    )
    with TemporaryDirectory() as folder:
        trial = Path(folder, 'trial.onnx')

        def measure(ranges: TensorsData, names: Sequence[str], target: Path = trial) -> float:
            _write(model, target, ranges, part, names)
            ends = part.ends[names[0]]
            return _error(_run(target, ends, held_out), expected, ends)

        ranges = {m: _calibrate(file, rest, m, part, Path(folder)) for m in METHODS}
        errors = {method: measure(found, names) for method, found in ranges.items()}
        method = choose_method(errors)
        best = ranges[method]
        alone = {name: measure(best, [name]) for name in names}
    layers = _choose(alone, _shares(model, file, part, rest[0]))
    error = measure(best, [one.name for one in layers if not one.is_float], out)
    return Quantization(errors, method, error, layers)


def choose_method(errors: Mapping[str, float]) -> str:
    """The method of calibration to take: min-max, unless what clips is much better."""
    best = min(errors, key=lambda method: errors[method])
    return best if errors[best] < CLIPPED * errors[METHODS[0]] else METHODS[0]


def find_part(model: onnx.ModelProto) -> Part:
    """The layers of a model, and what lies between them without leaving for other operators.

    Raises:
        ConfigError: There are none.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layer: dict[str, str] = {}  # by tensor, inside of the part
    region: dict[str, int] = defaultdict(int)  # by tensor: how often the part was entered before it
    nodes, convolutions = defaultdict(list), defaultdict(list)
    entered: dict[str, int] = {}  # by layer: its region
    kinds = (*LAYERS, *BETWEEN)
    goes_on = {name for node in model.graph.node if node.op_type in kinds for name in node.input}
    rectified = set()
    for node in model.graph.node:
        data = [name for name in node.input if name and name not in weights]
        region_of = max((region[name] for name in data), default=0)
        name = _layer_of(node, weights, layer)
        if node.op_type == 'Relu':
            rectified.add(node.output[0])
            name = name if node.output[0] in goes_on else None
        if name:
            region_of += data[0] not in layer
            nodes[name].append(node.name)
            layer.update(dict.fromkeys(node.output, name))
            entered.setdefault(name, region_of)
        if name and node.op_type in LAYERS:
            convolutions[name].append((node.input[1], node.output[0]))
        region.update(dict.fromkeys(node.output, region_of))
    if not nodes:
        raise ConfigError('The model has no layer that can be quantized: leave --precision out')
    inside = {name for names in nodes.values() for name in names}
    left = _used_outside(model, inside)
    ends = {
        name: [one for one in layer if one in left and region[one] == entered[name]]
        for name in nodes
    }
    own = [node for node in model.graph.node if node.name in inside]
    operators = sorted({node.op_type for node in own})
    tensors = {name for node in own for name in (*node.input, *node.output)}
    return Part(nodes, ends, operators, convolutions, left - rectified, tensors)


def _used_outside(model: onnx.ModelProto, inside: set[str]) -> set[str]:
    """What the model returns, and what nodes that are not inside take."""
    others = [node for node in model.graph.node if node.name not in inside]
    taken = {name for node in others if node.op_type != 'Shape' for name in node.input}
    return taken | {value.name for value in model.graph.output}


def _layer_of(
    node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto], layer: Mapping[str, str]
) -> str | None:
    """The name of the layer that a node belongs to; None if it cannot be quantized."""
    if node.op_type in LAYERS:
        weight = weights.get(node.input[1])
        # A kernel of one channel is a filter of the decoder.
        return _module(weight.name) if weight and max(weight.dims[:2]) > 1 else None
    data = [name for name in node.input[: 1 if node.op_type == 'Resize' else None] if name]
    if node.op_type not in BETWEEN or not all(name in layer for name in data):
        return None
    return layer[data[0]]


def _module(weight: str) -> str:
    """The module of a weight, no deeper than a branch, a path or a block of one of its stages."""
    words = weight.removeprefix('net.model.').split('.')[:-1]
    numbers = [index for index, word in enumerate(words) if word.isdecimal()]
    return '.'.join(words[: numbers[1] + 1] if len(numbers) > 1 else words).removesuffix('.conv')


class Reader:
    """Gives images to a calibrator, as its ``CalibrationDataReader``."""

    def __init__(self, name: str, images: Iterable[np.ndarray]) -> None:
        self.inputs = iter([{name: image[None]} for image in images])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def _calibrate(
    file: Path, images: Iterable[np.ndarray], method: str, part: Part, folder: Path
) -> TensorsData:
    """The ranges of all tensors."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    calibrator = create_calibrator(
        file,
        part.operators,
        augmented_model_path=str(folder / 'augmented.onnx'),
        calibrate_method=CalibrationMethod[method],
        extra_options={'percentile': PERCENTILE} if method == 'Percentile' else {},
    )
    name = calibrator.infer_session.get_inputs()[0].name
    if method != METHODS[0]:  # the others collect numbers, and fail where a decoder has no boxes
        calibrator.tensors_to_calibrate = calibrator.tensors_to_calibrate & part.tensors
    with redirect_stdout(None):
        for image in images:  # one at a time: their tensors are kept until they are counted
            calibrator.collect_data(Reader(name, [image]))
        return calibrator.compute_data()


def _write(
    model: onnx.ModelProto, out: Path, ranges: TensorsData, part: Part, names: Iterable[str]
) -> None:
    """Writes the model with some layers quantized."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantizer = QDQQuantizer(
        deepcopy(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[node for name in names for node in part.nodes[name]],
        nodes_to_exclude=[],
        op_types_to_quantize=part.operators,
        extra_options={'WeightSymmetric': True},
    )
    quantizer.quantize_model()
    _leave_in_float(quantizer.model.model.graph, part)
    quantizer.model.clean_initializers()
    quantizer.model.save_model_to_file(str(out))


def _leave_in_float(graph: onnx.GraphProto, part: Part) -> None:
    """Lets what leaves the part leave before it is rounded to eight bits."""
    ends = {f'{end}{ROUNDED}': end for end in part.unrounded}
    inside = {name for names in part.nodes.values() for name in names}
    for node in graph.node:
        if node.name not in inside:
            node.input[:] = [ends.get(name, name) for name in node.input]
    for kind in ('DequantizeLinear', 'QuantizeLinear'):
        used = {name for node in graph.node for name in node.input}
        for node in [n for n in graph.node if n.op_type == kind and not used & {*n.output}]:
            graph.node.remove(node)


def _runner(file: Path, tensors: Iterable[str]) -> Callable[[np.ndarray], Mapping[str, np.ndarray]]:
    """What returns tensors inside of a graph for an image."""
    import onnx
    import onnxruntime

    model = onnx.load(file)
    outputs = {value.name for value in model.graph.output}
    names = sorted(tensors)
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    name = session.get_inputs()[0].name
    return lambda image: dict(zip(names, session.run(names, {name: image[None]})))


def _run(
    file: Path, tensors: Iterable[str], images: Iterable[np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """Tensors inside of a graph, for each image."""
    run, names = _runner(file, tensors), sorted(tensors)
    found = [run(image) for image in images]
    return {name: [one[name] for one in found] for name in names}


def _error(
    found: Mapping[str, Sequence[np.ndarray]],
    expected: Mapping[str, Sequence[np.ndarray]],
    tensors: Iterable[str],
) -> float:
    """The squared differences, divided by the squares, as the mean of the tensors."""
    return float(np.mean([_relative(found[name], expected[name]) for name in tensors]))


def _relative(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    wrong = sum(np.square(a - b).sum() for a, b in zip(found, expected))
    return wrong / max(sum(np.square(b).sum() for b in expected), TINY)


def _shares(model: onnx.ModelProto, file: Path, part: Part, image: np.ndarray) -> dict[str, float]:
    """The part of each layer in the multiply-adds for an image."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    outputs = {output for convs in part.convolutions.values() for _, output in convs}
    made = {name: ys[0] for name, ys in _run(file, outputs, [image]).items()}
    counts = {
        name: sum(_multiply_adds(made[y], shapes[weight]) for weight, y in convs)
        for name, convs in part.convolutions.items()
    }
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()}


def _multiply_adds(y: np.ndarray, weight: Sequence[int]) -> float:
    channels = y.shape[1] if y.ndim == 4 else y.shape[-1]
    return y.size * float(np.prod(weight)) / channels


def _choose(errors: Mapping[str, float], shares: Mapping[str, float]) -> list[Layer]:
    """Which layers stay in float: those with the largest errors, unless they compute too much."""
    least, left, kept = FLOAT_ERROR * sum(errors.values()), FLOAT_SHARE, set()
    for name in sorted(errors, key=lambda name: -errors[name]):
        if errors[name] >= least and shares[name] <= left:
            left -= shares[name]
            kept.add(name)
    return [Layer(name, shares[name], errors[name], name in kept) for name in errors]
