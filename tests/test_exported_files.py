"""Nothing in an exported file is obeyed: no pickle, expression, name or path of it runs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from mmhrnet.deploy import FORMATS, ExportError, load
from mmhrnet.deploy.export import trace

Records = dict[str, bytes]
Edit = Callable[[Records], None]

# Before torch 2.8, an archive has no folder at its top, and one record for all weights.
OLD = torch.__version__ < '2.8'
PROGRAM = 'serialized_exported_program.json' if OLD else 'models/model.json'
SAMPLE_INPUTS = 'serialized_example_inputs.pt' if OLD else 'data/sample_inputs/model.pt'
DESCRIPTION = f'{"extra_files" if OLD else "extra"}/mmhrnet.json'
MARKER = 'ran'
CODE = f"__import__('pathlib').Path({MARKER!r}).touch()"


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.conv(x).relu(),)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (CODE,)


@pytest.fixture(scope='module')
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('exported') / 'a.pt2'
    FORMATS['pt2'].write(trace(Tiny(), torch.rand(2, 3, 64, 96), 33), path, {'a': 1})
    return path


def edited(good: Path, path: Path, edit: Edit) -> Path:
    with zipfile.ZipFile(good) as archive:
        top = '' if OLD else archive.namelist()[0].partition('/')[0] + '/'
        records = {name.removeprefix(top): archive.read(name) for name in archive.namelist()}
    edit(records)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in records.items():
            archive.writestr(top + name, content)
    return path


def with_pickle(name: str) -> Edit:
    buffer = io.BytesIO()
    torch.save({'a': Evil()}, buffer)
    return lambda records: records.update({name: buffer.getvalue()})


def pickled_weight(records: Records) -> None:
    with_pickle('data/weights/weight_9')(records)
    name = 'data/weights/model_weights_config.json'
    content = json.loads(records[name])
    content['config']['conv.weight'].update(use_pickle=True, path_name='weight_9')
    records[name] = json.dumps(content).encode()


def in_program(change: Callable[[dict[str, Any]], Any]) -> Edit:
    def edit(records: Records) -> None:
        program = json.loads(records[PROGRAM])
        records[PROGRAM] = json.dumps(change(program) or program).encode()

    return edit


def with_tree(kind: str, context: Any) -> Edit:
    tree = json.dumps([1, {'type': kind, 'context': context, 'children_spec': []}])

    def change(program: dict[str, Any]) -> None:
        program['graph_module']['module_call_graph'][0]['signature']['out_spec'] = tree

    return in_program(change)


def with_expression(code: str) -> Edit:
    def change(program: dict[str, Any]) -> None:
        size = program['graph_module']['graph']['tensor_values']['x']['sizes'][0]
        size['as_expr']['expr_str'] = code

    return in_program(change)


def with_name(new: str) -> Edit:
    return in_program(
        lambda program: json.loads(json.dumps(program).replace('"x"', json.dumps(new)))
    )


def opens_a_file(program: dict[str, Any]) -> None:
    values = {'filename': {'as_string': MARKER}, 'shared': {'as_bool': True}}
    values['size'] = {'as_int': 64}
    node = program['graph_module']['graph']['nodes'][-1]
    node['target'] = 'torch.ops.aten.from_file.default'
    node['inputs'] = [{'name': k, 'arg': v, 'kind': 1} for k, v in values.items()]


FACTORY = {'default_factory_module': 'evil', 'default_factory_name': 'x', 'dict_context': []}
ENUM = json.dumps({'__enum__': 1, 'fqn': 'evil:X', 'name': 'x'})
UNPICKLED = 'contains more than tensors'
WAYS: dict[str, tuple[Edit, str]] = {
    'sample inputs': (with_pickle(SAMPLE_INPUTS), UNPICKLED),
    'old weights': (with_pickle('data/weights/model.pt'), UNPICKLED),
    'oldest weights': (with_pickle('serialized_state_dict.pt'), UNPICKLED),
    'oldest constants': (with_pickle('serialized_constants.pt'), UNPICKLED),
    'old constants': (with_pickle('data/constants/model.pt'), UNPICKLED),
    **({} if OLD else {'weight': (pickled_weight, 'contains pickled weights')}),
    'TorchScript': (with_pickle('data/constants/custom_obj_0'), 'it contains .*custom_obj_0'),
    'expression': (with_expression(CODE), 'its expr_str is'),
    'expression in a call': (with_expression(f'Integer({CODE} or 1)'), 'its expr_str is'),
    'guard': (in_program(lambda p: p.update(guards_code=[CODE])), 'its guards_code is'),
    'name': (with_name(f'x={CODE}'), 'its name is'),
    'default of a dict': (with_tree('collections.defaultdict', FACTORY), 'its out_spec is'),
    'enum': (with_tree('builtins.tuple', ENUM), 'its out_spec is'),
    'operator': (in_program(opens_a_file), 'its target is'),
}


@pytest.mark.parametrize('way', WAYS)
def test_a_graph_runs_nothing(
    good: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path('evil.py').write_text(CODE)
    edit, message = WAYS[way]
    path = edited(good, tmp_path / 'a.pt2', edit)
    with pytest.raises(ExportError, match=message) as caught:
        load(path)(torch.rand(2, 3, 64, 96))
    assert not Path(MARKER).exists()
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_graph_is_no_native_code(good: Path, tmp_path: Path) -> None:
    assert load(good, compiled=False).metadata == {'a': 1}
    path = edited(
        good, tmp_path / 'a.pt2', lambda records: records.update({'data/aotinductor/a.so': b''})
    )
    with pytest.raises(ExportError, match='is native code: load it with compiled=True'):
        load(path, compiled=False)


def outside(location: str, where: str, **more: object) -> bytes:
    """A model that adds a tensor of another place."""
    tensor = TensorProto(name='w', data_type=TensorProto.FLOAT, dims=[4], data_location=1)
    for key, value in {'location': location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    images, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in ('images', 'y'))
    add = helper.make_node('Add', ['images', 'w'], ['y'])
    constant = onnx.NodeProto(op_type='Constant', output=['w'])
    constant.attribute.add(name='value', type=onnx.AttributeProto.TENSOR, t=tensor)
    nodes = [constant, add] if where == 'node' else [add]
    graph = helper.make_graph(nodes, 'g', [images], [y], [tensor] if where == 'weight' else [])
    if where == 'sparse':
        indices = helper.make_tensor('i', TensorProto.INT64, [4], range(4))
        graph.sparse_initializer.add(values=tensor, indices=indices, dims=[4])
    opset = helper.make_opsetid('', 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    model.metadata_props.add(key='mmhrnet.json', value='{}')
    return model.SerializeToString()


@pytest.mark.parametrize('where', ['weight', 'node', 'sparse'])
@pytest.mark.parametrize('how', ['above', 'absolute', 'link', 'memory'])
def test_an_onnx_file_reads_no_other(tmp_path: Path, where: str, how: str) -> None:
    secret = tmp_path / 'secret.bin'
    secret.write_bytes(bytes(16))
    folder = tmp_path / 'model'
    folder.mkdir()
    (folder / 'link.bin').symlink_to(secret)
    memory = torch.zeros(4)
    location = {'above': '../secret.bin', 'absolute': str(secret), 'link': 'link.bin'}
    more = {'offset': memory.data_ptr(), 'length': 16} if how == 'memory' else {}
    path = folder / 'a.onnx'
    path.write_bytes(outside(location.get(how, '*/_ORT_MEM_ADDR_/*'), where, **more))
    with pytest.raises(ExportError, match=r'outside of itself, which onnx\.save'):
        load(path)


def test_one_of_another_length_encoding_is_seen_too(tmp_path: Path) -> None:
    path = tmp_path / 'a.onnx'
    path.write_bytes(outside('x', 'weight').replace(b'\x08location', b'\x88\x00location'))
    with pytest.raises(ExportError, match='outside of itself'):
        load(path)


@pytest.mark.parametrize('cut', [0, 0.5])
def test_truncated_files_are_one_line(good: Path, tmp_path: Path, cut: float) -> None:
    content = good.read_bytes()
    for name in ('a.pt2', 'a.onnx'):
        path = tmp_path / name
        path.write_bytes(content[: int(len(content) * cut)])
        with pytest.raises(ExportError, match=name) as caught:
            load(path)
        assert len(str(caught.value).splitlines()) == 1


def test_a_flipped_bit_is_noticed(good: Path, tmp_path: Path) -> None:
    content = bytearray(good.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'a.pt2').write_bytes(content)
    with pytest.raises(ExportError, match=r'cannot be loaded: .*tools/export\.py'):
        load(tmp_path / 'a.pt2')


def test_files_of_others_have_no_description(good: Path, tmp_path: Path) -> None:
    def edit(records: Records) -> None:
        del records[DESCRIPTION]

    path = edited(good, tmp_path / 'a.pt2', edit)
    with pytest.raises(ExportError, match=r'has no mmhrnet\.json.*use tools/export\.py'):
        load(path)
