"""Times of networks in whole files, as result files of the zoo."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from importlib import metadata
from pathlib import Path

import torch

from mmhrnet.doctor import distributions, processor
from mmhrnet.errors import ConfigError
from mmhrnet.files import check_folder
from mmhrnet.hub.published import metafile_models
from mmhrnet.runtime import Model
from mmhrnet.terminal import CONSOLE
from mmhrnet.zoo.provenance import versions_of, who
from mmhrnet.zoo.results import Latency, result_path, write_result


class Latencies:
    """Result files with the times of a config's networks on this processor.

    Args:
        config: Name of the config.
        folder: Folder for the files.
        by: Who measures; None is as git knows them.

    Raises:
        ConfigError: The config is not in the zoo, or nobody is known.
        WriteError: The folder cannot be written.
    """

    def __init__(self, config: str, folder: str | Path, by: str | None) -> None:
        libraries = {m['Name']: m['Config'].split('/')[1] for m in metafile_models()}
        if config not in libraries:
            raise ConfigError(f'--results is for configs of the zoo, and no metafile has {config}')
        self.config, self.folder, self.by = config, Path(folder), who(by)
        self.versions = versions_of(libraries[config])
        self.written: set[Path] = set()
        check_folder(folder)

    def check(self, files: Mapping[str, Model]) -> None:
        """Raises a ConfigError if a file is of another config."""
        for name, model in files.items():
            of = model.about.get('config')
            if of != self.config:
                raise ConfigError(f'--results: {name} is a file of {of}, not of {self.config}')

    def write(
        self, model: Model, backend: str, shape: tuple[int, int], batch: int, seconds: float
    ) -> None:
        """Writes what a batch of images of this height and width takes.

        Of files that differ in nothing that a record says, the first is written.
        """
        found = ', '.join(f'{name} {metadata.version(name)}' for name in distributions(backend))
        record = Latency(
            kind='latency',
            config=self.config,
            versions=self.versions,
            device=processor(),
            date=date.today(),
            by=self.by,
            runtime=found,
            precision=model.about.get('precision', 'fp32'),
            threads=torch.get_num_threads(),
            batch=batch,
            shape=shape,
            milliseconds=seconds * 1e3,
        )
        if result_path(self.folder, record) in self.written:
            return
        path = write_result(self.folder, record)
        self.written.add(path)
        CONSOLE.print(f'result: {path}')
