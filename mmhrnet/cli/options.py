"""The options that several commands share, each declared once."""

from __future__ import annotations

import os
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

Call = Callable[..., object]

BRACKETS = {'[': ']', '(': ')'}
LONG = 80  # letters of a setting that are shown


def later(name: str) -> Call:
    """The function ``module:name``, imported only when it is called, so that help is quick."""
    return lambda **args: resolve_name(name)(**args)


def launched(name: str) -> Call:
    """The same for a function that a launcher starts, with the rank of this process."""

    def call(local_rank: int, **args: object) -> None:
        os.environ.setdefault('LOCAL_RANK', str(local_rank))
        later(name)(**args)

    return call


class SettingsAction(Action):
    """``KEY=VALUE ...`` as MMEngine reads it, with one line for what cannot be read."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction

        read = DictAction(self.option_strings, self.dest, nargs='+')
        for text in map(str, values or ()):
            reason = _fault(text)
            try:
                if not reason:
                    read(parser, namespace, [text], option_string)
            except AssertionError:
                reason = 'its brackets do not match; put it in quotes if it contains spaces'
            except RecursionError:
                reason = 'commas inside brackets are for lists and tuples of a few levels'
            if reason:
                shown = text if len(text) < LONG else f'{text[:LONG]}...'
                raise ArgumentError(self, f'{shown} cannot be read: {reason}')


def _fault(text: str) -> str:
    """Why MMEngine would misread a setting, or nothing."""
    key, sign, value = text.partition('=')
    if not sign or not all(key.split('.')):
        return 'write KEY=VALUE, in quotes if it contains spaces'
    value = value.strip('\'"')
    if value[:1] == '{' and value[-1:] == '}' and ':' in value:
        return f'a dict is set key by key, as in {key}.a=1'
    if value[:1] in BRACKETS and value.count(value[0]) != value.count(BRACKETS[value[0]]):
        return f'{value[0]} is not closed; put it in quotes if it contains spaces'
    return ''


class Option(TypedDict, total=False):
    """Arguments of ``ArgumentParser.add_argument``."""

    action: str | type[Action]
    nargs: int | str
    default: object
    type: Callable[[str], object]
    choices: Sequence[str]
    required: bool
    help: str
    metavar: str | tuple[str, ...]


CONFIG_OR_CHECKPOINT = 'config file, or only a checkpoint that contains its config'
SHARED: dict[str, Option] = {
    'config': dict(help='config file'),
    'checkpoint': dict(help='checkpoint: a file, URL or hf://user/model'),
    '--config': dict(help='config file; default: the config that the checkpoint contains'),
    '--checkpoint': dict(help='its weights; default: the published ones of the config'),
    '--work-dir': dict(help='folder for logs and checkpoints'),
    '--data-root': dict(help='root of the data set, for every loader'),
    '--swap': dict(action='store_true', help="mmhrnet for the host's HRNet"),
    '--mini': dict(
        action='store_true',
        help='fit for a CPU; the embedded data set, unless --data-root says another',
    ),
    '--from-scratch': dict(action='store_true', help='no pretrained weights'),
    '--cfg-options': dict(
        nargs='+', action=SettingsAction, help='KEY=VALUE settings over the config'
    ),
    '--split': dict(choices=['test', 'train'], default='test', help='data to evaluate on'),
    '--device': dict(help='default: the GPU where there is one'),
    '--shape': dict(type=int, nargs='+', metavar=('H', 'W'), help='height and width, or one side'),
    '--launcher': dict(choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'),
    '--local_rank': dict(type=int, default=0),
}
ALIASES = {'--local_rank': ['--local-rank']}  # torch.distributed.launch has had both


def share(parser: ArgumentParser, *names: str) -> None:
    """Adds shared options by their names."""
    for name in names:
        add(parser, name)


def add(parser: ArgumentParser, name: str, **changed: Unpack[Option]) -> None:
    """Adds a shared option with some changes for this command."""
    parser.add_argument(name, *ALIASES.get(name, ()), **SHARED[name] | changed)
