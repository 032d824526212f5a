"""What must be right on a GPU before its speed counts, each against the CPU or a plain form."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch import Tensor, nn

from mmhrnet import checkpoints
from mmhrnet.benchmark.forms import INFERENCE, Form
from mmhrnet.benchmark.networks import Together
from mmhrnet.deploy import capture
from mmhrnet.deploy.export import difference
from mmhrnet.hosts import known_hosts
from mmhrnet.models import list_archs
from mmhrnet.registry import HOOKS

EXACT, FLOAT, HALF, BFLOAT = 0.0, 3e-4, 3e-2, 1e-1  # largest differences, relative
LOW = {torch.float16: HALF, torch.bfloat16: BFLOAT}
SMALL, USUAL = 'w18_small_v2', 'w32'
STEPS = 4  # iterations of a short training


class Case(NamedTuple):
    """One thing to check: its largest difference must not exceed the limit."""

    name: str
    difference: Callable[[], float]
    limit: float


# The operations of mmcv


def _boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * 100
    return torch.cat([corner, corner + 1 + torch.rand(count, 2) * 50], dim=1)


def _op_calls() -> dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]]:
    """Operations with their inputs, floating ones of which get gradients."""
    from mmcv import ops

    x, weight = torch.randn(2, 8, 20, 24), torch.randn(6, 8, 3, 3)
    offset, mask = torch.randn(2, 18, 20, 24), torch.rand(2, 9, 20, 24)
    rois = torch.cat([torch.randint(0, 2, (30, 1)).float(), _boxes(30)], dim=1)
    boxes, scores, groups = _boxes(300), torch.rand(300), torch.randint(0, 4, (300,))
    iou = dict(type='nms', iou_threshold=0.5)
    sizes = torch.tensor([[8, 6], [4, 3]])
    value, places = torch.randn(2, 60, 4, 8), torch.rand(2, 9, 4, 2, 3, 2)
    attention = torch.rand(2, 9, 4, 2, 3)
    starts = torch.tensor([0, 48])
    return {
        'nms': (partial(ops.nms, iou_threshold=0.5), (boxes, scores)),
        'batched_nms': (partial(ops.batched_nms, nms_cfg=iou), (boxes, scores, groups)),
        'soft_nms': (partial(ops.soft_nms, method='linear'), (boxes, scores)),
        'roi_align': (lambda x, rois: ops.roi_align(x, rois, (7, 7), 0.2, 2), (x, rois)),
        'deform_conv': (lambda *args: ops.deform_conv2d(*args, 1, 1), (x, offset, weight)),
        'modulated_deform_conv': (
            lambda *args: ops.modulated_deform_conv2d(*args, None, 1, 1, 1, 1, 1),
            (x, offset, mask, weight),
        ),
        'sigmoid_focal_loss': (
            lambda x, labels: ops.sigmoid_focal_loss(x, labels, 2.0, 0.25, None, 'sum'),
            (torch.randn(50, 7), torch.randint(0, 8, (50,))),
        ),
        'deformable_attention': (
            lambda value, places, attention, sizes, starts: (
                ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(
                    value, sizes, starts, places, attention, 2
                )
            ),
            (value, places, attention, sizes, starts),
        ),
    }


def _values_and_grads(
    call: Callable[..., Any], inputs: tuple[Tensor, ...], device: str, grads: bool
) -> list[Tensor]:
    moved = [x.detach().to(device) for x in inputs]
    leaves = [x.requires_grad_() for x in moved if x.is_floating_point()] if grads else []
    ys = call(*moved)
    ys = ys if isinstance(ys, (list, tuple)) else (ys,)
    found = torch.autograd.grad(ys[0].square().sum(), leaves, allow_unused=True) if grads else ()
    return [y.detach().cpu().float() for y in (*ys, *found) if isinstance(y, Tensor)]


def ops(device: str) -> Iterator[Case]:
    """Bridged operations of mmcv, values and gradients, in float32 on both."""
    for name, (call, inputs) in _op_calls().items():
        grads = 'nms' not in name

        def compare(call: Any = call, inputs: Any = inputs, grads: bool = grads) -> float:
            expected, found = (
                _values_and_grads(call, inputs, where, grads) for where in ('cpu', device)
            )
            return difference(found, expected)

        yield Case(name, compare, FLOAT)


# The networks


def network(case: str, arch: str) -> nn.Module:
    """Our network of a comparison of a host, in eval mode."""
    for host in known_hosts().values():
        if case in host.benchmarks:
            modules = host.benchmarks[case].ours(arch)
            return (modules[0] if len(modules) == 1 else Together(*modules)).eval()
    raise KeyError(case)


def _run(net: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [y.float().cpu() for y in net(x)]


def _against_cpu(case: str, arch: str, device: str) -> float:
    torch.manual_seed(0)
    net, x = network(case, arch), torch.randn(2, 3, 128, 96)
    expected = _run(net, x)
    return difference(_run(net.to(device), x.to(device)), expected)


def _autocast(case: str, dtype: torch.dtype, device: str) -> float:
    torch.manual_seed(0)
    net, x = network(case, SMALL).to(device), torch.randn(2, 3, 128, 96, device=device)
    expected = _run(net, x)
    with torch.autocast(device, dtype):
        return difference(_run(net, x), expected)


def networks(case: str, device: str) -> Iterator[Case]:
    """Every architecture in float32 against the CPU, and one of them in half precision."""
    for arch in list_archs() if device == 'cuda' else [SMALL]:
        yield Case(arch, partial(_against_cpu, case, arch, device), FLOAT)
    for dtype, limit in LOW.items():
        name = f'{SMALL}, autocast {_name(dtype)}'
        yield Case(name, partial(_autocast, case, dtype, device), limit)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


# The forms


def _poison(device: str) -> None:
    """Leaves NaN in the memory that the next tensors get, so that nothing unwritten goes unseen."""
    for count, size in ((4, 1 << 24), (200, 1 << 15)):
        held = [torch.full((size,), torch.nan, device=device) for _ in range(count)]
        del held


def _form(form: Form, arch: str, dtype: torch.dtype, case: str, device: str) -> float:
    torch.manual_seed(0)
    net = network(case, arch).to(device)
    xs = [torch.randn(1, 3, 256, 192, device=device) for _ in range(2)]
    expected = [_run(net, x) for x in xs]
    _poison(device)
    with torch.no_grad():
        run = form.make(net.to(dtype), xs[0].to(dtype))
        found = [[y.float().cpu() for y in run(x.to(dtype))] for x in xs]
    return max(difference(ys, good) for ys, good in zip(found, expected))


def _forms(device: str, compiles: bool) -> Iterator[Case]:
    dtypes = {torch.float32: FLOAT, **LOW} if device == 'cuda' else {torch.float32: FLOAT}
    for name, form in INFERENCE.items():
        if form.compiles != compiles or form.device not in (None, device):
            continue
        if name in ('max-autotune', 'onnxruntime', 'openvino', 'frozen'):
            continue
        for dtype, limit in list(dtypes.items())[: 1 if compiles else None]:
            for arch, case in ((SMALL, 'seg'),) if compiles else ((SMALL, 'seg'), (USUAL, 'pose')):
                text = f'{name}, {case} {arch}, {_name(dtype)}'
                yield Case(text, partial(_form, form, arch, dtype, case, device), limit)


def forms(device: str) -> Iterator[Case]:
    """channels_last, the deploy form and its CUDA graphs against the plain network."""
    yield from _forms(device, compiles=False)
    if device == 'cuda':
        yield Case('graphs of two shapes, and a third', partial(_shapes, device), FLOAT)


def compiled(device: str) -> Iterator[Case]:
    """torch.compile and AOTInductor against the plain network."""
    yield from _forms(device, compiles=True)


def _shapes(device: str) -> float:
    net, found = network('pose', SMALL).to(device), []
    shapes = ((1, 3, 64, 64), (2, 3, 96, 64), (1, 3, 65, 97))
    captured = capture(net, *shapes[:2])
    for shape in (*shapes, *shapes):
        x = torch.randn(*shape, device=device)
        found.append(difference(_run(captured, x), _run(net, x)))
    return max(found)


# Training


@HOOKS.register_module()
class DeviceNoiseHook(Hook):
    """Random numbers of the GPU in the weights, so that a resumed training needs its state."""

    def after_train_iter(self, runner: Any, *_: object, **__: object) -> None:
        parameter = next(runner.model.parameters())
        with torch.no_grad():
            parameter.add_(torch.randn(parameter.shape, device=parameter.device), alpha=1e-3)


CONFIGS = {
    'det': 'mmhrnet::mmdet/faster_rcnn_hrnetv2p_w32.py',
    'pose': 'mmhrnet::mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192.py',
    'seg': 'mmhrnet::mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024.py',
    'cls': 'mmhrnet::mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py',
}


def _train(
    task: str, folder: Path, amp: bool = False, resume: str | None = None, **options: Any
) -> dict[str, Any]:
    """The last checkpoint of a short training."""
    from mmhrnet.training.run import train

    short = {
        'train_cfg.max_iters': STEPS,
        'train_cfg.val_interval': STEPS,
        'train_dataloader.batch_size': 4,
        'default_hooks.checkpoint.interval': STEPS // 2,
        'default_hooks.checkpoint.max_keep_ckpts': STEPS,
        'env_cfg.cudnn_benchmark': False,
    }
    train(
        CONFIGS[task],
        mini=True,
        work_dir=str(folder),
        amp=amp,
        resume=resume,
        cfg_options={**short, **options},
    )
    return checkpoints.load(folder / f'iter_{STEPS}.pth')


def _finite(task: str, amp: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        weights = _train(task, Path(folder), amp)['state_dict'].values()
    finite = all(bool(w.isfinite().all()) for w in weights if w.is_floating_point())
    return 0.0 if finite else float('inf')


def mini(task: str, device: str) -> Iterator[Case]:
    """A short training with its evaluation, whose weights stay finite."""
    for amp in (False, True) if device == 'cuda' else (False,):
        yield Case('AMP' if amp else 'float32', partial(_finite, task, amp), EXACT)


def _resumed() -> float:
    # Else cuDNN and cuBLAS choose kernels that add in another order in each run.
    os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'
    torch.use_deterministic_algorithms(True, warn_only=True)
    noise: Any = {'custom_hooks': [dict(type='mmhrnet.DeviceNoiseHook')]}
    with tempfile.TemporaryDirectory() as folder:
        whole = _train('cls', Path(folder, 'whole'), **noise)
        half = str(Path(folder, 'whole', f'iter_{STEPS // 2}.pth'))
        again = _train('cls', Path(folder, 'again'), resume=half, **noise)
    pairs = [(again['state_dict'][name], value) for name, value in whole['state_dict'].items()]
    return 0.0 if all(torch.equal(a, b) for a, b in pairs) else difference(*zip(*pairs))


def resume(_: str) -> Iterator[Case]:
    """A training that goes on from its middle ends with the same bits, random numbers included."""
    yield Case('cls, two of four iterations again', _resumed, EXACT)


def _distributed(device: str) -> float:
    backend = 'nccl' if device == 'cuda' else 'gloo'
    torch.manual_seed(0)
    net = network('pose', SMALL).to(device).train()
    x = torch.randn(4, 3, 64, 64, device=device)
    with tempfile.TemporaryDirectory() as folder:  # torch removes the file in it
        dist.init_process_group(backend, f'file://{folder}/store', rank=0, world_size=1)
        try:
            losses = [_steps(net, x, device, alone) for alone in (True, False)]
        finally:
            dist.destroy_process_group()
    return abs(losses[0] - losses[1]) / abs(losses[0])


def _steps(net: nn.Module, x: Tensor, device: str, alone: bool) -> float:
    """The loss after two steps of a copy."""
    run: nn.Module = deepcopy(net)
    if not alone:
        if device == 'cuda':
            run = nn.SyncBatchNorm.convert_sync_batchnorm(run)
        run = nn.parallel.DistributedDataParallel(run)
    optimizer = torch.optim.SGD(run.parameters(), lr=0.01)
    for _ in range(3):
        loss = sum(y.square().mean() for y in run(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


def distributed(device: str) -> Iterator[Case]:
    """Training steps of one process with DDP, and on a GPU NCCL and SyncBN, against plain ones."""
    yield Case(
        'DDP with SyncBN' if device == 'cuda' else 'DDP', partial(_distributed, device), FLOAT
    )


CHECKS: dict[str, Callable[[str], Iterator[Case]]] = {
    'ops': ops,
    **{f'networks-{case}': partial(networks, case) for case in ('pose', 'cls', 'seg', 'det')},
    'forms': forms,
    'distributed': distributed,
    'resume': resume,
    **{f'mini-{task}': partial(mini, task) for task in CONFIGS},
    'compiled': compiled,
}
