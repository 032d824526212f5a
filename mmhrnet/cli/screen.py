"""What a command shows of what MMEngine, the hosts and Python say. The log file contains all of it.

Only what ``HIDDEN`` names is kept from the screen, and with ``log_level='DEBUG'`` nothing is.
Scripts that ``mmhrnet run`` starts speak as they are.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from types import ModuleType
from typing import TYPE_CHECKING

from mmhrnet.bridges.imports import after_import, wrap
from mmhrnet.hosts import class_metric

if TYPE_CHECKING:
    from mmengine.logging import MMLogger

# How messages begin, each under the reason why they are kept from the screen.
HIDDEN = re.compile(
    '|'.join(
        (
            # Facts for the log file, some of which the summary of a run repeats.
            r'\s*-+\nSystem environment:',
            r'Config:\n',
            r'Hooks will be executed in the following order:',
            r'Checkpoints will be saved to ',
            r'Loads checkpoint by ',
            r'Load checkpoint from ',
            r'The previous best checkpoint .* is removed',
            r'Exp name: ',
            r'Distributed training is not used, all SyncBatchNorm',
            r'ExactResumeHook: each batch',
            # Steps of an evaluation, and the figures that the tables at the end contain.
            r'Evaluating \w+\.\.\.',
            r'\s*Average (Precision|Recall) ',
            r'\w+_mAP_copypaste: ',
            r'per class results:',
            r'\s*\+[-+]+\+\n\| +(Class|category) ',
            # MMPose names a file of its own by its place in its repository, and finds it.
            r'The metainfo config file "configs/_base_/datasets/',
            # MMSegmentation about its own code, and defaults that all its figures were made with.
            r'``build_loss`` would be deprecated soon',
            r'Default ``avg_non_ignore`` is False',
            r'The draw is False, it means that the hook for visualization will not take effect',
            r'The prefix is not set in metric class (IoUMetric|ClassIoU)',
            # MMEngine says so of whatever touches the border; the picture shows what there is.
            r'Warning: The (bbox|circle|line|polygon|text) is out of bounds',
            # The classes are then those of the config's data set.
            r'dataset_meta or class names are not saved in the checkpoint',
            r'weights is None, use (COCO|cityscapes) classes by default',
            # MMDetection's own code copies the masks of cascades and of files.
            r'To copy construct from a tensor, it is recommended',
            # Torch about its own exporters; each file that they write is compared with eager.
            r'`isinstance\(treespec, LeafSpec\)` is deprecated',
            r'No complete tensor found in the group! ',
            r'`create_unbacked_symint` is deprecated',
            r'Attribute type is ambiguous because it is an empty sequence',
            r'The given buffer is not writable, .* at \S+/torch/export/',
            # Torch, for each loader: a config asks for more workers than this machine has CPUs.
            r'This DataLoader will create \d+ worker processes in total',
            # MMEngine's own code uses what it calls deprecated; a user can change nothing there.
            r'"FileClient" will be deprecated in future',
            r'"HardDiskBackend" is the alias of "LocalBackend"',
        )
    ),
    re.DOTALL,
)
# Modules whose prints go to the log file: the steps of COCO's evaluation, and its figures, which
# are in the table too.
PRINTERS = ('pycocotools.coco', 'pycocotools.cocoeval', 'mmhrnet.bridges.oks_eval')
PROGRESS = re.compile(r'(Iter|Epoch)\(')
LONG_NUMBER = re.compile(r'\d+\.\d{4,}(e[+-]\d+)?')
ONE_SPACE = re.compile('(?<! ) (?! )')
WIDTH = 120
KEPT = 1000  # warnings from before there is a log file
INDENT = ' ' * 9  # as wide as the time


class Screen(logging.Filter):
    """Lets pass what is shown. Of several processes, all but the first show errors only."""

    lowest = logging.NOTSET

    def filter(self, record: logging.LogRecord) -> bool:
        hidden = record.__dict__.get('hidden') or HIDDEN.match(record.getMessage())
        return record.levelno >= self.lowest and not hidden


class ScreenFormatter(logging.Formatter):
    """The time and the message; of progress the main values, with four digits, in 120 columns."""

    def __init__(self) -> None:
        super().__init__('%(asctime)s %(message)s', '%H:%M:%S')

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno >= logging.WARNING:
            time, _, rest = text.partition(' ')
            return f'{time} {record.levelname}: {rest}'
        if not PROGRESS.match(record.getMessage()):
            return text
        text = '  '.join(filter(_is_shown, text.split('  ')))
        text = LONG_NUMBER.sub(lambda number: f'{float(number[0]):.4g}', text)
        joined = ONE_SPACE.sub('\0', text)
        lines = textwrap.wrap(joined, WIDTH, subsequent_indent=INDENT, break_long_words=False)
        return '\n'.join(lines).replace('\0', ' ')


def _is_shown(value: str) -> bool:
    """Whether it is shown with the progress; the table at the end has the single classes."""
    name = value.rpartition(': ')[0]
    return name != 'data_time' and not class_metric(name)


SCREEN = Screen()


@contextmanager
def quiet(launcher: str = 'none') -> Iterator[None]:
    """Keeps what ``HIDDEN`` names from the screen, and brings Python's warnings into the log file.

    Args:
        launcher: What started the processes of this command.
    """
    SCREEN.lowest = logging.NOTSET if _is_first(launcher) else logging.ERROR
    wrap('mmengine.logging.logger', 'MMLogger.__init__', _quiet_logger)
    wrap('mmengine.runner.checkpoint', 'print_log', _print_to_log)
    for name in PRINTERS:
        after_import(name, _log_prints)
    root = logging.getLogger()
    before, formatted = root.handlers[:], warnings.formatwarning
    handler = logging.StreamHandler()
    handler.addFilter(SCREEN)
    handler.setFormatter(ScreenFormatter())
    root.addHandler(handler)
    root.addHandler(MemoryHandler(KEPT, logging.CRITICAL))  # for the log file, once there is one
    logging.captureWarnings(True)
    warnings.formatwarning = _one_line  # type: ignore[assignment]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        warnings.formatwarning, root.handlers[:] = formatted, before


def _is_first(launcher: str) -> bool:
    if launcher == 'none':
        return True
    from mmhrnet.config.processes import STARTED_BY

    return int(os.environ.get(STARTED_BY[launcher], 0)) == 0


def _quiet_logger(
    original: Callable[..., None], self: MMLogger, *args: object, **options: object
) -> None:
    original(self, *args, **options)
    screen, *files = self.handlers
    if screen.level > logging.DEBUG:
        screen.addFilter(SCREEN)
        screen.setFormatter(ScreenFormatter())
    if not files:  # the output of this command is its result, not its log
        screen.setStream(sys.stderr)
        return
    for handler in logging.getLogger().handlers:
        if isinstance(handler, MemoryHandler):
            handler.setTarget(files[0])
            handler.capacity = 1
            handler.flush()


def _print_to_log(
    original: Callable[..., None], message: object, logger: object = None, level: int = logging.INFO
) -> None:
    """MMEngine's ``print_log`` prints if nobody gives it a logger; here it logs."""
    original(message, logger or 'current', level)


def _log_prints(module: ModuleType) -> None:
    module.__dict__['print'] = _log_hidden


def _log_hidden(*values: object, **options: object) -> None:
    if isinstance(sys.stdout, io.StringIO):  # mmdet collects them for its log
        print(*values, **options)  # type: ignore[call-overload]
        return
    from mmengine.logging import MMLogger

    text = ' '.join(map(str, values))
    MMLogger.get_current_instance().info(text, extra={'hidden': True})


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> str:
    return f'{message} ({category.__name__} at {filename}:{lineno})'
