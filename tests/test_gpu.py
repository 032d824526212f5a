"""The graph of the deploy form, and the command that measures a GPU, as far as a CPU can run it."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from mmhrnet import HRNet
from mmhrnet.benchmark import INFERENCE, TRAINING, benchmark, gpu
from mmhrnet.benchmark.forms import contestants, training
from mmhrnet.benchmark.gpu_checks import CHECKS, Case
from mmhrnet.benchmark.gpu_page import Result, write_page
from mmhrnet.benchmark.measure import Machine, Timing
from mmhrnet.benchmark.networks import CASES, Networks
from mmhrnet.benchmark.report import Row
from mmhrnet.deploy import Rewrites, capture, optimize
from mmhrnet.deploy.capture import InParallel, _in_parallel, record
from mmhrnet.deploy.export import difference
from mmhrnet.errors import ConfigError
from mmhrnet.hosts import known_hosts

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason='CUDA graphs need a GPU')


class Recorded:
    """Runs jobs in turn, and remembers how many there were."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, jobs: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        self.counts.append(len(jobs))
        return [job() for job in jobs]


class Capturing(InParallel):
    """Takes the path of a capture on a CPU."""

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        return self.side_by_side(xs)


@pytest.fixture
def net(randomized: Callable[[nn.Module], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return randomized(HRNet('w18_small_v1', upsample='bilinear')).eval()


@torch.no_grad()
def test_branches_and_fusions_are_jobs(net: nn.Module) -> None:
    x, lanes = torch.rand(1, 3, 64, 96), Recorded()
    parallel = _in_parallel(optimize(net), lanes)
    assert difference(parallel(x), net(x)) < 1e-5
    assert not lanes.counts  # nothing is being captured
    for module in parallel.modules():
        if isinstance(module, InParallel):
            module.__class__ = Capturing
    assert difference(parallel(x), net(x)) < 1e-5
    assert lanes.counts == [2, 2, 3, 3, 4, 4]  # the branches and the fusions of each module


def test_a_graph_needs_a_gpu(net: nn.Module) -> None:
    with pytest.raises(ConfigError, match='a model on a GPU, this one is on cpu'):
        capture(net, (1, 3, 64, 64))


def test_a_graph_keeps_the_weights_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('Stream', 'current_stream', 'CUDAGraph'):
        monkeypatch.setattr(torch.cuda, name, Mock())
    for name in ('stream', 'graph'):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    net = nn.Linear(2, 2)
    weight = weakref.ref(net.weight)
    with torch.no_grad():
        replay = record(net, torch.zeros(1, 2))
    del net
    gc.collect()
    assert replay.outputs.shape == (1, 2)
    assert weight() is not None


@NEEDS_GPU
@pytest.mark.parametrize('fused', [False, True])
def test_a_graph_replays_the_deploy_form(net: nn.Module, fused: bool) -> None:
    net, rewrites = net.cuda(), Rewrites(fused_kernels=fused)
    shapes = ((1, 3, 64, 96), (2, 3, 96, 64), (1, 3, 65, 97))  # no graph for the last
    captured = capture(net, *shapes[:2], rewrites=rewrites)
    for shape in (*shapes, *shapes):
        x = torch.rand(shape, device='cuda')
        with torch.no_grad():
            assert difference(captured(x), net(x)) < 1e-3  # TF32


def test_tables_name_contestants_that_exist() -> None:
    for name, table in gpu.TABLES.items():
        train = table.options.get('train') or name == 'faster-rcnn'
        assert {one.split()[1] for one in table.names} <= {*(TRAINING if train else INFERENCE)}
        assert {*table.theirs} <= {*known_hosts(), 'timm'}
        assert set(gpu._to_compile(name, 'cuda')) <= {*table.names}


def test_a_contestant_that_cannot_run_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError('first line\nno kernel')

    broken = INFERENCE['deploy']._replace(make=refuse)
    monkeypatch.setitem(INFERENCE, 'deploy', broken)
    arguments = dict(shapes=[(64, 64)], arch='w18_small_v1', device='cpu', rounds=1, out=tmp_path)
    names = ['mmpose eager', 'mmhrnet deploy', 'mmhrnet channels_last']
    errors = {}
    rows = benchmark(
        'pose',
        forms=['eager', 'deploy', 'channels_last'],
        names=names,
        on_error=lambda name, error: errors.update({name: error}),
        **arguments,
    )
    assert [row.name for row in rows] == ['mmpose eager', 'mmhrnet channels_last']
    assert list(errors) == ['mmhrnet deploy']
    with pytest.raises(RuntimeError, match='no kernel'):
        benchmark('pose', forms=['deploy'], **arguments)


def test_what_did_not_compile_is_left_out_of_its_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, '_to_compile', lambda name, _: [f'timm {name}'])
    monkeypatch.setattr(gpu, '_side_by_side', lambda jobs, *_: iter(jobs))  # none of them starts
    results = list(gpu._results(['ops', 'batch1', 'batch64'], 'cuda', 0))
    said = {result.name: result.errors for result in results}
    late = 'no time was left'
    assert said['ops'] == [late]
    assert said['batch1'] == [late, 'timm batch1: it did not compile']
    assert said['batch64'] == [late, 'timm batch64: it did not compile']


@NEEDS_GPU
def test_a_graph_of_training_steps_trains(net: nn.Module) -> None:
    x = torch.rand(2, 3, 64, 64, device='cuda')
    make = training(TRAINING['graph'], torch.float32).make
    plain = deepcopy(net).cuda().train()
    step = make(deepcopy(net).cuda().train(), x)
    torch.cuda.empty_cache()  # as the next capture does
    for scale in (1, 2):
        assert difference(step(scale * x), plain(scale * x)) < 1e-3  # TF32


def test_a_check_that_fails_is_recorded_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> float:
        raise RuntimeError('at first\nno kernel')

    def cases(device: str) -> Iterator[Case]:
        """Three cases.

        And more text.
        """
        yield from (Case('a', fail, 0), Case('b', lambda: 0.5, 0.4), Case('c', lambda: 0.5, 0.5))

    monkeypatch.setitem(CHECKS, 'ops', cases)
    result, saved = Result('ops'), []
    gpu._check(result, 'cpu', lambda: saved.append(len(result.checks)))
    assert saved == [1, 2, 3]
    assert (result.state, result.what) == ('failed', 'Three cases.')
    row = Row(
        'mmhrnet eager', '', Timing(2e-3, 1e-3, 3e-3), 1.0, None, None, 0.0, (64, 64), 1, 10**6
    )
    machine = Machine('d', 1, 1, 's', 'p', 't', 'c', 'float16', 2e9, 1e9)
    table = dict(title='A table', machine=machine._asdict(), rows=[row._asdict()])
    table['rows'][0]['timing'] = row.timing._asdict()
    measured = Result('batch1', state='measured', tables=[table], errors=['timm compile: none'])
    write_page([result, measured], 'cpu', tmp_path / 'gpu.md')
    text = (tmp_path / 'gpu.md').read_text()
    assert '| ops: Three cases | 1 of 3 | 5e-01 |' in text
    assert '- ops: a: RuntimeError: no kernel' in text
    assert '- ops: b: a difference of 5.0e-01, more than 4e-01' in text
    assert '- batch1: timm compile: none' in text
    assert '| mmhrnet eager | 2.000 (1.000 to 3.000) | 500.0 | 1.00 | 25% |' in text
    assert len(json.loads((tmp_path / 'gpu.json').read_text())['parts']) == 2


def test_the_line_of_an_error_of_cuda_is_its_first() -> None:
    advice = 'CUDA error: an illegal memory access\nCompile with TORCH_USE_CUDA_DSA'
    assert gpu._text(RuntimeError(advice)) == 'RuntimeError: CUDA error: an illegal memory access'
    assert gpu._text(RuntimeError('at first\nno kernel')) == 'RuntimeError: no kernel'


@pytest.mark.slow
def test_parts_run_in_processes_and_write_a_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(Path(gpu.__file__).parents[2]))
    assert gpu.prove(parts=['ops', 'distributed'], device='cpu', out=tmp_path / 'both.md')
    assert '8 of 8' in (tmp_path / 'both.md').read_text()
    assert json.loads((tmp_path / 'work_dirs/gpu/ops.json').read_text())['state'] == 'passed'
    assert not gpu.prove(parts=['ops', 'batch1'], device='cpu', minutes=0, out=tmp_path / 'page.md')
    page = json.loads((tmp_path / 'page.json').read_text())
    assert [part['errors'] for part in page['parts']] == [['no time was left']] * 2
    assert gpu.prove(parts=['ops'], device='cpu', out=tmp_path / 'page.md')
    page = json.loads((tmp_path / 'page.json').read_text())
    found = [(part['name'], part['errors']) for part in page['parts']]
    assert found == [('ops', []), ('batch1', ['no time was left'])]


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(Path(gpu.__file__).parents[2]))
    assert gpu.prove(device='cpu', out=tmp_path / 'page.md')
    parts = json.loads((tmp_path / 'page.json').read_text())['parts']
    assert [part['errors'] for part in parts] == [[]] * len(parts)
    assert all(part['checks'] or part['tables'] for part in parts)


def test_mistakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no part speed: use ops, '):
        gpu.prove(parts=['speed'], device='cpu', out=tmp_path / 'page.md')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='needs a GPU'):
        gpu.prove(out=tmp_path / 'page.md')
    assert not list(tmp_path.iterdir())


def test_a_detector_has_no_graph_of_training_steps() -> None:
    graph = {'graph': TRAINING['graph']}
    networks = Networks(nn.Identity(), {})
    for name, expected in (('pose', ['mmhrnet graph']), ('faster-rcnn', [])):
        found = contestants(networks, graph, CASES[name], 'cuda')
        assert [one.name for one in found] == expected
