"""Loading and resuming checkpoints: safely, and from any published HRNet.

Needed by: mmengine <= 0.10.7, which calls ``torch.load`` without ``weights_only``: with torch 2.6
its own checkpoints then fail to load (their message hub contains HistoryBuffers and numpy scalars);
with older torch, and for downloads with any torch, they may run code. Newer mmengine loads what is
not safe all the same, with ``weights_only=False``. So this bridge is always active:
``mmhrnet.checkpoints.load`` stands behind mmengine's local and object-storage loaders, behind its
downloads, and behind the function by which newer mmengine loads whatever it loads. Downloads look
in several places and check what they get (:mod:`mmhrnet.checkpoints.fetching`); ``hf://`` is one.

The config in a checkpoint is data too. MMEngine's runners execute ``meta['config']``, which
trainings of before 2022 wrote, so it is removed from what they load. An inferencer without a
config executes the stored one; here it gets what :func:`mmhrnet.checkpoints.config_of` reads.

Whatever is loaded into a model with a ``mmhrnet.HRNet`` in it, through ``init_cfg`` (with and
without a ``prefix``), ``load_from`` or a host's inferencer, is first given the names that the model
takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING

from mmhrnet.bridges.imports import after_import, wrap

if TYPE_CHECKING:
    from mmengine.config import ConfigDict
    from mmengine.infer import BaseInferencer
    from mmengine.model import PretrainedInit
    from torch import Tensor, nn
    from torch.serialization import MAP_LOCATION

MODULE = 'mmengine.runner.checkpoint'
USERS = (  # modules that take its function by name
    'mmengine.runner.runner',
    'mmengine.infer.infer',
    'mmdet.apis.det_inferencer',
    'mmpose.apis.inferencers.base_mmpose_inferencer',
)


def reason() -> str | None:
    unsafe = 'mmengine loads checkpoints without an explicit list of safe types'
    return unsafe if find_spec('mmengine') else None


def install() -> None:
    after_import(MODULE, _load_safely)
    for name in (MODULE, *USERS):
        wrap(name, '_load_checkpoint_to_model', load_fitted)
    wrap('mmengine.model.weight_init', 'PretrainedInit.__call__', load_part)
    wrap('mmengine.infer.infer', 'BaseInferencer._init_model', read_config)


def _load_safely(module: ModuleType) -> None:
    register = module.CheckpointLoader.register_scheme
    register('', load_from_local, force=True)
    register([r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], load_from_ceph, force=True)
    register('hf://', load_from_hub, force=True)
    module.__dict__['load_url'] = load_url
    if hasattr(module, '_safe_torch_load'):
        module.__dict__['_safe_torch_load'] = load_any


def load_fitted(
    original: Callable[..., object],
    model: nn.Module,
    checkpoint: dict[str, object],
    *args: object,
    **kwargs: object,
) -> dict[str, object]:
    """Converts the checkpoint before mmengine loads it; returns it as it was."""
    from mmengine.model import is_model_wrapper

    from mmhrnet import checkpoints

    network = model.get_submodule('module') if is_model_wrapper(model) else model
    fitted, new = _fitted(network, checkpoint)
    original(model, fitted, *args, **kwargs)
    checkpoints.note_random(network, new)
    return checkpoint


def load_part(
    original: Callable[[PretrainedInit, nn.Module], None], self: PretrainedInit, module: nn.Module
) -> None:
    """``init_cfg=dict(type='Pretrained', prefix=...)``, which loads by another function."""
    if self.prefix is None:
        original(self, module)
        return
    from mmengine.model import update_init_info
    from mmengine.runner import checkpoint as loading

    content = loading._load_checkpoint(self.checkpoint, map_location=self.map_location)
    state = _part_of(content, f'{self.prefix.removesuffix(".")}.', self.checkpoint)
    loading._load_checkpoint_to_model(module, {'state_dict': state}, logger='current')
    if hasattr(module, '_params_init_info'):
        update_init_info(module, init_info=self._get_init_info())


def read_config(
    original: Callable[..., nn.Module],
    self: BaseInferencer,
    cfg: ConfigDict,
    weights: str | None,
    device: str = 'cpu',
) -> nn.Module:
    """Reads the config of an inferencer that was given none as data out of the checkpoint."""
    if not cfg and weights is not None:
        from mmengine.runner.checkpoint import _load_checkpoint

        from mmhrnet.checkpoints import config_of

        cfg.update(config_of(_load_checkpoint(weights, map_location='cpu')))
    return original(self, cfg, weights, device)


def _part_of(checkpoint: dict[str, object], prefix: str, name: str) -> dict[str, Tensor]:
    from mmhrnet import checkpoints

    found = checkpoints.state_of(checkpoint)
    if not any(key.startswith(prefix) for key in found):
        found = checkpoints.unwrap(checkpoint)  # out of other wrappers
    part = {key[len(prefix) :]: tensor for key, tensor in found.items() if key.startswith(prefix)}
    if not part:
        seen = checkpoints.summary(found)
        raise checkpoints.CheckpointError(
            f'No name in {name} begins with the prefix {prefix!r} of init_cfg; its names are those '
            f'of {seen:.200}. Leave the prefix out: a backbone finds its weights by itself'
        )
    return part


def _fitted(
    network: nn.Module, checkpoint: dict[str, object]
) -> tuple[Mapping[str, object], list[str]]:
    """The checkpoint as the network takes it, and the names of the tensors that it lacks."""
    from logging import INFO, WARNING

    from mmengine.logging import print_log

    from mmhrnet import HRNet, checkpoints

    own, state = _shapes(network.state_dict()), _shapes(checkpoints.state_of(checkpoint))
    if state == own and checkpoints.CHOICE not in os.environ:
        return checkpoint, []  # of this very model
    new = [name for name, shape in own.items() if state.get(name) != shape]
    if not any(isinstance(module, HRNet) for module in network.modules()):
        return checkpoint, new
    if not checkpoints.recognise(own)[1]:
        return checkpoint, new  # the network is a part of something else, like a teacher
    fitted, report = checkpoints.fit(checkpoints.unwrap(checkpoint), network)
    print_log(str(report), logger='current', level=WARNING if report.notes else INFO)
    return {'state_dict': fitted}, report.new


def _shapes(state: Mapping[str, object]) -> dict[str, object]:
    """Of the tensors, by the names that mmengine gives them."""
    return {name.removeprefix('module.'): getattr(t, 'shape', None) for name, t in state.items()}


# mmengine logs the name of a loader without its first ten letters, hence `load_from_...`.
def load_from_local(filename: str, map_location: MAP_LOCATION = None) -> object:
    from mmhrnet import checkpoints

    return _without_program(checkpoints.take(Path(filename).expanduser(), map_location))


def load_from_ceph(
    filename: str, map_location: MAP_LOCATION = None, backend: str = 'petrel'
) -> object:
    from mmengine.fileio import get_file_backend

    data = get_file_backend(filename, backend_args={'backend': backend}).get(filename)
    return load_any(BytesIO(data), map_location, name=filename)


def load_from_hub(filename: str, map_location: MAP_LOCATION = None) -> object:
    return load_url(filename, map_location=map_location)


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: MAP_LOCATION = None,
    progress: bool = True,
) -> object:
    from mmhrnet import checkpoints

    return _without_program(checkpoints.load_url(url, model_dir, map_location, progress))


def load_any(
    file: str | Path | IO[bytes], map_location: MAP_LOCATION = None, name: str = '', **_: object
) -> object:
    from mmhrnet import checkpoints

    return _without_program(checkpoints.load(file, map_location, name=name))


def _without_program(checkpoint: object) -> object:
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint
