"""Twenty iterations of each task beside the host's own HRNet: the losses are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import set_random_seed

from mmhrnet import apis, checkpoints
from mmhrnet.models.archs import as_extra
from mmhrnet.training.runner import build_runner

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
ITERATIONS = 20


def detection(model: Config) -> None:
    model.neck.type = 'HRFPN'


def pose(model: Config) -> None:
    """Its heads read the backbone."""


def segmentation(model: Config) -> None:
    channels = model.pop('neck').in_channels
    model.decode_head.update(
        in_channels=channels,
        in_index=(0, 1, 2, 3),
        input_transform='resize_concat',
        kernel_size=1,
        num_convs=1,
        concat_input=False,
    )


def classification(model: Config) -> None:
    model.neck[0].type = 'HRFuseScales'


TASKS = {
    'mmdet/faster_rcnn_hrnetv2p_w18': (detection, 'mmdet'),
    'mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192': (pose, 'mmpose'),
    'mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024': (segmentation, 'mmseg'),
    'mmpretrain/hrnet-w18-small-v2_4xb64_in1k': (classification, 'mmpretrain'),
}


class LossRecord(Hook):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(self, runner: object, outputs: dict, **kwargs: object) -> None:
        self.losses.append(outputs['loss'].item())


def losses_of(cfg: Config, weights: Path, prepare: Callable) -> list[float]:
    runner = build_runner(cfg)
    prepare(runner)
    runner.load_checkpoint(str(weights), strict=True)
    runner.model._is_init = True
    record = LossRecord()
    runner.register_hook(record)
    set_random_seed(0)  # after the networks drew their different random numbers
    runner.train()
    return record.losses


def assert_own(runner: object, host: str) -> None:
    assert type(runner.model.backbone).__module__.startswith(f'{host}.')


@pytest.mark.slow
@pytest.mark.parametrize('name', TASKS)
def test_losses_equal_those_of_the_host(name: str, tmp_path: Path) -> None:
    """Same seed, data order and initial weights."""
    to_host, form = TASKS[name]
    options = {'train_cfg.max_iters': ITERATIONS, 'train_cfg.val_interval': 100}
    ours, theirs = (
        apis.make_config(CONFIGS / f'{name}.py', mini=True, cfg_options=options) for _ in range(2)
    )
    for cfg, folder in ((ours, 'ours'), (theirs, 'theirs')):
        cfg.work_dir = str(tmp_path / folder)
        cfg.model.backbone.zero_init_residual = False
    if form == 'mmdet':
        ours.model.neck.norm_cfg = theirs.model.neck.norm_cfg = None  # HRFPN ignores it
    backbone = theirs.model.backbone
    extra = as_extra(backbone.arch)
    theirs.model.backbone = dict(type='HRNet', extra=extra, norm_eval=False)
    to_host(theirs.model)

    def save(runner: object) -> None:
        runner.model.init_weights()
        state = runner.model.state_dict()
        torch.save(state, tmp_path / 'ours.pth')
        torch.save(checkpoints.convert(state, form)[0], tmp_path / 'theirs.pth')

    expected = losses_of(ours, tmp_path / 'ours.pth', save)
    found = losses_of(theirs, tmp_path / 'theirs.pth', lambda runner: assert_own(runner, form))
    assert len(expected) == ITERATIONS
    assert found == pytest.approx(expected, rel=1e-4)
