"""The configs of FSDP and DeepSpeed build, and FSDP wraps the right modules."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, STRATEGIES
from torch import nn
from torch.distributed.fsdp.wrap import _recursive_wrap

from mmhrnet import HRNet
from mmhrnet.models.blocks import ResidualBlock
from mmhrnet.models.hrnet import HRModule

ROOT = Path(__file__).resolve().parents[1]
RUNTIMES = ROOT / 'configs/_base_/runtime'
BASES = ['mmdet/faster_rcnn_hrnetv2p_w48.py', 'mmpose/td-hm_hrnet-w48_4xb32-210e_coco-256x192.py']


def read(tmp_path: Path, runtime: str, base: str, more: str = '') -> Config:
    path = tmp_path / 'config.py'
    bases = [str(ROOT / 'configs' / base), str(RUNTIMES / f'{runtime}.py')]
    path.write_text(f'_base_ = {bases}\n{more}')
    return Config.fromfile(path)


@pytest.mark.parametrize('base', BASES)
def test_fsdp_goes_over_any_config_and_its_strategy_builds(base: str, tmp_path: Path) -> None:
    cfg = read(tmp_path, 'fsdp', base)
    assert cfg.runner_type == 'FlexibleRunner'
    arguments = dict(work_dir=str(tmp_path / 'run'), env_kwargs=dict(launcher='none'))
    strategy = STRATEGIES.build(cfg.strategy, default_args=arguments)
    assert strategy._is_full_state_dict()
    assert FUNCTIONS.get(cfg.strategy.model_wrapper.auto_wrap_policy.type) is not None


def test_fsdp_shares_out_modules_and_blocks_of_stage_1() -> None:
    from mmhrnet.training.launch import wrap_modules

    class Unit(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    with torch.device('meta'):
        model = HRNet('w32')
    blocks, modules = len(model.layer1), sum(isinstance(m, HRModule) for m in model.modules())
    _recursive_wrap(model, wrap_modules, Unit, set(), set(), only_wrap_children=True)
    units = [m.module for m in model.modules() if isinstance(m, Unit)]
    assert sum(isinstance(unit, HRModule) for unit in units) == modules == 8
    assert sum(isinstance(unit, ResidualBlock) for unit in units) == blocks == 4
    assert len(units) == modules + blocks


@pytest.mark.parametrize('base', BASES)
def test_deepspeed_goes_over_any_config_and_its_strategy_builds(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the package: what MMEngine makes of the config, nothing is run."""
    from mmengine._strategy import deepspeed

    optimizer = "dict(type='AdamW', lr=1e-4)"
    wrapper = f"dict(_delete_=True, type='DeepSpeedOptimWrapper', optimizer={optimizer})"
    cfg = read(tmp_path, 'deepspeed', base, f'optim_wrapper = {wrapper}\n')
    monkeypatch.setattr(deepspeed, 'deepspeed', SimpleNamespace(__version__='0.16.0'))
    arguments = dict(work_dir=str(tmp_path / 'run'), env_kwargs=dict(launcher='none'))
    strategy = STRATEGIES.build(cfg.strategy, default_args=arguments)
    assert strategy.config['zero_optimization']['stage'] == 2
    assert strategy.config['bf16'] == dict(enabled=True)
    model = nn.Linear(2, 2)
    built = strategy.build_optim_wrapper(cfg.optim_wrapper, model)
    assert isinstance(built.optimizer, torch.optim.AdamW)
