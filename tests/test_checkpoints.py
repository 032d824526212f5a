"""Checkpoints: what training writes comes back, what could run code does not."""

from __future__ import annotations

import http.server
import os
import pickle
import threading
from collections import OrderedDict
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmhrnet import HRNet, checkpoints


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


@pytest.mark.parametrize('zipped', [True, False])
def test_nothing_runs(tmp_path: Path, zipped: bool) -> None:
    target, path = tmp_path / 'ran', tmp_path / 'a.pth'
    content = dict(meta=[dict(deep=Boom(target))])
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(checkpoints.CheckpointError, match=r'posix\.mkdir'):
        CheckpointLoader.load_checkpoint(str(path))
    assert not target.exists()


def test_bare_pickle_does_not_run(tmp_path: Path) -> None:
    target, path = tmp_path / 'ran', tmp_path / 'a.pkl'
    path.write_bytes(pickle.dumps(Boom(target)))
    with pytest.raises(checkpoints.CheckpointError, match=r'a\.pkl'):
        checkpoints.load(path)
    assert not target.exists()


def test_attributes_of_anything_but_statistics_are_refused(tmp_path: Path) -> None:
    class Reach:
        def __reduce__(self) -> tuple:
            return getattr, (HistoryBuffer, '__init__')

    torch.save(Reach(), tmp_path / 'a.pth')
    with pytest.raises(checkpoints.CheckpointError, match=r"a.pth.*attribute '__init__'"):
        checkpoints.load(tmp_path / 'a.pth')


def test_unlisted_type_is_named_and_can_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.pth'
    torch.save(dict(took=timedelta(seconds=3)), path)
    monkeypatch.setattr(checkpoints.safe, 'SAFE_TYPES', list(checkpoints.safe.SAFE_TYPES))
    with pytest.raises(checkpoints.CheckpointError, match=r"allow\('datetime.timedelta'\)"):
        checkpoints.load(path)
    monkeypatch.setenv('MMHRNET_SAFE_TYPES', 'datetime.timedelta')
    assert checkpoints.load(path)['took'] == timedelta(seconds=3)
    torch.serialization.clear_safe_globals()


def test_allow_refuses_what_is_no_type() -> None:
    with pytest.raises(checkpoints.CheckpointError, match='no importable type'):
        checkpoints.allow('nowhere.Thing')


@pytest.mark.parametrize('keep', [0, 10, 0.5])
def test_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / 'a.pth'
    torch.save(everyday(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(checkpoints.CheckpointError, match=r'a\.pth'):
        checkpoints.load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no\.pth'):
        checkpoints.load(tmp_path / 'no.pth')


def test_download_is_read_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = tmp_path / 'served'
    served.mkdir()
    torch.save(everyday(), served / 'good.pth')
    torch.save(Boom(tmp_path / 'ran'), served / 'bad.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}'
        loaded = CheckpointLoader.load_checkpoint(f'{url}/good.pth', map_location='cpu')
        with pytest.raises(checkpoints.CheckpointError, match=r'posix\.mkdir'):
            CheckpointLoader.load_checkpoint(f'{url}/bad.pth')
        server.shutdown()
    assert loaded['meta']['seed'] == 7
    assert not (tmp_path / 'ran').exists()


def test_pretrained_init(tmp_path: Path) -> None:
    source = HRNet('w18_small_v1')
    torch.nn.init.normal_(source.conv1.weight)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'a.pth')
    model = HRNet('w18_small_v1', pretrained=str(tmp_path / 'a.pth'), zero_init_residual=True)
    model.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
