"""One network for all processes of an evaluation."""

from __future__ import annotations

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmhrnet.registry import HOOKS


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Gives all processes the buffers of the first one before an evaluation.

    The statistics of BatchNorm follow the images of each process, and a checkpoint contains those
    of the first: without this hook, the metric is not that of the saved network. MMEngine's
    SyncBuffersHook takes the mean instead, after epochs only, and a mean would depend on where a
    training was interrupted.
    """

    priority = 'LOWEST'  # after EMAHook has put the averaged weights in place

    def before_val_epoch(self, runner: Runner) -> None:
        if get_world_size() > 1:
            for buffer in runner.model.buffers():
                broadcast(buffer)
