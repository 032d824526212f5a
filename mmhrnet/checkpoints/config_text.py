"""The config that a checkpoint contains as text, read without running it.

MMEngine executes the text, but it only consists of assignments of literals and ``dict(...)``. What
is built from it is restricted too: MMEngine's registries import whatever a ``type`` names,
``subprocess.Popen`` as well as a network, and classes of the hosts evaluate some of their
arguments, or unpickle the files and URLs that these name.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from inspect import isclass
from typing import Any

from mmengine.registry import Registry

from mmhrnet.checkpoints.safe import CheckpointError

SCOPES = ('_scope_', 'default_scope')  # keys that name a registry, which MMEngine imports
WEIGHTS = ('init_cfg', 'pretrained')  # initial weights, which the checkpoint replaces
PLAIN = re.compile(r'[\w +-]*')  # no path, no address, no dotted name, no expression
# Of data sets and metrics: the settings that may be a path, and the files that no host unpickles
# or runs. A path is of this machine, since an address has a colon.
PATHS = {
    *('data_root', 'ann_file', 'bbox_file', 'split', 'img_suffix', 'seg_map_suffix'),
    *('data_prefix', 'img', 'img_path', 'seg', 'seg_map_path'),
}
PATH = re.compile(r'[\w +~./-]*')
SUFFIX = re.compile(r'\.([A-Za-z]\w*)$')
READ = ('json', 'txt', 'jpg', 'jpeg', 'png')
KEPT = ('default_scope', 'data_preprocessor', 'data_mode', 'visualizer')
TEST = ('test_dataloader', 'test_evaluator', 'test_cfg')
PLACE = ('type', 'data_root', 'ann_file', 'data_prefix', 'split')
LONGEST = 1_000_000  # characters of a config
Settings = dict[str, object]


def settings_of(checkpoint: object) -> Settings:
    """The whole config in a checkpoint, as data that nothing may be built from.

    Raises:
        CheckpointError: It contains no config, or the config is more than literals.
    """
    fields = checkpoint if isinstance(checkpoint, dict) else {}
    for path in (('message_hub', 'runtime_info', 'cfg'), ('meta', 'cfg')):
        found: object = fields
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return read_config(found)
    raise CheckpointError('The checkpoint contains no config: give the one of its training')


def config_of(checkpoint: object, *, with_data: bool = False) -> Settings:
    """The parts of the config in a checkpoint that a host's inferencer builds.

    These are the model, the kind and the pipeline of the test data set, and the visualizer.

    Args:
        checkpoint: What :func:`mmhrnet.checkpoints.load` returned.
        with_data: Take what a test builds too: its data set, with plain paths, and its metric.

    Raises:
        CheckpointError: It contains no config, or the config is more than literals, names a type
            that is not registered, or contains text that could be a path or a program.
    """
    settings = settings_of(checkpoint)
    config = _parts(settings)
    _check_settings(config)
    if with_data:
        data = {key: settings[key] for key in TEST if key in settings}
        data['train_dataloader'] = _place(settings.get('train_dataloader'))  # for --split train
        _check_settings(data, PATHS)
        config |= data
    return config


def read_config(text: str) -> Settings:
    """The settings in the text of a config, by name.

    Args:
        text: As ``Config.pretty_text`` writes it.

    Raises:
        CheckpointError: It contains more than assignments of literals.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError('it is too long')
        return dict(_setting(node) for node in ast.parse(text).body)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(
            'The config in the checkpoint is more than literals, so it is not run: give the '
            'config of the training as a file'
        ) from error


def _setting(node: ast.stmt) -> tuple[str, object]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, _literal(value)
    raise ValueError(f'line {node.lineno} is not an assignment')


def _literal(node: ast.expr) -> Any:  # like ast.literal_eval
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[] | [ast.Dict()], keywords=keywords):
            before = _literal(node.args[0]) if node.args else {}
            return before | {str(item.arg): _literal(item.value) for item in keywords}
        case ast.Dict(keys=keys, values=values):
            return {ast.literal_eval(k or node): _literal(v) for k, v in zip(keys, values)}
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
    return ast.literal_eval(node)


def _parts(config: Settings) -> Settings:
    loader = config.get('test_dataloader')
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    if not isinstance(dataset, dict) or not isinstance(config.get('model'), dict):
        raise CheckpointError(
            'The config in the checkpoint has no model or no data set to test on: give the config '
            'of the training as a file'
        )
    kept = {key: config[key] for key in KEPT if key in config}
    data = {key: dataset[key] for key in ('type', 'pipeline') if key in dataset}
    return kept | {
        'model': _without_weights(config['model']),
        'test_dataloader': {'dataset': data},
        'dataset_type': data.get('type'),
    }


def _place(loader: object) -> Settings:
    """Where the data set of a loader is, without its pipeline."""
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    kept = dataset if isinstance(dataset, dict) else {}
    return {'dataset': {key: value for key, value in kept.items() if key in PLACE}}


def _without_weights(node: object) -> object:
    if isinstance(node, dict):
        return {k: _without_weights(value) for k, value in node.items() if k not in WEIGHTS}
    return [_without_weights(item) for item in node] if isinstance(node, list) else node


def _check_settings(config: Settings, paths: Collection[str] = ()) -> None:
    """Raises a CheckpointError on what MMEngine or a host would import, open or evaluate.

    Args:
        config: The settings.
        paths: Keys whose values may be paths; names of classes may then be any text, too.
    """
    registries = list(_registries())
    scopes, types = {registry.scope for registry in registries}, set(_types(registries))
    for key, value in _settings(config, named='classes' if paths else ''):
        problem = ''
        if key in ('type', 'dataset_type'):
            known = isinstance(value, str) and value in types
            problem = '' if known else 'not a registered type: import what registers it'
        elif key in SCOPES:
            known = value is None or (isinstance(value, str) and value in scopes)
            problem = '' if known else 'not an imported library: import it first'
        elif isinstance(value, str) and not PLAIN.fullmatch(value):
            known = key in paths and _is_harmless_path(value)
            problem = '' if known else 'text that could be a path or a program: leave it out'
        elif not isinstance(value, (str, int, float, dict, list, tuple, type(None))):
            problem = 'not a setting: leave it out'
        if problem:
            raise CheckpointError(
                f'The config in the checkpoint has {key}={value!r:.100}, {problem}, or give the '
                'config of the training as a file'
            )


def _is_harmless_path(value: str) -> bool:
    suffix = SUFFIX.search(value)
    return bool(PATH.fullmatch(value)) and (suffix is None or suffix[1].lower() in READ)


def _settings(
    node: Settings | Sequence[object], named: str = ''
) -> Iterator[tuple[object, object]]:
    """Every key with its value, also of nested dicts; items of lists have None for a key.

    Lists of names under the key ``named`` are left out.
    """
    pairs = node.items() if isinstance(node, dict) else ((None, item) for item in node)
    for key, value in pairs:
        if isinstance(key, str):
            yield 'a key', key.replace('.', '')
        if key == named and _is_list_of_names(value):
            continue
        yield key, value
        if isinstance(value, (dict, list, tuple)):
            yield from _settings(value, named)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _registries() -> Iterator[Registry]:
    """Those of every imported library; a library keeps them in its module ``registry``."""
    import mmhrnet.registry  # noqa: F401 (one of them)

    modules = [module for name, module in list(sys.modules.items()) if name.endswith('.registry')]
    for module in modules:
        yield from (item for item in vars(module).values() if isinstance(item, Registry))


def _types(registries: list[Registry]) -> Iterator[str]:
    """The names of registered classes, and of mmcv's ops, which heads name without a registry.

    Dotted names are left out, because they would build a class of any registry anywhere, and so are
    most functions, because they build whatever they import, like a Hugging Face model with its
    code. Those of the registry of functions collate batches.
    """
    from mmcv import ops

    yield from ops.__all__
    for registry in registries:
        registry.import_from_location()
        for name, item in registry.module_dict.items():
            if isclass(item) or registry.scope == 'mmhrnet' or registry.name == 'function':
                yield from (name, f'{registry.scope}.{name}')
