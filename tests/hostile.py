"""Builds hostile checkpoints; run as a program, loads a folder of them and says what happened.

Usage: python tests/hostile.py FOLDER
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

MAGIC = 0x1950A86A20F9469CFC6C
LIMIT = 24 * 2**30  # address space: torch's libraries alone reserve some


def text(value: str) -> bytes:
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def number(value: int) -> bytes:
    data = value.to_bytes(max(1, value.bit_length() // 8 + 1), 'little', signed=True)
    return b'\x8a' + bytes([len(data)]) + data


def call(name: str, *arguments: bytes) -> bytes:
    """GLOBAL, its arguments, REDUCE."""
    return name_of(name) + b'(' + b''.join(arguments) + b'tR'


def name_of(name: str) -> bytes:
    module, _, attribute = name.rpartition('.')
    return f'c{module}\n{attribute}\n'.encode()


def numbers(*values: int) -> bytes:
    return b'(' + b''.join(map(number, values)) + b't'


def storage(items: int, key: str = '0', kind: str = 'torch.FloatStorage') -> bytes:
    return b'(' + text('storage') + name_of(kind) + text(key) + text('cpu') + number(items) + b'tQ'


def tensor(size: bytes, stride: bytes, items: int = 6, offset: int = 0) -> bytes:
    rest = b'\x89' + call('collections.OrderedDict')
    rebuild = 'torch._utils._rebuild_tensor_v2'
    return call(rebuild, storage(items), number(offset), size, stride, rest)


GOOD = tensor(numbers(2, 3), numbers(3, 1))


def inside(value: bytes, key: str = 'state_dict') -> bytes:
    """A dict with one value, as a whole pickle of protocol 2."""
    return b'\x80\x02}' + text(key) + value + b's.'


def zipped(
    content: bytes, data: bytes = bytes(24), compression: int = zipfile.ZIP_STORED, **more: bytes
) -> bytes:
    """A file as torch writes it since 1.6; the data is that of the storage '0'."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as archive:
        records = {'data.pkl': content, 'byteorder': b'little', 'data/0': data, 'version': b'3\n'}
        for name, record in (records | {k.replace('_', '.'): v for k, v in more.items()}).items():
            archive.writestr(f'archive/{name}', record)
    return buffer.getvalue()


def legacy(content: bytes, data: bytes = bytes(24), items: int = 6, used: bool = True) -> bytes:
    """A file as torch wrote it before 1.6."""
    system = dict(protocol_version=1001, little_endian=True, type_sizes={})
    heads = b''.join(pickle.dumps(head, 2) for head in (MAGIC, 1001, system))
    keys = pickle.dumps(['0'] if used else [], 2)
    views = content.replace(b'tQ', b'NtQ')  # storages say there that they are no views
    return heads + views + keys + (struct.pack('<q', items) + data if used else b'')


def gadgets(marker: Path) -> dict[str, bytes]:
    """Values, each of which would make the marker if it were unpickled."""
    command = text(f'touch {marker}')
    code = text(f"open({str(marker)!r}, 'w').close()")
    path, argv = text(str(marker)), b']' + text('touch') + text(str(marker))
    argv = b'](' + argv[1:] + b'e'
    opened = call('builtins.open', path, text('w'))
    return {
        'os.system': call('os.system', command),
        'posix.system': call('posix.system', command),
        'nt.system': call('nt.system', command),
        'subprocess.Popen': call('subprocess.Popen', argv),
        'subprocess.check_output': call('subprocess.check_output', argv),
        'eval': call('builtins.eval', text(f"open({str(marker)!r}, 'w')")),
        'exec': call('builtins.exec', code),
        'exec of Python 2': call('__builtin__.eval', text(f"open({str(marker)!r}, 'w')")),
        'compile': call('builtins.exec', call('builtins.compile', code, text('x'), text('exec'))),
        'open': opened,
        '__import__': call('builtins.__import__', text('antigravity')),
        'importlib': call('importlib.import_module', text('antigravity')),
        'webbrowser': call('webbrowser.open', text(f'file://{marker}')),
        'runpy': call('runpy.run_path', text(str(marker))),
        'pty': call('pty.spawn', argv),
        'timeit': call('timeit.timeit', code, code),
        'pickle in pickle': call('pickle.loads', call('_codecs.encode', text('cos\nsystem\n.'))),
        'functools.partial': call('functools.partial', name_of('os.system'), command) + b')R',
        'operator.methodcaller': call('operator.methodcaller', text('touch'))
        + b'('
        + call('pathlib.Path', path)
        + b'tR',
        'operator.attrgetter': call('operator.attrgetter', text('system')) + b'(cos\n\ntR',
        'getattr': call('builtins.getattr', name_of('pathlib.Path'), text('touch')),
        'getattr of HistoryBuffer': call(
            'builtins.getattr',
            name_of('mmengine.logging.history_buffer.HistoryBuffer'),
            text('__init__'),
        ),
        'NEWOBJ': name_of('subprocess.Popen') + b'(' + argv + b't\x81',
        'NEWOBJ_EX': name_of('subprocess.Popen') + b'(' + argv + b't}\x92',
        'INST': b'(' + command + b'ios\nsystem\n',
        'OBJ': b'(' + name_of('os.system') + command + b'o',
        'STACK_GLOBAL': b'\x8c\x02os\x8c\x06system\x93(' + command + b'tR',
        'memo': name_of('os.system') + b'q\x050(' + command + b't' + b'q\x060h\x05h\x06R',
        'BUILD': name_of('pathlib.Path') + b')\x81}' + text('touch') + opened + b'sb',
        '__setstate__': name_of('types.SimpleNamespace') + b')\x81}' + command + opened + b'sb',
        'copyreg': call('copyreg._reconstructor', name_of('subprocess.Popen'), argv, b'N'),
        'copyreg extension': b'\x82\x01(' + command + b'tR',
        'persistent id': b'(' + text('module') + name_of('os.system') + command + b'tQ',
        'persistent text': b'P' + f'os.system {marker}\n'.encode(),
        'torch.hub': call('torch.hub.load', text(str(marker)), text('x')),
        'torch.load': call('torch.serialization.load', path, b'NN\x89'),
        'torch.storage': call('torch.storage._load_from_bytes', command),
        'torch typed call': call(
            'torch._tensor._rebuild_from_type_v2',
            name_of('os.system'),
            name_of('torch.Tensor'),
            b'(' + command + b't',
            b'N',
        ),
        'numpy.load': call('numpy.load', path, b'N\x88'),
        'numpy runstring': call('numpy.testing._private.utils.runstring', code, b'}'),
        'numpy of objects': array(dtype('O8'), 1, b'](' + opened + b'e'),
        'shadowed method': call('collections.OrderedDict') + b'}' + text('items') + opened + b'sb',
    }


def dtype(code: str, state: bytes = b'', size: int = -1, flags: int = 0) -> bytes:
    made = call('numpy.dtype', text(code), b'\x89\x88')
    fields = state or b'NN'
    numbers_ = number(size) + number(-1) + number(flags)
    return (
        made + b'(' + number(3) + text('|' if size > 0 else '<') + b'N' + fields + numbers_ + b'tb'
    )


def array(kind: bytes, items: int, data: bytes) -> bytes:
    code = call('_codecs.encode', text('b'), text('latin1'))
    made = call('numpy.core.multiarray._reconstruct', name_of('numpy.ndarray'), numbers(0), code)
    return made + b'(' + number(1) + numbers(items) + kind + b'\x89' + data + b'tb'


def claims() -> dict[str, bytes]:
    """Values that ask for more than the file has, or for memory that is not theirs."""
    pointers = call('_codecs.encode', text('AAAAAAAA'), text('latin1'))
    fields = b'(' + text('a') + b't}' + text('a') + b'(' + dtype('O8') + number(0) + b'ts'
    wide, deep = numbers(2**20, 2**20), 200_000
    return {
        'terabytes of storage': tensor(numbers(2**40), numbers(1), 2**40),
        'storage a little too large': tensor(numbers(7), numbers(1), 7),
        'negative storage': tensor(numbers(2), numbers(1), -6),
        'overflowing storage': tensor(numbers(2), numbers(1), 2**62),
        'tensor beyond its storage': tensor(numbers(7), numbers(1)),
        'offset beyond its storage': tensor(numbers(2, 3), numbers(3, 1), offset=2**40),
        'negative offset': tensor(numbers(2), numbers(1), offset=-4),
        'negative size': tensor(numbers(-2, 3), numbers(3, 1)),
        'negative stride': tensor(numbers(2, 3), numbers(-3, 1), offset=3),
        'sizes and strides of other lengths': tensor(numbers(2, 3), numbers(1)),
        'repeated elements': tensor(wide, numbers(0, 0)),
        'overflowing extent': tensor(numbers(2**33, 2), numbers(2**33, 2**62)),
        'overflowing repetition': tensor(numbers(2**33, 2**33), numbers(0, 0)),
        'storage of another type': tensor(numbers(2), numbers(1)).replace(b'Float', b'Double'),
        'storage that is not there': tensor(numbers(2), numbers(1)).replace(text('0'), text('7')),
        'storage with a path': tensor(numbers(2), numbers(1)).replace(text('0'), text('../0')),
        'empty bytes': call('builtins.bytearray', number(2**38)),
        'empty tensor class': call('torch.FloatTensor', number(2**38)),
        'empty new tensor': name_of('torch.FloatTensor') + numbers(2**38) + b'\x81',
        'empty storage class': call('torch.storage.UntypedStorage', number(2**38)),
        'empty array': call('numpy.ndarray', numbers(2**38)),
        'empty reconstruction': call(
            'numpy.core.multiarray._reconstruct',
            name_of('numpy.ndarray'),
            numbers(2**38),
            call('_codecs.encode', text('b'), text('latin1')),
        ),
        'state of a tensor': name_of('torch.Tensor')
        + b')\x81('
        + storage(6)
        + numbers(2**40)
        + b'tb',
        'quantized': call('torch._utils._rebuild_qtensor', storage(6), number(0), wide, wide, b'N'),
        'nested tensor': call('torch._utils._rebuild_nested_tensor', GOOD, GOOD, GOOD, GOOD),
        'sparse': call('torch._utils._rebuild_sparse_tensor', name_of('torch.float32'), numbers(1)),
        'items of a tensor': GOOD + number(0) + number(1) + b's',
        'items of an array': array(dtype('f8'), 1, pointers) + number(5) + number(1) + b's',
        'array larger than its data': array(dtype('f8'), 2**40, pointers),
        'array of pointers': array(dtype('V8', fields, 8), 1, pointers),
        'flags of pointers': array(dtype('f8', flags=63), 1, pointers),
        'codec': call('_codecs.encode', text('a' * 1000), text('idna')),
        'deep lists': b']' * deep + b'a' * (deep - 1),
        'list of itself': b']q\x00h\x00a',
        'state dict of numbers': number(5),
        'names that are numbers': b'}' + number(1) + GOOD + b's',
        'far memo': b'Nr\xff\xff\xff\x7f',
        'far mark': b't',
        'no stack': b'R',
        'long text': b'X\xff\xff\xff\xffabc',
        'eight byte length': b'\x8e' + b'\xff' * 7 + b'\x3fabc',
        'unfinished': b'(' * 1000,
    }


def files(marker: Path) -> Iterator[tuple[str, bytes]]:
    """All hostile files, by name."""
    for name, value in gadgets(marker).items():
        yield f'{name}.zip.pth', zipped(inside(value))
        yield f'{name}.legacy.pth', legacy(inside(value), used=False)
        yield (
            f'{name} in meta.pth',
            zipped(inside(b'}' + text('a') + b'](' + value + b'es', 'meta')),
        )
        yield f'{name} as weight.pth', zipped(inside(b'}' + text('conv1.weight') + value + b's'))
        yield f'{name} bare.pkl', inside(value, 'optimizer')
    for name, value in claims().items():
        yield f'{name}.zip.pth', zipped(inside(value))
        yield f'{name}.legacy.pth', legacy(inside(value), used=b'Q' in value)
    yield from archives()
    yield from headers()


def archives() -> Iterator[tuple[str, bytes]]:
    good = zipped(inside(b'}' + text('w') + GOOD + b's'))
    huge = inside(b'}' + text('w') + tensor(numbers(2**28), numbers(1), 2**28) + b's')
    yield 'zip bomb.pth', zipped(huge, bytes(2**30 // 4), zipfile.ZIP_DEFLATED)
    yield 'compressed.pth', zipped(inside(GOOD), compression=zipfile.ZIP_DEFLATED)
    yield 'TorchScript.pth', zipped(inside(GOOD), constants_pkl=b'\x80\x02).')
    yield 'two directories.pth', good + good
    yield 'comment.pth', good[:-2] + b'\x05\x00' + b'hello'
    yield (
        'claimed record.pth',
        good.replace(struct.pack('<II', 24, 24), struct.pack('<II', 24, 2**31)),
    )
    yield 'no version.pth', good.replace(b'archive/version', b'archive/virsion')
    yield 'no pickle.pth', good.replace(b'archive/data.pkl', b'archive/data.pki')
    yield 'empty.pth', b''
    yield 'zeros.pth', bytes(4096)
    yield 'text.pth', b'<html>404</html>' * 100
    yield 'only magic.pth', pickle.dumps(MAGIC, 2)
    yield 'tar.pth', tar()
    for content, kind in (
        (good, 'zip'),
        (legacy(inside(b'}' + text('w') + GOOD + b's')), 'legacy'),
    ):
        for keep in range(0, len(content), 23):
            yield f'cut at {keep}.{kind}.pth', content[:keep]


def tar() -> bytes:
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name in ('sys_info', 'storages', 'tensors', 'pickle'):
            info = tarfile.TarInfo(name)
            info.size = 2
            archive.addfile(info, io.BytesIO(b'N.'))
    return buffer.getvalue()


def headers() -> Iterator[tuple[str, bytes]]:
    """Bad safetensors files."""

    def file(header: object, data: bytes = bytes(24), length: int | None = None) -> bytes:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack('<Q', len(raw) if length is None else length) + raw + data

    def entry(begin: int = 0, end: int = 24, **fields: object) -> dict[str, object]:
        return dict(dtype='F32', shape=[2, 3], data_offsets=[begin, end]) | fields

    def about(value: object) -> dict[str, object]:
        return {'w': entry(), '__metadata__': {'dataset_meta': json.dumps(value)}}

    nested = '[' * 100_000 + ']' * 100_000
    twice = b'{"w":%b,"w":%b}' % ((json.dumps(entry()).encode(),) * 2)
    bad = {
        'header beyond the file': file({'w': entry()}, length=10**6),
        'huge header': file({'w': entry()}, length=2**63),
        'no json': file(b'{"w": nothing'),
        'no object': file([1, 2]),
        'negative offset': file({'w': entry(-24, 0)}),
        'overlap': file({'v': entry(), 'w': entry()}),
        'hole': file({'w': entry(8, 32)}, bytes(32)),
        'beyond': file({'w': entry(0, 2**40, shape=[2**38])}),
        'overflow': file({'w': entry(shape=[2**33, 2**33])}),
        'unknown dtype': file({'w': entry(dtype='PICKLE')}),
        'shape of text': file({'w': entry(shape='23')}),
        'metadata no text': file({'w': entry(), '__metadata__': {'a': float('nan')}}),
        'deep header': file(b'{"w":' + nested.encode() + b'}'),
        'same name twice': file(twice, bytes(48)),
        'rubbish of the data set': file(
            {'w': entry(), '__metadata__': {'dataset_meta': '{"classes": '}}
        ),
        'deep data set': file({'w': entry(), '__metadata__': {'dataset_meta': nested}}),
        'data set a list': file(about([1])),
        'items no pairs': file(about({'a': {'__items__': [1]}})),
        'tuple of nothing': file(about({'a': {'__tuple__': None}})),
        'array of wide text': file(
            about({'a': {'__array__': ['a'], 'dtype': '<U500000000', 'shape': [9]}})
        ),
        'array of objects': file(about({'a': {'__array__': ['a'], 'dtype': 'O'}})),
        'array of another shape': file(
            about({'a': {'__array__': [1], 'dtype': '<f8', 'shape': [2**40]}})
        ),
        'empty': b'',
        'short': b'\x08\0\0',
        'no header': bytes(8),
    }
    for name, content in bad.items():
        yield f'{name}.safetensors', content


def load_all(folder: Path, load: Callable[[Path], object]) -> dict[str, str]:
    """For each file, the kind of error and its message, or what was loaded."""
    outcomes = {}
    for path in sorted(folder.iterdir()):
        try:
            outcomes[path.name] = f'loaded {type(load(path)).__name__}'
        except Exception as error:
            outcomes[path.name] = f'{type(error).__name__}: {error}'
    return outcomes


def main() -> None:
    from mmhrnet import checkpoints

    folder = Path(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    good = folder.parent / 'good.safetensors'
    checkpoints.load(good)
    checkpoints.load(good.with_suffix('.pth'))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = load_all(folder, checkpoints.load)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps(dict(outcomes=outcomes, mebibytes=growth / 1024)))
    sys.stdout.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
