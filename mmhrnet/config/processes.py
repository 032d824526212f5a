"""Which of the processes that a launcher started this one is."""

from __future__ import annotations

import os

from mmengine.config import Config

from mmhrnet.errors import ConfigError

# Where each launcher says which process of its machine this is.
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
    """Whether this process is the first one of its machine.

    Raises:
        ConfigError: The process was not started by the launcher of the config.
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
