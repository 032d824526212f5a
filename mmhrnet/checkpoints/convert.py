"""Weights of any published HRNet, in the names and the shapes that another one takes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmhrnet.checkpoints.names import FORMS, from_common, recognise, strip, to_common
from mmhrnet.checkpoints.safe import CheckpointError

WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'net')
PARTIAL = 'MMHRNET_PARTIAL_WEIGHTS'
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
    """What became of every tensor of a checkpoint and of the network that it was loaded into."""

    form: str
    loaded: int = 0
    new: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    changed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f'Recognised as {self.form}: {self.loaded} tensors loaded']
        lines += [f'  {change}' for change in self.changed]
        if self.new:
            lines.append(f'  new, without weights in the file: {summary(self.new)}')
        lines += [f'  left out, {why}: {summary(names)}' for why, names in self.left_out.items()]
        return '\n'.join(lines)


def summary(names: Iterable[str]) -> str:
    """Tensors counted by the module that they are of: ``neck.fpn_convs (10)``."""
    groups = Counter('.'.join(name.split('.')[:2]) for name in names)
    return ', '.join(f'{group} ({count})' for group, count in groups.items())


def unwrap(checkpoint: Mapping[str, Any]) -> State:
    """The tensors of a checkpoint, out of the dicts and prefixes that training wraps around them.

    Raises:
        CheckpointError: It holds no tensors of an HRNet.
    """
    state: Any = checkpoint if isinstance(checkpoint, Mapping) else {}
    for key in WRAPPERS:
        if isinstance(state.get(key), Mapping):
            state = state[key]
            break
    tensors = _tensors(state)
    prefix = strip(list(tensors))
    found = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
    if not recognise(found)[1]:
        raise CheckpointError(
            f'These are no weights of an HRNet: of {len(tensors)} tensors none is named like '
            f'conv1, layer1 or stage2, the first is {next(iter(tensors), "none")}'
        )
    return found


def _tensors(found: Mapping[Any, Any]) -> State:
    return {n: t for n, t in found.items() if isinstance(n, str) and isinstance(t, Tensor)}


def to_common_state(state: State) -> tuple[list[str], State]:
    """The forms of the names, and the tensors under common names; others are ``other.NAME``."""
    forms, _ = recognise(state)
    common = {to_common(n, forms[0]) or f'other.{n}': tensor for n, tensor in state.items()}
    return forms, common


def part_of(common: str) -> str:
    """The part of a network that a tensor belongs to; the classifier's last layer is its own."""
    return 'cls.fc' if common.startswith('cls.fc') else common.split('.')[0]


def fit(state: State, model: torch.nn.Module, partial: bool | None = None) -> tuple[State, Report]:
    """The tensors of a checkpoint as a model takes them.

    The names follow the model; biases before norms are folded into the running means, a first
    convolution of other input channels is adapted. Heads may differ, everything else may not.

    Args:
        state: Tensors of any published form, from :func:`unwrap`.
        model: A backbone, or a whole model of a host.
        partial: Accept missing tensors; None asks the environment (``MMHRNET_PARTIAL_WEIGHTS``).

    Raises:
        CheckpointError: A part of the network is in both and does not fit.
    """
    forms, source = to_common_state(state)
    report = Report(_described(forms, source))
    in_file = dict(zip(source, state))
    target = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    _, names = to_common_state(target)
    wanted = dict(zip(names, target))  # name of the model by common name
    _fold_biases(source, wanted, report)
    _adapt_input(source, wanted, target, report)
    fitted: State = {}
    misfits: list[str] = []
    parts = {part_of(name) for name in source}
    for common, name in wanted.items():
        found = source.pop(common, None)
        if found is not None and found.shape == target[name].shape:
            fitted[name] = found
        elif part_of(common) in HEADS or part_of(common) not in parts:
            report.new.append(name)
            if found is not None:
                report.left_out[f'of another shape ({_shapes(found, target[name])})'].append(name)
        elif not name.endswith('num_batches_tracked'):
            shapes = 'missing' if found is None else _shapes(found, target[name])
            misfits.append(f'{name}: {shapes}')
    for common in source:
        report.left_out[_why_left(common, wanted)].append(in_file[common])
    report.loaded = len(fitted)
    _check(misfits, report, partial)
    return fitted, report


def _shapes(found: Tensor, wanted: Tensor) -> str:
    return f'{tuple(found.shape)} in the file, {tuple(wanted.shape)} here'


def _described(forms: list[str], source: State) -> str:
    parts = {part_of(name) for name in source}
    kinds = [kind for part, kind in KINDS.items() if part in parts]
    if not kinds:
        return f'a backbone with the names of {forms[0]}'
    return f'{" or ".join(forms)} ({", ".join(kinds)})'


def _why_left(common: str, wanted: Mapping[str, str]) -> str:
    part = part_of(common)
    if part == 'body':
        return 'the network has no such layer (HRNetV1 fuses into one map only)'
    known = any(part_of(name) == part for name in wanted)
    return 'not in the network' if known else f'the network has no {KINDS.get(part, "such part")}'


def _fold_biases(source: State, wanted: Mapping[str, str], report: Report) -> None:
    """A bias before a norm only shifts its mean: folding it is exact, in training too."""
    folded = _take_biases(source, keep=wanted)
    if folded:
        count = len(folded) // 2
        report.changed.append(f'folded into the running means of their norms: {count} bias(es)')
    zeros = [n for n in wanted if n.endswith('.conv.bias') and n not in source]
    for name in (name for name in zeros if _mean_of(name) in source):
        source[name] = torch.zeros_like(source[_mean_of(name)])


def _mean_of(bias: str) -> str:
    return bias.removesuffix('conv.bias') + 'bn.running_mean'


def _adapt_input(source: State, wanted: Mapping[str, str], target: State, report: Report) -> None:
    name = 'body.conv1.weight'
    if name not in source or name not in wanted:
        return
    if source[name].dim() != 4 or not source[name].shape[1]:
        return  # not a convolution's
    weight, channels = source[name], target[wanted[name]].shape[1]
    if weight.shape[1] != channels:
        source[name] = adapt_channels(weight, channels)
        report.changed.append(
            f'first convolution adapted from {weight.shape[1]} to {channels} input channels'
        )


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution ``(out, in, k, k)`` for other input channels, of the same sum over them.

    More channels repeat the old ones, each divided by its number of copies; fewer channels share
    what the dropped ones had.
    """
    old = weight.shape[1]
    if channels <= old:
        dropped = weight[:, channels:].sum(dim=1, keepdim=True)
        return weight[:, :channels] + dropped / channels
    index = torch.arange(channels, device=weight.device) % old
    copies = torch.bincount(index, minlength=old)[index].to(weight.dtype)
    return weight[:, index] / copies[:, None, None]


def _check(misfits: list[str], report: Report, partial: bool | None) -> None:
    if partial is None:
        partial = os.environ.get(PARTIAL) == '1'
    if misfits and not partial:
        more = f' and {len(misfits) - 5} more' if len(misfits) > 5 else ''
        listed = '\n  '.join(misfits[:5])
        raise CheckpointError(
            f'The weights ({report.form}) do not fit the network:\n  {listed}{more}\n'
            'Is it another arch, or HRNetV1 weights for HRNetV2? If a partial match is what you '
            f'want, say so: {PARTIAL}=1 in the environment, or fit(..., partial=True)'
        )
    if misfits:
        report.new.extend(misfit.partition(':')[0] for misfit in misfits)


def convert(
    state: State, to: str, folded: Mapping[str, Tensor] | None = None
) -> tuple[State, State, Report]:
    """Renames a checkpoint from its form to another one, exactly.

    Args:
        state: Tensors of any published form, from :func:`unwrap`.
        to: One of ``FORMS``.
        folded: What an earlier conversion took, to be put back bit for bit.

    Returns:
        The tensors under the names of ``to``; the biases that were folded and the running means
        from before, by common name; the report.

    Raises:
        CheckpointError: ``to`` is no known form.
    """
    if to not in FORMS:
        raise CheckpointError(f'{to!r} is no known form: use one of {", ".join(FORMS)}')
    forms, source = to_common_state(state)
    report = Report(_described(forms, source))
    plain = to.startswith(('official', 'timm'))  # these have biases, and no tensors of hosts
    taken = _tensors(folded or {})
    if plain:
        source |= taken
    else:
        taken |= _take_biases(source)
    out: State = {}
    norm = _norm_name(state)
    for common, tensor in source.items():
        other = common.removeprefix('other.')
        name = from_common(common, to, norm)
        if name is None and common != other and not plain:
            name = other
        if name is None:
            report.left_out[f'{to} has no name for it'].append(other)
        else:
            out[name] = tensor
    if taken:
        where = 'taken out of' if plain else 'folded into'
        report.changed.append(f'biases {where} the running means of their norms: {len(taken) // 2}')
    report.loaded = len(out)
    return out, {} if plain else taken, report


def _take_biases(source: State, keep: Collection[str] = ()) -> State:
    """Folds the biases that a BatchNorm follows; they are returned, with the means from before."""
    taken: State = {}
    for name in [n for n in source if n.endswith('.conv.bias') and n not in keep]:
        mean = _mean_of(name)
        if mean in source and source[mean].shape == source[name].shape:
            taken |= {name: source.pop(name), mean: source[mean]}
            source[mean] = taken[mean] - taken[name]
    return taken


def _norm_name(state: State) -> str:
    """What the blocks' norms are called: ``bn``, or ``gn`` where mmcv built group norms."""
    return 'gn' if any('.gn1.' in name for name in state) else 'bn'
