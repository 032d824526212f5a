"""Times of networks in whole files, as result files of the zoo."""

from __future__ import annotations

from datetime import date
from importlib import metadata
from pathlib import Path

import torch

from mmhrnet.doctor import processor
from mmhrnet.errors import ConfigError
from mmhrnet.files import check_folder
from mmhrnet.hub.published import metafile_models
from mmhrnet.runtime import Model
from mmhrnet.terminal import CONSOLE
from mmhrnet.zoo.provenance import versions_of, who
from mmhrnet.zoo.results import Latency, write_result


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
        check_folder(folder)

    def write(
        self, model: Model, backend: str, shape: tuple[int, int], batch: int, seconds: float
    ) -> None:
        """Writes what a batch of images of this height and width takes."""
        record = Latency(
            kind='latency',
            config=self.config,
            versions=self.versions,
            device=processor(),
            date=date.today(),
            by=self.by,
            runtime=f'{backend} {metadata.version(backend)}',
            precision=model.about.get('precision', 'fp32'),
            threads=torch.get_num_threads(),
            batch=batch,
            shape=shape,
            milliseconds=seconds * 1e3,
        )
        CONSOLE.print(f'result: {write_result(self.folder, record)}')
