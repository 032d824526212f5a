"""Which exported files are safe to hand to torch or to ONNX Runtime.

``torch.export.load`` unpickles records, evaluates shape expressions and guards, imports modules
that the types of inputs and outputs name, and makes Python source out of names. So a graph passes
only if it contains what ``torch.export.save`` writes for a model of tensors.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import torch

from mmhrnet.checkpoints.archive import check_archive, check_zip
from mmhrnet.checkpoints.values import require

# Records without the folder at their top; those of torch before 2.8 have none.
RAW = re.compile(
    r'data/(?:weights/weight|constants/tensor)_\d+|\.data/\w+|byteorder|version|'
    r'archive_(?:format|version)|extra(?:_files)?/[^/]+'
)
PICKLED = re.compile(r'data/(?:weights|constants|sample_inputs)/\w+\.pt|serialized_\w+\.pt')
JSON = re.compile(
    r'data/(?:weights|constants)/\w+_config\.json|models/\w+\.json|'
    r'serialized_exported_program\.json'
)

NAME = r'\w*'  # becomes source code
DOTTED = r'[\w.+]*'  # becomes an attribute or nothing
ANYTHING = r'(?s:.*)'  # remains text
# Arithmetic over symbols: torch gives it to sympy, which evaluates it as Python.
EXPRESSION = (
    r'(?:\b(?:Integer|Add|Mul|FloorDiv|CeilDiv|CleanDiv|Mod|PythonMod|Max|Min|Equality|Unequality|'
    r"(?:Strict)?(?:GreaterThan|LessThan))\(|\bSymbol\('\w+'|"
    r'\b(?:True|positive|nonnegative|integer|[su]\d+|\d+)\b|\*(?!\*)|[\s(),=+/<>-])*'
)
# Tuples, lists and empty dicts: of other types, torch imports the module that the file names.
TREE = (
    r'(?:[\[\]{}:,\s]|\d+\b|null|"(?:type|context|children_spec|null|\[\]|'
    r'builtins\.(?:tuple|list|dict))")*'
)
# Operators of PyTorch without the two that take a file name, two of torchvision, and arithmetic on
# shapes.
OPERATOR = (
    r'torch\.ops\.aten\.(?!(?:from_file|save)\.)\w+\.\w+|(?:_operator|math)\.\w+|torch\.\w*sym_\w+|'
    r'torch\.ops\.torchvision\.(?:nms|roi_align)\.default'
)
FORMS = {  # what a string may be, by its key
    'expr_str': EXPRESSION,
    'in_spec': TREE,
    'out_spec': TREE,
    'target': OPERATOR,
    'as_string': r"[\w ,.>-]*|Runtime assertion failed for [\w ()*+/<=>-]* on node '\w*'",
    # Torch runs it: comparisons of sizes of the input.
    'guards_code': (
        r"(?:L\['\w+'\]\.size\(\)\[\d\]|\b(?:max|min)\(|\d+|//|\*(?!\*)|[=!<>]=|[ (),+<>%-])*"
    ),
    **dict.fromkeys(
        ('fqn', 'parameter_name', 'buffer_name', 'tensor_constant_name', 'torch_version'), DOTTED
    ),
    **dict.fromkeys(
        ('stack_trace', 'nn_module_stack', 'torch_fn', 'source_fn_stack', 'from_node', 'custom'),
        ANYTHING,
    ),
}
# The key of a tensor outside of the file, and the type of a node for a compiled engine.
OUTSIDE = re.compile(rb'[\x08\x00]location|EPContext')


def check_pt2(path: Path) -> None:
    """Raises unless a plain ``.pt2`` contains only data and calls of PyTorch's operators.

    Raises:
        UnpicklingError: It contains something else.
        EOFError: It ends too early.
        BadZipFile: It is damaged.
    """
    with path.open('rb') as file:
        names = check_zip(file)
        require(names, 'it is empty')
        top = names[0].partition('/')[0] + '/'
        top = top if f'{top}archive_format' in names else ''
        with zipfile.ZipFile(file) as archive:
            for name in names:
                _check_record(name.removeprefix(top), archive.read(name))


def _check_record(name: str, content: bytes) -> None:
    if PICKLED.fullmatch(name):
        _check_pickle(name, io.BytesIO(content))
    elif JSON.fullmatch(name):
        _check_strings(json.loads(content.decode()), '')
    else:
        require(RAW.fullmatch(name), f'it contains {name[:100]!a}')


def _check_pickle(name: str, file: io.BytesIO) -> None:
    """Loads as torch first does; where that fails, torch would try without ``weights_only``."""
    try:
        check_archive(file)
        torch.load(file, weights_only=True)
    except Exception as error:
        raise pickle.UnpicklingError(f'its {name} contains more than tensors') from error


def _check_strings(value: object, key: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            require(re.fullmatch(DOTTED, name), f'it contains the name {name[:100]!a}')
            _check_strings(item, name)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item, key)
    elif isinstance(value, str):
        require(re.fullmatch(FORMS.get(key, NAME), value), f'its {key} is {value[:100]!a}')
    else:
        require(not (key == 'use_pickle' and value), 'it contains pickled weights')


def check_onnx(path: Path) -> None:
    """Raises if an ONNX file can make ONNX Runtime read another file, or any address of memory.

    Wherever such a tensor is, the file spells the key of external data out behind its length, so
    that a search finds what a walk through all graphs and functions would.

    Raises:
        UnpicklingError: It points elsewhere.
    """
    require(
        not OUTSIDE.search(path.read_bytes()),
        'it points to data outside of itself, which onnx.save(onnx.load(PATH), PATH) moves inside',
    )
