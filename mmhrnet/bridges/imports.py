"""Lets a bridge act at the moment another module is imported, and not before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import getattr_static
from types import ModuleType

Context = Callable[[ModuleType], AbstractContextManager[None]]


class _AroundImports(MetaPathFinder):
    """Runs the code of modules inside contexts; the other finders still find them."""

    def __init__(self) -> None:
        self.contexts: dict[str, list[Context]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.contexts:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._wrap(spec.loader, self.contexts[fullname])
        return spec

    def _wrap(self, loader: Loader, contexts: list[Context]) -> None:
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with ExitStack() as stack:
                for context in contexts:
                    stack.enter_context(context(module))
                run(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]


FINDER = _AroundImports()


def around_import(name: str, context: Context) -> None:
    """Runs the code of the module ``name``, when somebody imports it, inside ``context`` too."""
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    contexts = FINDER.contexts.setdefault(name, [])
    if context not in contexts:
        contexts.append(context)


def after_import(name: str, action: Callable[[ModuleType], None]) -> None:
    """Calls ``action`` with the module ``name``: now if it is imported, else once it is."""
    if name in sys.modules:
        action(sys.modules[name])
    else:
        around_import(name, _before(action))


@cache
def _before(action: Callable[[ModuleType], None]) -> Context:
    """A context that ends with the action; the same one for the same action."""

    @contextmanager
    def context(module: ModuleType) -> Iterator[None]:
        yield
        action(module)

    return context


def wrap(module: str, function: str, around: Callable[..., object]) -> None:
    """Puts ``around`` in the place of a function: now if its module is imported, else once it is.

    A second time changes nothing, nor does a module without such a function, as other versions
    of it may be.

    Args:
        module: Name of the module.
        function: Name of its function, or of a class and a method: ``'COCO.loadRes'``.
        around: Called with the original and the arguments of that one.
    """
    after_import(module, _wrapping(function, around))


@cache
def _wrapping(function: str, around: Callable[..., object]) -> Callable[[ModuleType], None]:
    """The action that wraps; the same one for the same arguments."""

    def action(module: ModuleType) -> None:
        path, _, name = function.rpartition('.')
        owner = getattr(module, path) if path else module
        original = getattr(owner, name, None)
        if original is None or getattr(original, 'around', None) is around:
            return

        @wraps(original)
        def wrapper(*args: object, **kwargs: object) -> object:
            return around(original, *args, **kwargs)

        wrapper.__dict__['around'] = around
        static = isinstance(getattr_static(owner, name), staticmethod)
        setattr(owner, name, staticmethod(wrapper) if static else wrapper)

    return action
