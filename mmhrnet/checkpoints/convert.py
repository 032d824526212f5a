"""Weights of any published HRNet under the names and in the shapes of another one."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmhrnet.checkpoints.find import Weights
from mmhrnet.checkpoints.names import FORMS, from_common, part_of, recognise, to_common
from mmhrnet.checkpoints.safe import CheckpointError
from mmhrnet.checkpoints.segmentation import TRACKED, read_inplace_abn, upsampling_notes

PARTIAL = 'MMHRNET_PARTIAL_WEIGHTS'
# Convolutions before a norm that have biases in the official repositories and in timm.
BIASED = re.compile(r'(?:cls\.down\.\d+|cls\.final|v2|aux|ocr\.bottleneck)\.conv\.weight')
KINDS = {
    'cls': 'ImageNet classification',
    'cls.fc': 'classifier',
    'v2': 'concatenated representation',
    'aux': 'auxiliary segmentation',
    'ocr': 'object context',
    'pyramid': 'feature pyramid',
    'kpt': 'keypoints',
    'seg': 'segmentation',
}
HEADS = ('cls.fc', 'seg', 'kpt', 'aux', 'ocr', 'other')  # parts that another task replaces
State = dict[str, Tensor]


@dataclass
class Report:
    """What happened to each tensor of a checkpoint and of the network that it was loaded into."""

    form: str
    loaded: int = 0
    new: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f'Recognised as {self.form}: {self.loaded} tensors loaded']
        lines += [f'  {line}' for line in (*self.changed, *self.notes)]
        if self.new:
            lines.append(f'  new, without weights in the file: {summary(self.new)}')
        lines += [f'  left out, {why}: {summary(names)}' for why, names in self.left_out.items()]
        return '\n'.join(lines)


def summary(names: Iterable[str]) -> str:
    """The number of tensors of each module: ``neck.fpn_convs (10)``."""
    groups = Counter('.'.join(name.split('.')[:2]) for name in names)
    return ', '.join(f'{group} ({count})' for group, count in groups.items())


def to_common_state(state: State) -> tuple[list[str], State]:
    """The forms of the names, and the tensors under common names; others are ``other.NAME``."""
    forms, _ = recognise(state)
    common = {to_common(n, forms[0]) or f'other.{n}': tensor for n, tensor in state.items()}
    return forms, common


def fit(
    state: State,
    model: torch.nn.Module,
    partial: bool | None = None,
    inplace_abn: bool | None = None,
) -> tuple[State, Report]:
    """The tensors of a checkpoint, fitted to a model.

    The names follow the model; biases before norms are folded into the running means, a first
    convolution of other input channels is adapted. Heads may differ, everything else may not.

    Args:
        state: Tensors of any published form, from :func:`unwrap`.
        model: A backbone, or a whole model of a host.
        partial: Accept missing tensors; None asks the environment (``MMHRNET_PARTIAL_WEIGHTS``).
        inplace_abn: Whether the norms are InPlaceABN's, which multiply by |weight| + 1e-5; None
            asks the environment (``MMHRNET_INPLACE_ABN``: 0 or 1), else the names tell.

    Raises:
        CheckpointError: A part of the network is in both, and its tensors do not fit.
    """
    forms, source = to_common_state(state)
    report = _report(forms, source, state)
    in_file = dict(zip(source, state))
    report.notes += upsampling_notes(forms, source, model)
    report.notes += read_inplace_abn(forms, source, inplace_abn)[1]
    target = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    _, names = to_common_state(target)
    wanted = dict(zip(names, target))  # name of the model by common name
    _fold_biases(source, wanted, report)
    _adapt_input(source, wanted, target, report)
    fitted: State = {}
    misfits: dict[str, str] = {}
    parts = {part_of(name) for name in source}
    for common, name in wanted.items():
        found = source.pop(common, None)
        if found is not None and found.shape == target[name].shape:
            fitted[name] = found
        elif part_of(common) in HEADS or part_of(common) not in parts:
            report.new.append(name)
            if found is not None:
                report.left_out[f'of another shape ({_shapes(found, target[name])})'].append(name)
        elif not name.endswith(TRACKED):
            misfits[name] = 'missing' if found is None else _shapes(found, target[name])
    for common in [name for name in source if name in in_file]:
        report.left_out[_why_left(common, wanted)].append(in_file[common])
    report.loaded = len(fitted)
    _check(misfits, report, partial)
    return fitted, report


def _shapes(found: Tensor, wanted: Tensor) -> str:
    return f'{tuple(found.shape)} in the file, {tuple(wanted.shape)} here'


def _report(forms: list[str], source: State, state: State) -> Report:
    parts = {part_of(name) for name in source}
    kinds = ', '.join(kind for part, kind in KINDS.items() if part in parts)
    form = f'{" or ".join(forms)} ({kinds})' if kinds else f'a backbone with names of {forms[0]}'
    return Report(form, notes=[*(state.notes if isinstance(state, Weights) else ())])


def _why_left(common: str, wanted: Mapping[str, str]) -> str:
    part = part_of(common)
    if part == 'body':
        return 'the network has no such layer (HRNetV1 fuses into one map only)'
    known = any(part_of(name) == part for name in wanted)
    return 'not in the network' if known else f'the network has no {KINDS.get(part, "such part")}'


def _fold_biases(source: State, wanted: Mapping[str, str], report: Report) -> None:
    """A bias before a norm only shifts its mean: folding it is exact, in training too."""
    folded = _take_biases(source, keep=wanted)
    report.changed += _counted('folded into the running means of their norms', folded)
    zeros = [n for n in wanted if n.endswith('.conv.bias') and n not in source]
    for name in (name for name in zeros if _mean_of(name) in source):
        source[name] = torch.zeros_like(source[_mean_of(name)])


def _mean_of(bias: str) -> str:
    return bias.removesuffix('conv.bias') + 'bn.running_mean'


def _adapt_input(source: State, wanted: Mapping[str, str], target: State, report: Report) -> None:
    name = 'body.conv1.weight'
    weight = source.get(name)
    if weight is None or name not in wanted or weight.dim() != 4 or not weight.shape[1]:
        return  # there is none, or it is not a convolution's
    channels = target[wanted[name]].shape[1]
    if weight.shape[1] != channels:
        source[name] = adapt_channels(weight, channels)
        report.changed.append(
            f'first convolution adapted from {weight.shape[1]} to {channels} input channels'
        )


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution ``(out, in, k, k)`` for other input channels, whose sum is kept.

    More channels repeat the old ones, each divided by its number of copies; fewer channels share
    the sum of the dropped ones.
    """
    old = weight.shape[1]
    if channels <= old:
        dropped = weight[:, channels:].sum(dim=1, keepdim=True)
        return weight[:, :channels] + dropped / channels
    index = torch.arange(channels, device=weight.device) % old
    copies = torch.bincount(index, minlength=old)[index].to(weight.dtype)
    return weight[:, index] / copies[:, None, None]


def _check(misfits: Mapping[str, str], report: Report, partial: bool | None) -> None:
    if partial is None:
        partial = os.environ.get(PARTIAL) == '1'
    report.new.extend(misfits)
    if partial or not misfits:
        return
    listed = '\n  '.join(f'{name}: {shapes}' for name, shapes in list(misfits.items())[:5])
    more = f' and {len(misfits) - 5} more' if len(misfits) > 5 else ''
    raise CheckpointError(
        f'The weights ({report.form}) do not fit the network:\n  {listed}{more}\n'
        'Is it another arch, or are these HRNetV1 weights for HRNetV2? To accept a '
        f'partial match, set {PARTIAL}=1 in the environment or call fit(..., partial=True)'
    )


def convert(
    state: State,
    to: str,
    folded: Mapping[str, object] | None = None,
    inplace_abn: bool | None = None,
) -> tuple[State, State, Report]:
    """Renames a checkpoint from its form to another one.

    The tensors do not change, except for what a form cannot express: biases before norms are
    folded into their running means (rounded at 1e-8), and InPlaceABN's norms become BatchNorms.

    Args:
        state: Tensors of any published form, from :func:`unwrap`.
        to: One of ``FORMS``.
        folded: What an earlier conversion changed, to be restored bit for bit.
        inplace_abn: As in :func:`fit`.

    Returns:
        The tensors under the names of ``to``; the original values of those that were changed, by
        common name; the report.

    Raises:
        CheckpointError: ``to`` is not a known form.
    """
    if to not in FORMS:
        raise CheckpointError(f'{to!r} is not a known form: use one of {", ".join(FORMS)}')
    forms, source = to_common_state(state)
    report = _report(forms, source, state)
    plain = to.startswith(('official', 'timm'))  # these have biases, and no tensors of hosts
    kept = (folded or {}).items()  # may come from a file
    taken = {n: t for n, t in kept if isinstance(n, str) and isinstance(t, Tensor)}
    if plain:
        _put_back(source, taken, report)
    else:
        weights, notes = read_inplace_abn(forms, source, inplace_abn)
        taken |= weights
        report.notes += notes
        biases = _take_biases(source)
        taken |= biases
        report.changed += _counted('folded into the running means of their norms', biases)
    out: State = {}
    norm = 'gn' if any('.gn1.' in name for name in state) else 'bn'  # mmcv's name of group norms
    parts = {part_of(name) for name in source}
    for common, tensor in source.items():
        other = common.removeprefix('other.')
        name = from_common(common, to, parts, norm)
        if name is None and common != other and not plain:
            name = other
        if name is None:
            report.left_out[f'{to} has no name for it'].append(other)
        else:
            out[name] = tensor
    report.loaded = len(out)
    return out, {} if plain else taken, report


def _put_back(source: State, taken: State, report: Report) -> None:
    """Restores biases and InPlaceABN's weights; biases that never existed are zeros."""
    source |= taken
    if any(name.endswith('.weight') for name in taken):
        for name in [name for name in source if name.endswith(TRACKED)]:
            del source[name]
    report.changed += _counted('taken out of the running means of their norms', taken)
    for weight in [name for name in source if BIASED.fullmatch(name)]:
        bias = weight.removesuffix('weight') + 'bias'
        if bias not in source:
            source[bias] = source[weight].new_zeros(source[weight].shape[:1])


def _counted(what: str, taken: State) -> list[str]:
    count = sum(name.endswith('.bias') for name in taken)
    return [f'biases {what}: {count}'] if count else []


def _take_biases(source: State, keep: Collection[str] = ()) -> State:
    """Folds the biases before BatchNorms; returns them with the original means."""
    taken: State = {}
    for name in [n for n in source if n.endswith('.conv.bias') and n not in keep]:
        mean = _mean_of(name)
        if mean in source and source[mean].shape == source[name].shape:
            taken |= {name: source.pop(name), mean: source[mean]}
            source[mean] = taken[mean] - taken[name]
    return taken
