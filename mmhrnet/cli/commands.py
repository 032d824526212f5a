"""The table of commands.

Each command is a function that adds its options to a parser and returns the function to call with
their values. Its docstring is the help text. Torch and the host libraries are imported only when a
command is used.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from mmhrnet.cli.environment import config, data, doctor, mini, models, run, weights
from mmhrnet.cli.look import browse, demo, streams, web
from mmhrnet.cli.options import Call
from mmhrnet.cli.ship import benchmark, convert, export, flops, publish
from mmhrnet.cli.train_and_test import logs, test, train, zoo_evaluate, zoo_report

GROUPS: dict[str, tuple[Callable[[ArgumentParser], Call], ...]] = {
    'Train and test': (train, test, zoo_evaluate, zoo_report, logs),
    'Look': (demo, web, streams, browse),
    'Ship': (export, convert, publish, benchmark, flops),
    'Models and data': (models, config, weights, data, mini),
    'Environment': (doctor, run),
}


def name_of(command: Callable[[ArgumentParser], Call]) -> str:
    """What the user calls it: of ``zoo_report``, the two words ``zoo report``."""
    return command.__name__.replace('_', ' ')


COMMANDS = {name_of(command): command for group in GROUPS.values() for command in group}
