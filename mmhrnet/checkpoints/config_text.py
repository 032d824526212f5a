"""The config that a checkpoint holds as text, read without running it.

MMEngine executes the text. It is a program in form only: assignments of literals and ``dict(...)``.
What is built from it is bounded too, because MMEngine's registries import whatever a ``type``
names, ``subprocess.Popen`` as well as a network.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from inspect import isclass
from pathlib import PurePath
from typing import Any

from mmengine.registry import Registry

from mmhrnet.checkpoints.safe import CheckpointError

SCOPES = ('_scope_', 'default_scope')  # keys whose value MMEngine imports a registry by
CALL = re.compile(r'[(\n]')  # mmcv and the hosts evaluate some strings, like the kind of an NMS


def config_of(checkpoint: Any) -> dict[str, Any]:
    """The config in a checkpoint that MMEngine wrote, fit to build a model from.

    Raises:
        CheckpointError: It holds none, one that is more than literals, a type that is not
            registered, or code of another folder.
    """
    fields = checkpoint if isinstance(checkpoint, dict) else {}
    for path in (('message_hub', 'runtime_info', 'cfg'), ('meta', 'cfg')):
        found: Any = fields
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            config = read_config(found)
            _check_settings(config)
            return config
    raise CheckpointError('The checkpoint holds no config: give the one of its training')


def read_config(text: str) -> dict[str, Any]:
    """The settings in the text of a config, by name.

    Args:
        text: As ``Config.pretty_text`` writes it.

    Raises:
        CheckpointError: It is more than assignments of literals.
    """
    try:
        return {_name(node): _literal(node.value) for node in _assignments(text)}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(
            'The config in the checkpoint is more than literals and is not run: give the config '
            'of the training as a file'
        ) from error


def _assignments(text: str) -> Iterator[ast.Assign]:
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign):
            raise ValueError(f'line {node.lineno} is no assignment')
        yield node


def _name(node: ast.Assign) -> str:
    return ast.unparse(node.targets[0])


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict' and not node.args:
        return {str(item.arg): _literal(item.value) for item in node.keywords}
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(k or node): _literal(v) for k, v in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)


def _check_settings(config: dict[str, Any]) -> None:
    """Raises a CheckpointError on what MMEngine or a host would import or evaluate."""
    registries = list(_registries())
    scopes, types = {registry.scope for registry in registries}, set(_types(registries))
    for key, value in _settings(config):
        problem = ''
        if key == 'type' and value not in types:
            problem = 'a type that is not registered: import the module that registers it first'
        elif key in SCOPES and value is not None and value not in scopes:
            problem = 'a library that is not imported: import it first'
        elif isinstance(value, str) and (CALL.search(value) or _is_other_code(value)):
            problem = 'text that could be run'
        if problem:
            raise CheckpointError(
                f'The config in the checkpoint has {key}={value!r:.100}, {problem}, or give the '
                'config of the training as a file'
            )


def _settings(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every key with its value, those of nested dicts too; items of lists have none."""
    pairs = node.items() if isinstance(node, dict) else ((None, item) for item in node)
    for key, value in pairs:
        yield key, value
        if isinstance(value, (dict, list, tuple)):
            yield from _settings(value)


def _registries() -> Iterator[Registry]:
    """Those of every library that is imported; a library keeps them in its ``registry``."""
    import mmhrnet.registry  # noqa: F401 (one of them)

    modules = [module for name, module in list(sys.modules.items()) if name.endswith('.registry')]
    for module in modules:
        yield from (item for item in vars(module).values() if isinstance(item, Registry))


def _types(registries: list[Registry]) -> Iterator[str]:
    """The names of registered classes, of functions where a registry is of them, and of mmcv's ops.

    Other functions stand for whatever they import, like a model of Hugging Face with its code.
    """
    from mmcv import ops  # heads name them without a registry

    yield from ops.__all__
    for registry in registries:
        registry.import_from_location()
        for name, item in registry.module_dict.items():
            if isclass(item):
                yield f'{item.__module__}.{item.__qualname__}'
            if isclass(item) or registry.name == 'function' or registry.scope == 'mmhrnet':
                yield from (name, f'{registry.scope}.{name}')


def _is_other_code(text: str) -> bool:
    path = PurePath(text.replace('\\', '/'))
    leads_away = path.is_absolute() or '..' in path.parts or text[:1] == '~' or ':' in text
    return path.suffix == '.py' and leads_away
