"""Reading checkpoints: nothing in a file is ever run."""

from mmhrnet.checkpoints.safe import CheckpointError, allow, load, load_url

__all__ = ['CheckpointError', 'allow', 'load', 'load_url']
