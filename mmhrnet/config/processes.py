"""The number of this process among those that a launcher started."""

from __future__ import annotations

import os
from typing import Literal

from mmengine.config import Config

from mmhrnet.errors import ConfigError

Launcher = Literal['none', 'pytorch', 'slurm', 'mpi']
# The variables in which each launcher gives the number of a process on its machine.
LOCAL_RANKS = {
    'pytorch': 'LOCAL_RANK',
    'slurm': 'SLURM_LOCALID',
    'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK',
}
STARTED_BY = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}
COMMANDS = {
    'pytorch': 'bash tools/dist_train.sh CONFIG GPUS',
    'slurm': 'bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR',
    'mpi': 'mpirun',
}


def is_first(cfg: Config) -> bool:
    """Whether this process is the first one on its machine.

    Raises:
        ConfigError: The launcher of the config did not start this process.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return True
    if STARTED_BY[launcher] not in os.environ:
        raise ConfigError(
            f'--launcher {launcher} is for processes that {COMMANDS[launcher]} starts: '
            f'{STARTED_BY[launcher]} is not in the environment'
        )
    return int(os.environ.get(LOCAL_RANKS[launcher], 0)) == 0
