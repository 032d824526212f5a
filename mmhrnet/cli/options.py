"""The options that several commands share, each declared once."""

from __future__ import annotations

from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

Call = Callable[..., object]

TRAINED_ON = 'with --mini: what was trained on, if not embedded'
BRACKETS = {'[': ']', '(': ')'}
LONG = 80  # letters of a setting that are shown


class SettingsAction(Action):
    """``KEY=VALUE ...`` as MMEngine reads it; a text that it does not take ends in one line."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction

        read = DictAction(self.option_strings, self.dest, nargs='+')
        for text in values or ():
            reason = _why_no_setting(text)
            try:
                if not reason:
                    read(parser, namespace, [text], option_string)
            except AssertionError:
                reason = 'its brackets do not match; put it in quotes if it holds blanks'
            except RecursionError:
                reason = 'only lists and tuples may have brackets around commas, and few of them'
            if reason:
                shown = text if len(text) < LONG else f'{text[:LONG]}...'
                raise ArgumentError(self, f'{shown} cannot be read: {reason}')


def _why_no_setting(text: str) -> str:
    """What MMEngine takes for a plain text or fails to split, though another thing is meant."""
    key, sign, value = text.partition('=')
    if not sign or not all(key.split('.')):
        return 'write KEY=VALUE, in quotes if it holds blanks'
    value = value.strip('\'"')
    if value[:1] == '{' and value[-1:] == '}' and ':' in value:
        return f'a dict is set key by key, as in {key}.a=1'
    if value[:1] in BRACKETS and value.count(value[0]) != value.count(BRACKETS[value[0]]):
        return f'{value[0]} is not closed; put it in quotes if it holds blanks'
    return ''


SHARED: dict[str, dict[str, Any]] = {
    'config': dict(help='config file'),
    'checkpoint': dict(help='checkpoint file'),
    '--config': dict(required=True, help='config file'),
    '--checkpoint': dict(help='its weights; default: those that are published'),
    '--work-dir': dict(help='folder for logs and checkpoints'),
    '--data-root': dict(help='root of the data set, for every loader'),
    '--swap': dict(action='store_true', help="mmhrnet for the host's HRNet"),
    '--mini': dict(action='store_true', help='as trained with --mini'),
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
    """Adds options by their names."""
    for name in names:
        parser.add_argument(name, *ALIASES.get(name, ()), **SHARED[name])


def add(parser: ArgumentParser, name: str, **changed: Any) -> None:
    """Adds a shared option, with what this command has otherwise."""
    parser.add_argument(name, *ALIASES.get(name, ()), **SHARED[name] | changed)
