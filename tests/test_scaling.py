"""The paper figures of docs/large_scale.md are the code's, and the large-scale configs build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, STRATEGIES
from torch import nn
from torch.distributed.fsdp.wrap import _recursive_wrap

from mmhrnet import HRNet
from mmhrnet.benchmark import scaling
from mmhrnet.models.blocks import ResidualBlock
from mmhrnet.models.hrnet import HRModule

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs/large_scale.md'
RUNTIMES = ROOT / 'configs/_base_/runtime'
BASES = ['mmdet/faster_rcnn_hrnetv2p_w48.py', 'mmpose/td-hm_hrnet-w48_4xb32-210e_coco-256x192.py']


@pytest.mark.slow
def test_the_page_has_the_tables_that_the_code_gives() -> None:
    page = PAGE.read_text()
    assert scaling.update(page) == page


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match='the page has no lines'):
        scaling.update('# Large scale')


def test_saved_tensors_are_counted_once_and_without_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(inplace=True), nn.Flatten())
    x = torch.rand(2, 3, 4, 4)
    size = (x.numel() + 2 * 8 * 4 * 4) * scaling.FLOAT  # the input, and the output of ReLU
    assert scaling.saved_bytes(model, x) == size
    assert scaling.saved_bytes(model.to('meta'), x.to('meta')) == size


def test_activations_grow_with_the_pixels() -> None:
    small, large = scaling.footprint('w18_small_v1'), scaling.footprint('w18_small_v1', (512, 384))
    for name in ('macs', 'activations', 'checkpointed'):
        factor = scaling.pixel_factor((512, 384))
        assert getattr(large, name) == pytest.approx(factor * getattr(small, name), rel=0.005)
    assert large.params == small.params


def test_traffic_of_a_ring() -> None:
    assert scaling.all_reduce_bytes(1, 2) == 4
    assert scaling.all_reduce_bytes(100, 8) == 2 * 7 / 8 * 400
    assert scaling.fsdp_bytes(100, 8) == 1.5 * scaling.all_reduce_bytes(100, 8)
    assert scaling.all_reduce_bytes(100, 1) == 0


def test_what_the_backward_pass_hides_costs_nothing_at_best() -> None:
    assert scaling.efficiency(3.0, 0.0) == (1, 1)
    assert scaling.efficiency(3.0, 2.0) == (1, 0.6)
    assert scaling.efficiency(3.0, 5.0) == (0.5, 3 / 8)


RESIDENT = """
import torch, mmhrnet
from mmhrnet.benchmark.scaling import saved_bytes

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096

torch.set_num_threads(1)
model = mmhrnet.HRNet('w18_small_v1', with_cp={with_cp}).train()
x = torch.rand(4, 3, 256, 256)
expected = saved_bytes(model, x)
model(x)[0].sum().backward()
before = resident()
outputs = model(x)
print(expected, resident() - before)
sum(y.sum() for y in outputs).backward()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/statm').is_file(), reason='reads memory from /proc')
@pytest.mark.parametrize('with_cp', [False, True])
def test_a_real_forward_pass_keeps_the_memory_counted(with_cp: bool) -> None:
    """Resident memory of a process whose allocator returns at once what is freed."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', RESIDENT.format(with_cp=with_cp)],
        env={**os.environ, 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536'},
        capture_output=True,
        text=True,
        check=True,
    )
    expected, measured = map(int, result.stdout.split())
    print(f'with_cp={with_cp}: counted {expected / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB')
    assert measured == pytest.approx(expected, rel=0.1)


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


def test_deepspeed_that_is_not_installed_is_said(tmp_path: Path) -> None:
    pytest.importorskip('mmengine._strategy')
    cfg = read(tmp_path, 'deepspeed', BASES[0])
    try:
        import deepspeed  # noqa: F401
    except ImportError:
        with pytest.raises(AssertionError, match='DeepSpeed is not installed'):
            STRATEGIES.build(cfg.strategy, default_args=dict(work_dir=str(tmp_path)))
