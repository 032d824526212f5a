"""Loading and resuming checkpoints: safely, and from any published HRNet.

Needed by: mmengine <= 0.10.7, which calls ``torch.load`` without ``weights_only``: with torch 2.6
its own checkpoints then fail to load (their message hub holds HistoryBuffers and numpy scalars);
with older torch, and for downloads with any torch, they may run code. Newer mmengine loads what is
not safe all the same, with ``weights_only=False``. So this bridge is always active:
``mmhrnet.checkpoints.load`` stands behind mmengine's local and object-storage loaders, behind its
downloads, and behind the function by which newer mmengine loads whatever it loads.

The config in a checkpoint is data too. MMEngine's runners execute ``meta['config']``, which
trainings of before 2022 wrote, so that what they load goes without it; an inferencer that is given
no config executes the stored one, and takes it as :func:`mmhrnet.checkpoints.config_of` reads it.

Whatever is loaded into a model with a ``mmhrnet.HRNet`` in it, through ``init_cfg`` (with and
without a ``prefix``), ``load_from`` or a host's inferencer, is first given the names that the model
takes.
"""

from __future__ import annotations

import os
from functools import wraps
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

from mmhrnet.bridges.imports import after_import

MODULE = 'mmengine.runner.checkpoint'
LOADER = '_load_checkpoint_to_model'
USERS = (  # modules that took the function by name, if they were imported before this package
    'mmengine.runner.runner',
    'mmengine.infer.infer',
    'mmdet.apis.det_inferencer',
    'mmpose.apis.inferencers.base_mmpose_inferencer',
)


def reason() -> str | None:
    if find_spec('mmengine') is None:
        return None
    return 'mmengine loads checkpoints without an explicit list of safe types'


def install() -> None:
    after_import(MODULE, _load_safely)
    for name in USERS:
        after_import(name, _fit_to_the_model)
    after_import('mmengine.model.weight_init', _fit_parts)
    after_import('mmengine.infer.infer', _read_configs)


def _load_safely(module: ModuleType) -> None:
    loader = module.CheckpointLoader
    loader.register_scheme('', load_from_local, force=True)
    loader.register_scheme([r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], load_from_ceph, force=True)
    module.__dict__['load_url'] = load_url
    if hasattr(module, '_safe_torch_load'):
        module.__dict__['_safe_torch_load'] = load_any
    _fit_to_the_model(module)


def _fit_to_the_model(module: ModuleType) -> None:
    """Puts the conversion before mmengine's function; a second time leaves it as it is."""
    original = getattr(module, LOADER, None)
    if original is None or hasattr(original, 'fits_checkpoints'):
        return

    @wraps(original)
    def load_checkpoint_to_model(model: Any, checkpoint: Any, *args: Any, **kwargs: Any) -> Any:
        original(model, _fitted(model, checkpoint), *args, **kwargs)
        return checkpoint

    load_checkpoint_to_model.__dict__['fits_checkpoints'] = True
    setattr(module, LOADER, load_checkpoint_to_model)


def _fit_parts(module: ModuleType) -> None:
    """``init_cfg=dict(type='Pretrained', prefix=...)``, which loads by another function."""
    initializer = module.PretrainedInit
    original = initializer.__call__
    if hasattr(original, 'fits_checkpoints'):
        return

    @wraps(original)
    def load_part(self: Any, target: Any) -> None:
        if self.prefix is None:
            original(self, target)
            return
        from mmengine.runner import checkpoint as loading

        content = loading._load_checkpoint(self.checkpoint, map_location=self.map_location)
        state = _part_of(content, f'{self.prefix.removesuffix(".")}.', self.checkpoint)
        loading._load_checkpoint_to_model(target, {'state_dict': state}, logger='current')
        if hasattr(target, '_params_init_info'):
            module.update_init_info(target, init_info=self._get_init_info())

    load_part.__dict__['fits_checkpoints'] = True
    initializer.__call__ = load_part


def _read_configs(module: ModuleType) -> None:
    inferencer = module.BaseInferencer
    original = inferencer._init_model
    if hasattr(original, 'fits_checkpoints'):
        return

    @wraps(original)
    def init_model(self: Any, cfg: Any, weights: str | None, device: str = 'cpu') -> Any:
        if not cfg and weights is not None:
            from mmhrnet.checkpoints import config_of

            cfg.update(config_of(module._load_checkpoint(weights, map_location='cpu')))
        return original(self, cfg, weights, device)

    init_model.__dict__['fits_checkpoints'] = True
    inferencer._init_model = init_model


def _part_of(checkpoint: Any, prefix: str, name: str) -> dict[str, Any]:
    from mmhrnet import checkpoints

    found = checkpoints.state_of(checkpoint)
    if not any(key.startswith(prefix) for key in found):
        found = checkpoints.unwrap(checkpoint)  # out of other wrappers
    part = {key[len(prefix) :]: tensor for key, tensor in found.items() if key.startswith(prefix)}
    if not part:
        seen = checkpoints.summary(found)
        raise checkpoints.CheckpointError(
            f'No name in {name} begins with the prefix {prefix!r} of init_cfg, they are those of '
            f'{seen:.200}. Leave the prefix out: a backbone finds its weights by itself'
        )
    return part


def _shapes(state: Any) -> dict[str, Any]:
    return {name: getattr(tensor, 'shape', None) for name, tensor in state.items()}


def _fitted(model: Any, checkpoint: Any) -> Any:
    from logging import INFO, WARNING

    from mmengine.logging import print_log
    from mmengine.model import is_model_wrapper

    from mmhrnet import HRNet, checkpoints

    network = model.module if is_model_wrapper(model) else model
    own, state = network.state_dict(), checkpoints.state_of(checkpoint)
    if _shapes(state) == _shapes(own) and checkpoints.CHOICE not in os.environ:
        return checkpoint  # of this very model
    if not any(isinstance(module, HRNet) for module in network.modules()):
        return checkpoint
    if not checkpoints.recognise(own)[1]:
        return checkpoint  # the network is a part of something else, like a teacher
    fitted, report = checkpoints.fit(checkpoints.unwrap(checkpoint), network)
    print_log(str(report), logger='current', level=WARNING if report.notes else INFO)
    return {'state_dict': fitted}


# mmengine logs the name of a loader without its first ten letters, hence `load_from_...`.
def load_from_local(filename: str, map_location: Any = None) -> Any:
    from mmhrnet import checkpoints

    path = Path(filename).expanduser()
    return _without_program(checkpoints.load(path, map_location))


def load_from_ceph(filename: str, map_location: Any = None, backend: str = 'petrel') -> Any:
    from mmengine.fileio import get_file_backend

    from mmhrnet import checkpoints

    data = get_file_backend(filename, backend_args={'backend': backend}).get(filename)
    return _without_program(checkpoints.load(BytesIO(data), map_location, name=filename))


def load_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> Any:
    from mmhrnet import checkpoints

    return _without_program(checkpoints.load_url(url, model_dir, map_location, progress))


def load_any(file: Any, map_location: Any = None, **_: Any) -> Any:
    from mmhrnet import checkpoints

    return _without_program(checkpoints.load(file, map_location))


def _without_program(checkpoint: Any) -> Any:
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint
