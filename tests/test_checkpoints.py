"""Checkpoints: what training writes comes back, what could run code does not."""

from __future__ import annotations

import argparse
import enum
import io
import os
import pickle
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as loading

from mmhrnet import HRNet, checkpoints
from mmhrnet.bridges import mmengine_checkpoint


class Boom:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


def everyday() -> dict:
    """The kinds of things that hosts put into their checkpoints."""
    buffer = HistoryBuffer()
    buffer.update(0.5)
    return dict(
        state_dict=OrderedDict(weight=torch.arange(3.0)),
        message_hub=dict(log_scalars=dict(loss=buffer), runtime_info=dict(iter=np.int64(3))),
        meta=dict(
            seed=np.uint32(7),
            best=np.float64(0.25),
            flag=np.bool_(True),
            palette=np.zeros((2, 3), np.uint8),
            sigmas=np.ones(17, np.float32),
            names=np.array(['a', 'bc']),
            classes=('person', 'disk'),
        ),
    )


def test_everyday_checkpoint_comes_back(tmp_path: Path) -> None:
    torch.save(everyday(), tmp_path / 'a.pth')
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'), map_location='cpu')
    assert loaded['message_hub']['log_scalars']['loss'].current() == 0.5
    assert loaded['message_hub']['log_scalars']['loss'].statistics('max') == 0.5
    assert loaded['meta']['seed'] == 7
    assert loaded['meta']['names'].tolist() == ['a', 'bc']
    assert loaded['meta']['sigmas'].dtype == np.float32
    assert torch.equal(loaded['state_dict']['weight'], torch.arange(3.0))


# What people put into checkpoints beside tensors.
VALUES: dict[str, Any] = dict(
    namespace=argparse.Namespace(lr=0.1, steps=[1]),
    simple_namespace=SimpleNamespace(a=1),
    no_bytes=b'',
    some_bytes=b'a\xff',
    byte_array=bytearray(b'a'),
    frozen=frozenset({1, 2}),
    range=range(3, 9, 2),
    slice=slice(1, None, 2),
    moment=datetime(2020, 1, 2, 3, tzinfo=timezone.utc),
    day=date(2020, 1, 2),
    duration=timedelta(seconds=3),
    counter=Counter([1, 1, 2]),
    default=defaultdict(list, {1: [2]}),
    counters=defaultdict(Counter, a=Counter('ab')),
    path=Path('a/b'),
    decimal=Decimal('1.5'),
    fraction=Fraction(1, 3),
    uuid=UUID(int=5),
    of_a_config=ConfigDict(a=dict(b=[dict(c=1)])),
    complex=1 + 2j,
    torch_version=torch.__version__,
    large=2**70,
    empty=np.array([]),
    no_rows=np.zeros((0, 3), np.float32),
    transposed=np.arange(6).reshape(2, 3).T,
    big_endian=np.arange(3, dtype='>i4'),
    texts=np.array(['a', 'bcd']),
    bytes_array=np.array([b'a']),
    objects=np.array([1, 'a', None], object),
    scalar=np.float64(0.5),
    truth=np.bool_(True),
    text=np.str_('abc'),
    half=np.float16(2),
    time=np.datetime64('2020-01-02'),
    months=np.array(['2020-01', '2021-02'], 'M8[M]'),
    seconds=np.timedelta64(3, 's'),
)


def saved(content: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def reloaded(content: Any, zipped: bool = True) -> Any:
    return checkpoints.load(io.BytesIO(saved(content, zipped)))


@pytest.mark.parametrize('name', VALUES)
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_harmless_values_come_back(name: str, zipped: bool) -> None:
    value = VALUES[name]
    loaded = reloaded({'meta': {name: value}}, zipped)['meta'][name]
    if isinstance(value, (np.ndarray, np.generic)):
        assert isinstance(loaded, type(value))
        assert loaded.dtype == value.dtype.newbyteorder('=')
        assert loaded.shape == value.shape
        assert pickle.dumps(loaded) == pickle.dumps(pickle.loads(pickle.dumps(value, 2)))  # noqa: S301
    assert np.array_equal(loaded, value) if isinstance(value, np.ndarray) else loaded == value


@pytest.mark.parametrize('content', [[1, 2], torch.ones(2), {5: 1}, {'meta': None}])
def test_whatever_torch_reads_is_read(content: Any) -> None:
    loaded = reloaded(content)
    assert torch.equal(loaded, content) if torch.is_tensor(content) else loaded == content


def test_a_deque_comes_back_as_a_list() -> None:
    assert reloaded(deque([1, 2], maxlen=3)) == [1, 2]


def test_plain_torch_load_is_left_alone(tmp_path: Path) -> None:
    path, before = tmp_path / 'a.pth', set(torch.serialization.get_safe_globals())
    torch.save(argparse.Namespace(a=1), path)
    checkpoints.load(path)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError, match='Namespace'):
        torch.load(path, weights_only=True)
    torch.serialization.add_safe_globals([argparse.Namespace])  # the user's own stays
    checkpoints.load(path)
    assert torch.load(path, weights_only=True).a == 1
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(before))


def on_a_gpu(content: bytes) -> bytes:
    """The same checkpoint as a machine with a GPU would have saved it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, 'w') as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'\3\0\0\0cpu', b'\6\0\0\0cuda:0'))
    return out.getvalue()


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (b'\x89HDF\r\n\x1a\n' + bytes(64), 'HDF5 file.*Keras'),
        (b'<!DOCTYPE html><html>', 'web page'),
        (b'version https://git-lfs.github.com/spec/v1', 'git lfs pull'),
        (b'\x1f\x8b' + bytes(64), 'gzip archive: unpack'),
        (pickle.dumps({'a': 1}, 2), 'not a file that torch.save wrote'),
        (
            saved(torch.nn.Sequential(torch.nn.Linear(2, 2))),
            r'pickled whole.*model\.state_dict\(\)',
        ),
        (saved({'state_dict': torch.nn.DataParallel(HRNet('w18_small_v1'))}), 'pickled whole'),
    ],
    ids=['h5', 'page', 'pointer', 'gzip', 'pickle', 'module', 'parallel'],
)
def test_other_files_are_told_and_not_called_truncated(content: bytes, says: str) -> None:
    with pytest.raises(checkpoints.CheckpointError, match=f'^a.pth .*{says}') as error:
        checkpoints.load(io.BytesIO(content), name='a.pth')
    assert 'truncated' not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_file_of_a_gpu_loads_where_there_is_none() -> None:
    content = on_a_gpu(saved({'weight': torch.arange(3.0)}))
    with pytest.raises(checkpoints.CheckpointError, match=r"a CUDA device.*map_location='cpu'"):
        checkpoints.load(io.BytesIO(content), name='a.pth')
    loaded = checkpoints.load(io.BytesIO(content), 'cpu')
    assert torch.equal(loaded['weight'], torch.arange(3.0))


@pytest.mark.parametrize('zipped', [True, False])
def test_nothing_runs(tmp_path: Path, zipped: bool) -> None:
    target, path = tmp_path / 'ran', tmp_path / 'a.pth'
    content = dict(meta=[dict(deep=Boom(target))])
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(checkpoints.CheckpointError, match=r'posix\.mkdir'):
        CheckpointLoader.load_checkpoint(str(path))
    assert not target.exists()


def test_the_loader_of_newer_mmengines_runs_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``weights_only=True`` refuses a file, it loads it with ``False``."""
    monkeypatch.setattr(loading, '_safe_torch_load', torch.load, raising=False)
    mmengine_checkpoint._load_safely(loading)
    target, path = tmp_path / 'ran', tmp_path / 'a.pth'
    torch.save({'state_dict': {}, 'meta': Boom(target)}, path)
    for file in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(checkpoints.CheckpointError, match='mkdir'):
            loading._safe_torch_load(file, map_location='cpu', weights_only=False)
    assert not target.exists()


class Mood(enum.Enum):
    """Of nobody's list."""

    GOOD = 1


class Schedule:
    """Keeps a function of its own, as MMEngine's OneCycle does."""

    @staticmethod
    def linear(step: int) -> float:
        return 0.5 * step

    def __init__(self) -> None:
        self.function = self.linear


@pytest.mark.parametrize('value', [Mood.GOOD, Schedule()], ids=['enum', 'function'])
def test_unlisted_type_is_named_and_can_be_allowed(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kind = tmp_path / 'a.pth', f'{type(value).__module__}.{type(value).__name__}'
    torch.save(dict(held=value), path)
    monkeypatch.setattr(checkpoints.safe, 'SAFE_TYPES', list(checkpoints.safe.SAFE_TYPES))
    with pytest.raises(checkpoints.CheckpointError, match=rf"allow\('{kind}'\)"):
        checkpoints.load(path)
    monkeypatch.setenv('MMHRNET_SAFE_TYPES', kind)
    held = checkpoints.load(path)['held']
    assert held is value if isinstance(value, Mood) else held.function(4) == 2


def test_allow_refuses_what_is_no_type() -> None:
    with pytest.raises(checkpoints.CheckpointError, match='cannot be imported'):
        checkpoints.allow('nowhere.Thing')


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no\.pth'):
        checkpoints.load(tmp_path / 'no.pth')


def test_download_is_read_safely(served: str, tmp_path: Path) -> None:
    target = tmp_path / 'ran'
    torch.save(everyday(), tmp_path / 'good.pth')
    torch.save(Boom(target), tmp_path / 'bad.pth')
    loaded = CheckpointLoader.load_checkpoint(f'{served}/good.pth', map_location='cpu')
    assert loaded['meta']['seed'] == 7
    with pytest.raises(checkpoints.CheckpointError, match=r'posix\.mkdir'):
        CheckpointLoader.load_checkpoint(f'{served}/bad.pth')
    assert not target.exists()


def test_pretrained_init(tmp_path: Path) -> None:
    source = HRNet('w18_small_v1')
    torch.nn.init.normal_(source.conv1.weight)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'a.pth')
    model = HRNet('w18_small_v1', pretrained=str(tmp_path / 'a.pth'), zero_init_residual=True)
    model.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
