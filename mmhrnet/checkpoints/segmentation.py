"""What published weights for segmentation need from a network without saying so.

Source: the official segmentation repository, branches master, pytorch-v1.1 and HRNet-OCR.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhrnet.checkpoints.names import part_of
from mmhrnet.errors import listed

INPLACE_ABN = 'MMHRNET_INPLACE_ABN'
ABN_EPS = 1e-5  # InPlaceABN multiplies by |weight| + eps
TRACKED = 'num_batches_tracked'
HEADS = {'seg', 'aux', 'ocr'}
# Classes of the official plain experiments with align_corners, ADE20K and COCO-Stuff, and
# without: Cityscapes, LIP and PASCAL-Context.
ALIGNED_CLASSES, OTHER_CLASSES = (150, 171), (19, 20, 59, 60)
State = dict[str, Tensor]


def read_inplace_abn(
    forms: list[str], source: State, given: bool | None = None
) -> tuple[State, list[str]]:
    """Turns norms of InPlaceABN into BatchNorms, in place.

    Branch master (torch 0.4.1) has them. Its files are recognised by the names of their heads and
    because they lack the counters of BatchNorms.

    Args:
        forms: Forms of the names.
        source: Tensors by common name.
        given: Whether they are InPlaceABN's; None asks the environment (``MMHRNET_INPLACE_ABN``: 0
            or 1), else the names tell.

    Returns:
        The original weights; what to tell the user about it.
    """
    if given is None and INPLACE_ABN in os.environ:
        given = os.environ[INPLACE_ABN] != '0'
    if given is None:
        counted = any(name.endswith(TRACKED) for name in source)
        given = forms[0] == 'official' and bool(HEADS & _parts(source)) and not counted
    norms = [name.removesuffix('running_var') for name in source if name.endswith('.running_var')]
    names = [f'{norm}weight' for norm in norms if f'{norm}weight' in source] if given else []
    before = {name: source[name] for name in names}
    for name, weight in before.items():
        source[name] = weight.abs() + ABN_EPS
        source.setdefault(name.removesuffix('weight') + TRACKED, torch.tensor(0))
    if not before:
        return {}, []
    negative = sum(int((weight < 0).sum()) for weight in before.values())
    return before, [
        f'read as norms of InPlaceABN, weight := |weight| + {ABN_EPS} ({negative} were negative): '
        f'{INPLACE_ABN}=0 in the environment takes the weights as they are'
    ]


def upsampling_notes(forms: list[str], source: State, model: nn.Module) -> list[str]:
    """Where a network upsamples its dense maps in another way than in the weights' training."""
    if forms[0] not in ('official', 'mmseg') or not {'v2', *HEADS} & _parts(source):
        return []
    modules = {type(module).__name__: module for module in model.modules()}
    nearest = [n for n, m in modules.items() if getattr(m, 'upsample', None) == 'nearest']
    aligned = {
        name: module.align_corners
        for name, module in modules.items()
        if name not in nearest and isinstance(getattr(module, 'align_corners', None), bool)
    }
    wanted = _align_corners_of(source) if forms[0] == 'official' else None
    other = [name for name, setting in aligned.items() if wanted not in (None, setting)]
    return [
        *_differs("upsample='bilinear'", nearest),
        *_differs(f'align_corners={wanted}', other),
    ]


def _differs(setting: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [
        f'these weights were trained with {setting}, unlike {listed(names)} here: '
        f'the maps will differ. Set {setting} there (docs/checkpoints.md)'
    ]


def _align_corners_of(source: State) -> bool | None:
    """All object context was trained with True; for plain heads it depends on the data set."""
    classes = (*source['seg.weight'].shape, 0)[0] if 'seg.weight' in source else 0
    if 'ocr' in _parts(source) or classes in ALIGNED_CLASSES:
        return True
    return False if classes in OTHER_CLASSES else None


def _parts(source: State) -> set[str]:
    return {part_of(name) for name in source}
