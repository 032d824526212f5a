"""A log that cannot be written is reported in one line and does not stop the training."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend

METHODS = ('add_graph', 'add_image', 'add_scalar', 'add_scalars')


def guard_logs(runner: Runner) -> None:
    """Lets loggers and visualizers report once, in one line, what they cannot write, and go on.

    Otherwise logging prints a traceback for each message, and MMEngine's visualizers end the
    training. There may be room again when the next checkpoint is due; if not, the training ends
    there.
    """
    told: set[str] = set()
    for handler in runner.logger.handlers:
        handler.handleError = partial(_say, told, handler)
    for backend in runner.visualizer._vis_backends.values():
        for method in METHODS:
            write = partial(_write, told, backend, getattr(backend, method))
            setattr(backend, method, write)


def _say(told: set[str], handler: logging.Handler, record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if isinstance(error, (OSError, UnicodeError)):
        _tell(told, getattr(handler, 'baseFilename', 'The log'), error)
    else:
        logging.Handler.handleError(handler, record)


def _write(
    told: set[str],
    backend: BaseVisBackend,
    write: Callable[..., None],
    *args: object,
    **kwargs: object,
) -> None:
    try:
        write(*args, **kwargs)
    except OSError as error:
        file = Path(getattr(backend, '_scalar_save_file', type(backend).__name__))
        _cut_to_whole_lines(file)
        _tell(told, str(file), error)


def _cut_to_whole_lines(file: Path) -> None:
    """Removes half a line at the end: later lines would continue it and be lost too."""
    if file.is_file():
        content = file.read_bytes()
        with file.open('rb+') as stream:
            stream.truncate(content.rfind(b'\n') + 1)


def _tell(told: set[str], name: str, error: Exception) -> None:
    if name not in told:
        told.add(name)
        reason = getattr(error, 'strerror', None) or str(error)
        print(f'{name} cannot be written: {reason}; the run goes on', file=sys.stderr)
