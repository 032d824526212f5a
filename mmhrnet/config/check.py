"""Checks a config and its files before any time is spent."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import CheckpointLoader, Runner
from torch.utils.data import DataLoader

from mmhrnet.checkpoints import CheckpointError, read_ahead
from mmhrnet.config.dataset.check import check_contents
from mmhrnet.config.processes import is_first
from mmhrnet.doctor import find_missing, import_error
from mmhrnet.errors import ConfigError, UserError, suggest
from mmhrnet.files import check_folder
from mmhrnet.hosts import known_hosts
from mmhrnet.models.checks import check_keys
from mmhrnet.walk import LOADERS, datasets, dicts

LOGGER = logging.getLogger(__name__)
UNKNOWN_TYPE = re.compile(r'(?P<type>\S+) is not in the (?P<scope>\w+)::(?P<kind>.+?) registry')
WRONG_ARGUMENT = re.compile(
    r".*__init__\(\) (?:got an unexpected keyword argument '(?P<name>\w+)'|missing \d+ required)"
)
NOT_INSTALLED = re.compile('install', re.IGNORECASE)
TORCH_SAYS = {  # part of a message of torch: what it means here
    'Expected to have finished reduction': (
        'Several processes wait for a gradient of each parameter, and some parameters get none. If '
        'the head uses only the highest resolution, set model.backbone.multiscale_output=False, '
        'which drops the layers of the other maps; else set find_unused_parameters=True'
    ),
    'No working C++ compiler': (
        'compile needs a C++ compiler, and none was found: install g++ (or name one in the '
        'variable CXX), or set compile=False'
    ),
}
LOADER_OPTIONS = ('batch_size', 'num_workers', 'persistent_workers', 'prefetch_factor', 'timeout')
DATALOADER_KEYS = [*signature(DataLoader).parameters, 'num_batch_per_epoch']
# Keys of MMCV 1.x, which nothing reads any more, and those that replaced them.
OLD_KEYS = {
    'data': 'train_dataloader, val_dataloader, test_dataloader (batch_size for samples_per_gpu)',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper.clip_grad',
    'lr_config': 'param_scheduler',
    'momentum_config': 'param_scheduler',
    'runner': 'train_cfg.max_epochs or train_cfg.max_iters',
    'total_epochs': 'train_cfg.max_epochs',
    'total_iters': 'train_cfg.max_iters',
    'evaluation': 'val_evaluator, train_cfg.val_interval',
    'checkpoint_config': 'default_hooks.checkpoint',
    'log_config': 'default_hooks.logger, visualizer.vis_backends',
    'resume_from': 'resume=True with load_from (tools/train.py --resume)',
    'auto_resume': 'resume=True (tools/train.py --resume)',
    'workflow': 'train_cfg and val_cfg',
    'dist_params': 'env_cfg.dist_cfg',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'opencv_num_threads': 'env_cfg.mp_cfg.opencv_num_threads',
    'mp_start_method': 'env_cfg.mp_cfg.mp_start_method',
    'fp16': "optim_wrapper.type='AmpOptimWrapper' (tools/train.py --amp)",
    'gpu_ids': 'the launcher (tools/dist_train.sh)',
    'seed': 'randomness.seed',
    'deterministic': 'randomness.deterministic',
}
RUNNER_KEYS = {*signature(Runner).parameters, 'custom_imports', 'compile'} - {'cfg'}
MISSPELT = 0.88  # likeness to one of these; all names in the hosts' 3,000 configs but one are below
# Some configs of the hosts still contain these.
LEFT_OVER = {
    *('data', 'optimizer', 'optimizer_config', 'runner', 'total_iters', 'evaluation'),
    *('cudnn_benchmark', 'fp16'),
}
NO_DATA = """Four ways out:
  --data-root PATH  the same data set elsewhere, with these files below it
  train --mini      the embedded data set: no download, minutes on a CPU
  put the data set where the config looks for it, relative to this folder
  python tools/download_dataset.py --list  how to get each data set"""
NO_PERSONS = """
Person detections are a download of mmpose. To test without them, on the annotated boxes:
  --cfg-options val_dataloader.dataset.bbox_file=None test_dataloader.dataset.bbox_file=None"""
NO_WEIGHTS = """Ways out:
  --from-scratch  random weights, and norms that learn their own statistics
  --cfg-options model.backbone.init_cfg.checkpoint=PATH  a checkpoint on this machine
  a network connection, once: the file then stays in torch's cache
  MMHRNET_WEIGHTS=DIR  a folder that `mmhrnet weights bundle DIR` wrote where there is a network"""


def check_run(cfg: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Checks data, work folder and, for a training, the weights to start from.

    The first process of a machine does it; the others wait for it when they connect.
    """
    if not is_first(cfg):
        return
    check_data(cfg, loaders)
    check_folder(cfg.work_dir)
    if 'train_dataloader' in loaders:
        check_weights(cfg)


def check_data(cfg: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Raises a ConfigError that lists the missing files, or says what is wrong in the data."""
    check_paths(cfg, loaders)
    with config_errors():  # it builds steps of the pipelines
        check_contents(cfg, loaders)


def check_paths(cfg: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Raises a ConfigError that lists each missing annotation file and image folder."""
    _check_loaders(cfg, loaders)
    paths = [path for dataset in datasets(cfg, loaders) for path in _paths(dataset)]
    missing = sorted({str(path) for path in paths if not path.exists()})
    if missing:
        persons = NO_PERSONS if any('person_detection' in path for path in missing) else ''
        lines = '\n  '.join(['The data set was not found:', *missing])
        raise ConfigError(f'{lines}\n{NO_DATA}{persons}')
    for name in loaders:
        _check_evaluator(cfg, name)


def check_weights(cfg: Config) -> None:
    """Downloads the weights to start from; a ConfigError if they cannot be loaded."""
    for checkpoint in pretrained(cfg.model):
        try:
            CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
        except (OSError, CheckpointError) as error:
            raise ConfigError(
                f'The pretrained weights {checkpoint} cannot be loaded: {error}\n{NO_WEIGHTS}'
            ) from error
    if cfg.get('load_from'):  # to resume too
        try:
            _read(cfg.load_from)
        except (OSError, CheckpointError) as error:
            raise ConfigError(f'{cfg.load_from} cannot be loaded: {error}') from error


def _read(checkpoint: str) -> None:
    """Reads a file for the runner, too; of anything else, MMEngine keeps what it downloads."""
    if Path(checkpoint).is_file():
        read_ahead(checkpoint)
    else:
        CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')


def check_device(device: str | None) -> str:
    """The device; default: the GPU if there is one.

    Raises:
        ConfigError: Torch does not know the device, or sees no GPU.
    """
    if device is None:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ConfigError(
            f'--device {device} is not a device of torch: use cpu, cuda or cuda:1'
        ) from error
    if kind == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(f'--device {device} needs a GPU, and torch sees none here')
    return device


def merge_options(cfg: Config, options: Mapping[str, object] | None) -> None:
    """Merges ``--cfg-options``, with a warning for a new key that is close to a known one.

    Raises:
        ConfigError: An option inside something that has no keys, or beyond the end of a list.
    """
    for key, value in (options or {}).items():
        name = key.partition('.')[0]
        if name in OLD_KEYS:
            raise ConfigError(f'--cfg-options {key} is of MMCV 1.x: set {OLD_KEYS[name]}')
        _warn_of_new_key(cfg, key)
        try:
            cfg.merge_from_dict({key: value})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            text = str(error.args[0] if error.args else error)
            raise ConfigError(f'--cfg-options {key}={value}: {text}') from error


def warn_of_misspelt_keys(cfg: Config) -> None:
    """Warns of names in a config file that are almost a key of the runner, which reads no other.

    Names that are not alike are variables of the file's own.
    """
    for name in cfg.keys() - RUNNER_KEYS:
        if hint := suggest(name, RUNNER_KEYS, MISSPELT):
            LOGGER.warning('The config sets %r, which has no effect: %s', name, hint.rstrip())


def check_old_keys(cfg: Config) -> None:
    """Raises a ConfigError that names the replacement of each key of MMCV 1.x.

    It is a warning if configs of the hosts still contain the same keys.
    """
    found = [name for name in OLD_KEYS if cfg.get(name) not in (None, False, {}, [])]
    left_over = set(found) <= LEFT_OVER
    if left_over and 'optim_wrapper' in cfg:  # many configs of mmseg use it as a variable
        found = [name for name in found if name != 'optimizer']
    if not found:
        return
    lines = [f'{name}: now {OLD_KEYS[name]}' for name in found]
    message = '\n  '.join(['These keys of MMCV 1.x have no effect:', *lines])
    if not left_over:
        raise ConfigError(f'{message}\nMove their values to the new keys, and remove them')
    LOGGER.warning('%s', message)


def _warn_of_new_key(cfg: Config, key: str) -> None:
    node: object = cfg
    for part in key.split('.'):
        if not isinstance(node, (Config, ConfigDict)):
            return
        known = {str(name) for name in node.keys()}  # noqa: SIM118 (a Config iterates otherwise)
        known |= RUNNER_KEYS if node is cfg else set()
        hint = '' if part in known else suggest(part, known)
        if hint:
            LOGGER.warning('--cfg-options %s: the config has no %r, %sIt is added', key, part, hint)
        node = node.get(part)


@contextmanager
def config_errors() -> Iterator[None]:
    """Turns errors of registries, hosts and torch that a config causes into a ConfigError."""
    try:
        yield
    except UserError:
        raise
    except (AssertionError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        text = _explain(error, str(error.args[0]) if error.args else '')
        if not text:
            raise
        raise ConfigError(text) from error


def _explain(error: Exception, text: str) -> str:
    unknown = UNKNOWN_TYPE.match(text)
    built = str(unknown['type'] if unknown else getattr(error, 'built', ''))  # by mmengine_build
    what = f'type={built!r}' if built else 'What the config names'
    if broken := _broken_host(built):
        return f'{what} cannot be used here: {broken} (`mmhrnet doctor` finds what else is wrong)'
    if unknown:
        kind, (prefix, _, name) = unknown['kind'], unknown['type'].rpartition('.')
        scope = prefix or unknown['scope']
        hint = suggest(name, _registered(scope, kind))
        return (
            f'{what} is not a {kind} of {scope}: {hint}Correct it, or name the module that '
            'registers it in custom_imports'
        )
    if isinstance(error, TypeError):
        return _explain_argument(text, getattr(error, 'arguments', ()))
    if isinstance(error, RuntimeError) and not NOT_INSTALLED.search(text):
        return next((means for says, means in TORCH_SAYS.items() if says in text), '')
    if not text or isinstance(error, KeyError) or not (built or isinstance(error, ImportError)):
        return ''
    return f'{what} cannot be used here: {" ".join(text.split())}'


def _explain_argument(text: str, known: Collection[str]) -> str:
    """Adds the name that was meant; nothing if the text is of something else than arguments."""
    wrong = WRONG_ARGUMENT.match(text)
    if wrong is None:
        return ''
    hint = suggest(wrong['name'] or '', known)
    return f'{wrong[0]}: {hint.rstrip()}' if hint else text


def _broken_host(kind: str) -> str:
    """Why the library that brings a type cannot be imported, or nothing.

    MMEngine only warns of that, and then looks for the type elsewhere.
    """
    prefix, dot, _ = kind.partition('.')
    default = DefaultScope.get_current_instance()
    scope = prefix if dot else default.scope_name if default else ''
    if scope not in known_hosts():
        return ''
    return find_missing([scope]) or import_error(f'{scope}.registry')


def _registered(scope: str, kind: str) -> set[str]:
    """Names of the types of a kind, including those of the parent registries."""
    module = sys.modules.get(f'{scope}.registry')
    found = [r for r in vars(module or object).values() if isinstance(r, Registry)]
    registry = next((r for r in found if (r.scope, r.name) == (scope, kind)), None)
    names: set[str] = set()
    while registry:
        names |= set(registry.module_dict)
        registry = registry.parent
    return names


def _check_loaders(cfg: Config, loaders: tuple[str, ...]) -> None:
    if cfg.get(loaders[0]) is None:
        raise ConfigError(f'The config has no {loaders[0]}: set one, as the configs in configs/ do')
    for name in loaders:
        loader = cfg.get(name)
        if loader is None:
            continue
        if not isinstance(loader, dict):
            raise ConfigError(f'{name} must be a dict with a dataset, it is {loader!r}')
        if not isinstance(loader.get('dataset'), dict):
            raise ConfigError(f'{name}.dataset must be a dict, it is {loader.get("dataset")!r}')
        check_keys(name, loader, DATALOADER_KEYS)
        options = {key: loader[key] for key in LOADER_OPTIONS if key in loader}
        try:  # torch checks them; no worker starts without an iteration
            DataLoader(range(1), **options)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise ConfigError(f'{name} cannot be used here: {error}') from error


def _check_evaluator(cfg: Config, loader: str) -> None:
    """An evaluator that an own config forgot still reads the file of its base.

    Of several, as for panoptic segmentation, one that reads the data set's file is enough. Some
    configs name another copy of the file, which is only a warning if it exists.
    """
    names = [
        (d.get('data_root') or '', d.ann_file)
        for d in datasets(cfg, (loader,))
        if d.get('ann_file')
    ]
    files = [str(Path(*parts)) for parts in names]
    evaluator = loader.replace('dataloader', 'evaluator')
    read = [part.ann_file for part in dicts(cfg.get(evaluator)) if part.get('ann_file')]
    known = {Path(file).resolve() for file in files}
    if files and read and known.isdisjoint(Path(file).resolve() for file in read):
        text = (
            f'{evaluator} takes the annotations of {read[0]}, but {loader} reads {files[0]}: set '
            f'{evaluator}=dict(ann_file={files[0]!r})'
        )
        if not any(Path(file).is_file() for file in read):
            raise ConfigError(text)
        LOGGER.warning('%s, unless both describe the same images', text)


def _paths(dataset: ConfigDict) -> Iterator[Path]:
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or dataset.get('split') or {}
    parts = [dataset.get('ann_file'), *([prefix] if isinstance(prefix, str) else prefix.values())]
    paths = [os.path.join(root, part) for part in parts if part]  # noqa: PTH118 (may be a URL)
    for path in (*paths, dataset.get('bbox_file')):
        if path and '://' not in path:
            yield Path(path)


def pretrained(model: ConfigDict) -> list[str]:
    """Files, URLs and names of the weights that the parts of a model start from."""
    inits = [m.init_cfg for m in dicts(model) if isinstance(m.get('init_cfg'), dict)]
    named = {init.checkpoint for init in inits if init.get('type') == 'Pretrained'}
    named |= {m.pretrained for m in dicts(model) if isinstance(m.get('pretrained'), str)}
    return sorted(named)
