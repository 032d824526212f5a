"""The commands that make what is given to others: model files, weights and figures."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhrnet.cli.options import CONFIG_OR_CHECKPOINT, Call, add, share
from mmhrnet.errors import ConfigError

if TYPE_CHECKING:
    from mmhrnet.deploy.precision import Precision

OF_A_CONFIG = ('checkpoint', 'cfg_options', 'files', 'evaluate', 'results', 'by')


def export(parser: ArgumentParser) -> Call:
    """Write a torch.export, AOTInductor or ONNX file.

    The file is the whole model: from the pixels of a picture to boxes and masks, joints, labels or
    probabilities. It is compared with the host's own prediction before it appears.
    """
    from mmhrnet.deploy import FORMATS
    from mmhrnet.deploy.from_config import export_config
    from mmhrnet.deploy.precision import Lower

    add(parser, 'config', help=CONFIG_OR_CHECKPOINT)
    add(parser, 'checkpoint', nargs='?', help='checkpoint file; of a config alone, random weights')
    parser.add_argument(
        '--format',
        choices=list(FORMATS),
        default='pt2',
        help='torch.export, compiled by AOTInductor, or ONNX',
    )
    content = parser.add_mutually_exclusive_group()
    raw = 'normalized images in, what the head returns out'
    content.add_argument('--raw', action='store_const', dest='content', const='raw', help=raw)
    features = 'normalized images in, feature maps of the neck out'
    content.add_argument(
        '--features', action='store_const', dest='content', const='features', help=features
    )
    flip = 'for pose: average the picture and its mirror image'
    parser.add_argument('--flip-test', action='store_true', help=flip)
    probabilities = 'for segmentation: return the probability of each class, too'
    parser.add_argument('--probabilities', action='store_true', help=probabilities)
    parser.add_argument('--opset', type=int, help='of ONNX; TensorRT 8 takes 17')
    parser.add_argument('--out', help='file to write')
    bundle = 'of ONNX: folder for the file and all that runs it without PyTorch'
    parser.add_argument('--bundle', metavar='DIR', help=bundle)
    license = 'of the weights, for the README of the bundle; default: %(default)s'
    parser.add_argument('--license', default='not stated', help=license)
    add(parser, '--shape', help='example size')
    parser.add_argument('--batch', type=int, default=2, help='images of the example')
    parser.add_argument('--static', action='store_true', help='fix batch size and image size')
    _add_precision(parser)
    share(parser, '--swap')
    add(parser, '--device', default='cpu', help='device to export for')
    share(parser, '--cfg-options')

    def call(
        precision: Precision, calibrate: str, max_drop: float, gate: bool, **args: Any
    ) -> None:
        lower = Lower(precision, calibrate, max_drop if gate else None)
        export_config(lower=lower, **args)

    return call


def _add_precision(parser: ArgumentParser) -> None:
    from mmhrnet.deploy.precision import HALF

    precision = 'of the network of a whole model; what is lower must keep its metrics'
    parser.add_argument(
        '--precision', choices=['fp32', *HALF, 'int8'], default='fp32', help=precision
    )
    images = 'for int8: number of training images, or a folder; default: %(default)s'
    parser.add_argument('--calibrate', default='128', metavar='N|DIR', help=images)
    drop = 'points that a metric may lose on the validation data; default: %(default)s'
    parser.add_argument('--max-drop', type=float, default=0.5, metavar='POINTS', help=drop)
    gate = 'do not evaluate; the file says that its accuracy was not measured'
    parser.add_argument('--no-gate', dest='gate', action='store_false', help=gate)


def convert(parser: ArgumentParser) -> Call:
    """Rewrite a checkpoint with the names of another library."""
    from mmhrnet.checkpoints import FORMS
    from mmhrnet.checkpoints.convert_file import convert_checkpoint

    parser.add_argument('src', help='checkpoint: a .pth or .safetensors file, or a URL')
    parser.add_argument('dst', help='file to write, .pth or .safetensors')
    parser.add_argument('--to', choices=list(FORMS), default='mmhrnet', help='names to write')
    return lambda **args: print(convert_checkpoint(**args))


def publish(parser: ArgumentParser) -> Call:
    """Prepare a checkpoint for publication, with its model card.

    Writes weights, config and classes to one file with its hash in the name, and beside it a card
    that says what it is, how it was trained and how to use it. With --push, a repository of the
    Hugging Face Hub gets the same.
    """
    from mmhrnet.zoo.publish import FORMATS, LICENSE, publish

    share(parser, 'checkpoint')
    parser.add_argument('out_dir', help='folder for the file and its card')
    add(parser, '--config', help='that of its training; default: the one in the checkpoint')
    parser.add_argument('--format', choices=FORMATS, default=FORMATS[0], help='kind of file')
    parser.add_argument(
        '--metric',
        type=_metric,
        nargs='+',
        dest='metrics',
        metavar='NAME=VALUE',
        help='results for the card; default: the last ones logged in its work folder',
    )
    parser.add_argument('--license', default=LICENSE, help='licence of code and weights')
    raw = 'take the raw weights of a run with EMAHook instead of the averaged ones'
    parser.add_argument('--raw', action='store_true', help=raw)
    share(parser, '--swap', '--cfg-options')
    hub = 'repository of the Hugging Face Hub that gets the files too; made if absent'
    parser.add_argument('--push', metavar='USER/MODEL', help=hub)
    parser.add_argument('--private', action='store_true', help='make it a private one')

    def call(metrics: list[tuple[str, float]] | None, **args: Any) -> None:
        path = publish(metrics=dict(metrics) if metrics else None, **args)
        print(f'{path}\n{path.with_suffix(".md")}')

    return call


def _metric(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition('=')
    return name, float(value)


def benchmark(parser: ArgumentParser) -> Call:
    """Measure speed beside every other HRNet, in every form.

    All run in turn with the same weights, and their outputs are compared: those of mmpose, mmdet,
    mmseg, mmpretrain and timm. Writes Markdown, JSON and a picture. With a config of a host, a
    whole file runs beside its inferencer and its plain export, from a picture to the result.
    """
    from mmhrnet.benchmark import CASES, INFERENCE, TRAINING, benchmark, benchmark_whole
    from mmhrnet.benchmark.gpu import prove
    from mmhrnet.models import list_archs
    from mmhrnet.models.checks import check_choice

    case = f'{", ".join(CASES)}, or a config of a host library; default: pose'
    parser.add_argument('case', nargs='?', default='pose', metavar='CASE', help=case)
    add(parser, '--checkpoint', help='weights of the config; default: random ones')
    files = 'whole models of the config to run beside, such as those of lower precision'
    parser.add_argument('--files', nargs='+', default=[], metavar='FILE', help=files)
    evaluate = 'evaluate each of them and the checkpoint on the test data of the config, too'
    parser.add_argument('--evaluate', action='store_true', help=evaluate)
    results = 'folder for result files of the zoo with the time of each network of the config'
    parser.add_argument('--results', metavar='DIR', help=results)
    parser.add_argument('--by', help='who measures, for the result files; default: as git knows')
    add(parser, '--cfg-options')
    parser.add_argument('--arch', choices=list_archs(), default='w32')
    parser.add_argument(
        '--batch', type=int, nargs='+', default=[], dest='batches', help='one or several'
    )
    parser.add_argument(
        '--shape', type=_size, nargs='+', default=[], dest='shapes', metavar='HxW', help='the same'
    )
    parser.add_argument(
        '--forms',
        nargs='+',
        choices=sorted({*INFERENCE, *TRAINING}),
        default=[],
        help='ways to run; default: all that run here',
    )
    parser.add_argument('--train', action='store_true', help='training steps, not inference')
    rewrites = 'the deploy form, one rewrite at a time'
    parser.add_argument('--rewrites', action='store_true', help=rewrites)
    parser.add_argument('--precision', choices=['fp32', 'fp16', 'bf16'], default='fp32')
    add(parser, '--device', choices=['cpu', 'cuda'])
    parser.add_argument('--rounds', type=int, help='samples of each')
    parser.add_argument('--quick', action='store_true', help='three minutes on two cores')
    _add_gpu(parser)

    def call(gpu: bool, parts: list[str], minutes: float, out: str | None, **args: Any) -> None:
        folder = out or 'work_dirs/benchmark'
        weights = {name: args.pop(name) for name in OF_A_CONFIG}
        if gpu:
            args = dict(device=args['device'] or 'cuda', out=out or 'docs/gpu.md')
            if not prove(parts=parts, minutes=minutes, **args):
                sys.exit(1)
        elif args['case'] in CASES:
            _refuse(parser, weights, f'the case {args["case"]}')
            args['batches'] = args['batches'] or [1]
            benchmark(out=folder, **args)
        else:
            config = args.pop('case')
            if not Path(config).suffix and '::' not in config:
                check_choice('case', config, CASES)
            chosen = {'rounds': args.pop('rounds')}
            for name, several in (('shape', 'shapes'), ('batch', 'batches')):
                given = args.pop(several)
                if len(given) > 1:
                    raise ConfigError(f'A config takes one --{name}, not {len(given)}')
                chosen[name] = given[0] if given else None
            _refuse(parser, args, 'a config')
            chosen = {name: value for name, value in chosen.items() if value}
            benchmark_whole(config, **weights, **chosen, out=folder)

    return call


def _refuse(parser: ArgumentParser, given: Mapping[str, object], place: str) -> None:
    """Raises a ConfigError for an option that would have no effect."""
    for name, value in given.items():
        if value != parser.get_default(name):
            option = 'batch' if name == 'batches' else name.replace('_', '-')
            raise ConfigError(f'--{option} has no effect on {place}: leave it out')


def _add_gpu(parser: ArgumentParser) -> None:
    from mmhrnet.benchmark.gpu import part_names

    parser.add_argument('--gpu', action='store_true', help='everything about this GPU, on one page')
    parser.add_argument('--parts', nargs='+', choices=part_names(), default=[], help='of --gpu')
    parser.add_argument('--minutes', type=float, default=20, help='for --gpu')
    out = 'folder for the results; of --gpu, the page; default: work_dirs/benchmark, docs/gpu.md'
    parser.add_argument('--out', help=out)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition('x')
    return int(height), int(width or height)


def flops(parser: ArgumentParser) -> Call:
    """Count parameters and multiply-adds, without computing anything.

    For detectors and bottom-up pose estimators, the MACs are those of backbone and neck.
    """
    add(parser, 'config', help='config file, checkpoint, or an architecture like w32')
    size = "height and width, or one side; default: the config's own, 224 for an architecture"
    add(parser, '--shape', help=size)

    def call(config: str, shape: list[int] | None) -> None:
        from mmhrnet.terminal import CONSOLE
        from mmhrnet.zoo.complexity import complexity_table

        size = (shape[0], shape[-1]) if shape else None
        CONSOLE.print(complexity_table(config, size))

    return call
