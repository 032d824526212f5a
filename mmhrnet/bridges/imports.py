"""Lets a bridge act at the moment another module is imported, and not before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Context = Callable[[ModuleType], AbstractContextManager[None]]


class _AroundImport(MetaPathFinder):
    """Runs the code of one module inside contexts; the other finders still find it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.contexts: list[Context] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._wrap(spec.loader)
        return spec

    def _wrap(self, loader: Loader) -> None:
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with ExitStack() as stack:
                for context in self.contexts:
                    stack.enter_context(context(module))
                run(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]


def around_import(name: str, context: Context) -> None:
    """Runs the code of the module ``name``, when somebody imports it, inside ``context`` too."""
    finders = (f for f in sys.meta_path if isinstance(f, _AroundImport) and f.name == name)
    finder = next(finders, None)
    if finder is None:
        finder = _AroundImport(name)
        sys.meta_path.insert(0, finder)
    if context not in finder.contexts:
        finder.contexts.append(context)


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
