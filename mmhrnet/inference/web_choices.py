"""The configs and weights that the web page offers, those of this machine first."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from mmhrnet.hosts import known_hosts
from mmhrnet.hosts.host import Host
from mmhrnet.hub.published import MetafileModel, metafile_models

PUBLISHED = 'published'  # in place of a checkpoint
SCOPE = re.compile(r"^default_scope = '(\w+)'", re.MULTILINE)
PACKAGE = Path(__file__).resolve().parents[1] / '.mim'
SUFFIXES = ('.pth', '.safetensors')


class Choices:
    """The files below a folder, and the models of the package; no other file can be chosen."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()

    def configs(self) -> dict[str, tuple[Path, Host]]:
        """Configs beside weights in the folder, newest weights first, and those of the package."""
        found = {}
        for path in sorted(self.folder.rglob('*.py'), key=_ages, reverse=True):
            scope = SCOPE.search(path.read_text(encoding='utf-8', errors='replace'))
            host = known_hosts().get(scope[1]) if scope else None
            if host and _ages(path)[0] and not path.stem.endswith('_test'):
                found[str(path.relative_to(self.folder))] = path, host
        for model in sorted(metafile_models(), key=_cost):
            found[model['Config']] = PACKAGE / model['Config'], _host(model)
        return found

    def tasks(self) -> dict[str, list[str]]:
        """The names of the configs by what they do; the first of each task is its default."""
        names: dict[str, list[str]] = {host.task: [] for host in known_hosts().values()}
        for name, (_, host) in self.configs().items():
            names[host.task].append(name)
        return {task: configs for task, configs in names.items() if configs}

    def first_task(self) -> str:
        """The task of the newest weights in the folder, else the first of all."""
        path, host = next(iter(self.configs().values()))
        return host.task if path.is_relative_to(self.folder) else next(iter(self.tasks()))

    def checkpoints(self) -> list[str]:
        """``published``, and the files below the folder, newest first."""
        files = [path for path in self.folder.rglob('*') if path.suffix in SUFFIXES]
        files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        return [PUBLISHED, *(str(path.relative_to(self.folder)) for path in files)]

    def weights_of(self, config: str) -> str:
        """The default weights of a config: its training's best, else its newest, else published.

        Of several models in a folder, weights that are named after the config are its own.
        """
        place = PurePath(config)
        beside = [name for name in self.checkpoints()[1:] if PurePath(name).parent == place.parent]
        for start in (place.stem, 'best_', ''):
            for name in beside:
                if PurePath(name).name.startswith(start):
                    return name
        return PUBLISHED


def _ages(config: Path) -> tuple[float, float]:
    """When the newest weights beside a config, 0 if there are none, and itself were written."""
    beside = (path for path in config.parent.iterdir() if path.suffix in SUFFIXES)
    newest = max((path.stat().st_mtime for path in beside), default=0.0)
    return newest, config.stat().st_mtime


def _host(model: MetafileModel) -> Host:
    return known_hosts()[model['Config'].split('/')[1]]


def _cost(model: MetafileModel) -> tuple[bool, bool, float]:
    """Sorts the small ones first, but those for faces alone and those without weights last."""
    faces = any(result['Task'].startswith('Facial') for result in model.get('Results', ()))
    return 'Weights' not in model, faces, model['Metadata']['Parameters']
