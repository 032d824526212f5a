"""A resume with another config stops before anything is written where it does not fit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import DATASETS
from PIL import Image
from test_hooks import At, ToyDataset, config, interrupted, last, run

from mmhrnet import apis, checkpoints
from mmhrnet.errors import TrainingError
from mmhrnet.training.hooks.latest import newest_intact

ROOT = Path(__file__).resolve().parents[1]
CLS = ROOT / 'configs/mmpretrain/hrnet-w18-small-v1_4xb64_in1k.py'
TWO_STEPS = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 2,
    'default_hooks.checkpoint.interval': 1,
}


def folders(root: Path, classes: int) -> Path:
    """A data set of images in folders, as users have their own."""
    for split in ('train', 'val'):
        for label in range(classes):
            folder = root / split / f'class{label}'
            folder.mkdir(parents=True)
            for number in range(2):
                noise = np.random.default_rng(label).integers(0, 256, (48, 48, 3), np.uint8)
                Image.fromarray(noise).save(folder / f'{number}.png')
    return root


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained')
    apis.train(
        CLS,
        mini=True,
        data_root=str(folders(tmp_path_factory.mktemp('four'), 4)),
        work_dir=str(work_dir),
        no_validate=True,
        cfg_options=TWO_STEPS,
    )
    return work_dir


def test_another_number_of_classes_is_one_line_and_changes_nothing(
    trained: Path, tmp_path: Path
) -> None:
    """With a fused optimizer this was a segmentation fault."""
    before = {path: path.read_bytes() for path in trained.glob('*.pth')}
    options = {**TWO_STEPS, 'train_cfg.max_iters': 4}
    data_root = folders(tmp_path, 10)
    for resume in ('auto', str(trained / 'iter_2.pth')):
        with pytest.raises(apis.ConfigError) as error:
            apis.train(
                CLS,
                mini=True,
                data_root=str(data_root),
                work_dir=str(trained),
                no_validate=True,
                resume=resume,
                cfg_options=options,
            )
        message = str(error.value)
        assert re.search(
            r'iter_2\.pth cannot be resumed: head\.fc\.weight is \(\d+, 2048\) in the file and '
            r'\(10, 2048\) here.*load_from',
            message,
        )
        assert '\n' not in message
    assert {path: path.read_bytes() for path in trained.glob('*.pth')} == before


@pytest.mark.parametrize(
    'content', [None, [1, 2], {'state_dict': 5}, {'state_dict': {}, 'meta': 5}]
)
def test_a_file_that_is_no_checkpoint_is_one_line(
    content: object, trained: Path, untrained: Callable, tmp_path: Path
) -> None:
    file, says = tmp_path / 'iter_1.pth', r'not a checkpoint: its (state_dict|meta) is not a'
    torch.save(content, file)
    if content is None:
        file.write_bytes((trained / 'iter_1.pth').read_bytes()[:100_000])
        says = r'iter_1\.pth is truncated'
    for resume, options in (
        (str(file), TWO_STEPS),
        (None, {**TWO_STEPS, 'load_from': str(file)}),
        ('auto', TWO_STEPS),
    ):
        with pytest.raises(apis.ConfigError, match=says) as error:
            apis.train(CLS, mini=True, work_dir=str(tmp_path), resume=resume, cfg_options=options)
        assert '\n' not in str(error.value)
    assert re.search(r'iter_1\.pth.*--resume PATH', str(error.value))
    assert 'without --resume' not in str(error.value)  # which would throw the file away
    with pytest.raises(apis.ConfigError, match=says):
        apis.test(untrained('mmpretrain').config, file, work_dir=str(tmp_path))


@pytest.fixture(scope='module')
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('toy')
    interrupted(config(work_dir), iteration=4)
    return work_dir


def edited(toy: Path, path: Path, edit: Callable[[dict], Any]) -> str:
    content = last(toy)
    edit(content)
    checkpoints.save(content, path)
    return str(path)


def swap_first_two(content: dict) -> None:
    first, second, *others = content['state_dict'].items()
    content['state_dict'] = dict((second, first, *others))


def random_of(content: dict) -> dict:
    return content['exact_resume']['random_states'][0]


def odd_history() -> HistoryBuffer:
    history = HistoryBuffer()
    history._log_history = 'text'
    return history


def numpy_at(content: dict, position: int) -> tuple:
    kind, words, _, *rest = random_of(content)['numpy']
    return (kind, words, position, *rest)


@pytest.mark.parametrize(
    ('edit', 'says'),
    [
        (lambda c: c['state_dict'].pop('last.bias'), 'last.bias is not in the file'),
        (
            lambda c: c['state_dict'].update(more=torch.ones(1)),
            'more of the file is not in the model',
        ),
        (
            lambda c: c['state_dict'].update({'last.weight': torch.ones(2, 8)}),
            r'last.weight is \(2, 8\) in the file and \(1, 8\) here',
        ),
        (lambda c: c['state_dict'].update({'last.weight': 5}), 'last.weight is 5 in the file'),
        (swap_first_two, 'counts first.bias where this one counts first.weight'),
        (
            lambda c: c['optimizer']['state'][0].update(exp_avg=torch.ones(9, 4)),
            r'exp_avg of parameter 0 of its optimizer is \(9, 4\), the parameter \(8, 4\)',
        ),
        (lambda c: c['optimizer']['param_groups'].append({'params': []}), '2 parameter groups'),
        (
            lambda c: c['optimizer']['param_groups'][0]['params'].pop(),
            'group 0 of its optimizer has 5 parameters, here 6',
        ),
        (lambda c: c.pop('message_hub'), 'only weights, without message_hub'),
        (lambda c: (c.pop('meta'), c.pop('message_hub')), 'without meta and message_hub'),
        # What MMEngine, PyTorch and numpy would take on trust.
        (lambda c: c['meta'].clear(), 'its meta.epoch is not as a training saves it'),
        (lambda c: c['meta'].update(iter='7'), 'its meta.iter is not as .* valid integer'),
        (lambda c: c['meta'].update(iter=-1), 'its meta.iter is not as'),
        (lambda c: c['meta'].update(iter=10**12), r'meta.iter is 1000000000000, and .* is 18'),
        (
            lambda c: c['param_schedulers'][0].update(step=7),
            'step of its schedule is not one',
        ),
        (lambda c: c['param_schedulers'][0].update(base_values=['x']), 'base_values of its sched'),
        (lambda c: c['optimizer']['param_groups'][0].update(lr=float('nan')), 'lr of its optim'),
        (lambda c: c['optimizer']['param_groups'][0].update(lr=10**400), 'lr of its optim'),
        (lambda c: c['optimizer']['param_groups'][0].update(betas=('a', 'b')), 'betas of its opt'),
        (
            lambda c: c['optimizer']['state'][0].update(exp_avg=torch.ones(3)),
            r'is \(3,\), the param',
        ),
        (
            lambda c: c['state_dict'].update({'last.bias': torch.ones(1, device='meta')}),
            'last.bias is not a plain tensor',
        ),
        (lambda c: c['message_hub']['resumed_keys'].update(lr='x'), 'resumed_keys.lr is not as'),
        (lambda c: c['message_hub']['log_scalars'].update(x=odd_history()), 'x is not as'),
        (lambda c: c['meta'].update(seed=2**40), 'its meta.seed is not as'),
        (lambda c: c['message_hub'].clear(), 'its message_hub.log_scalars is not as'),
        (
            lambda c: c['message_hub']['runtime_info'].update(best_score='x'),
            'best_score is of type',
        ),
        (lambda c: c.update(optimizer=[1]), 'its optimizer is not as'),
        (lambda c: c['optimizer'].clear(), 'its optimizer has 0 parameter groups'),
        (
            lambda c: c['optimizer']['param_groups'][0].update(lr='1'),
            'lr of its optimizer is of type str',
        ),
        (lambda c: c['optimizer']['state'][0].update(exp_avg='x'), 'exp_avg of parameter 0 .* str'),
        (
            lambda c: c['param_schedulers'][0].update(last_step='x'),
            'last_step of its schedule is of type',
        ),
        (lambda c: c.update(param_schedulers=7), 'its param_schedulers is not as'),
        (lambda c: c.update(exact_resume=[]), 'its exact_resume is not as'),
        (lambda c: random_of(c).update(torch=torch.zeros(7, dtype=torch.uint8)), 'torch is not as'),
        (lambda c: random_of(c).update(numpy=numpy_at(c, 10**6)), 'numpy.2 is not as'),
        (lambda c: random_of(c).update(python=(3, (0,) * 9, None)), 'python.1 is not as'),
    ],
)
def test_what_does_not_fit_is_named(
    edit: Callable[[dict], Any], says: str, toy: Path, tmp_path: Path
) -> None:
    file = edited(toy, tmp_path / 'a.pth', edit)
    cfg = config(tmp_path / 'run', resume=True, load_from=file)
    with pytest.raises(TrainingError, match=rf'a\.pth cannot be resumed: .*{says}.*load_from=PATH'):
        run(cfg)
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_an_optimizer_of_another_kind_is_named(toy: Path, tmp_path: Path) -> None:
    changes = {'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, _delete_=True)}
    cfg = config(tmp_path, resume=True, load_from=(toy / 'last_checkpoint').read_text(), **changes)
    with pytest.raises(TrainingError, match='another kind, with betas, this one with momentum'):
        run(cfg)


@pytest.mark.parametrize('ours', [True, False], ids=['our hooks', "MMEngine's alone"])
def test_a_checkpoint_to_resume_gives_no_orders(ours: bool, toy: Path, tmp_path: Path) -> None:
    marker, victim, work_dir = tmp_path / 'ran', tmp_path / 'victim', tmp_path / 'run'
    work_dir.mkdir()
    victim.mkdir()
    files = [victim / 'best_x_iter_3.pth', victim / 'iter_3.pth', work_dir / 'notes.txt']
    for file in files:
        file.write_text('not of this run')
    program = f"open({str(marker)!r}, 'w').close()"

    def order(content: dict) -> None:
        content['meta'].update(config=program, cfg=program)
        content['message_hub']['runtime_info'].update(
            cfg=program,
            best_score=-1.0,
            best_ckpt=str(victim),
            last_ckpt=str(victim / 'iter_3.pth'),
            outdated_ckpts=[str(file) for file in files],
            keep_ckpt_ids=[f'../{victim.name}/iter_3', 3],
        )

    file = edited(toy, tmp_path / 'a.pth', order)
    cfg = config(work_dir, resume=True, load_from=file)
    if not ours:
        cfg.custom_hooks, cfg.default_hooks.checkpoint.type = [], 'CheckpointHook'
    run(cfg)
    assert not marker.exists()
    assert [file.read_text() for file in files] == ['not of this run'] * 3
    assert len(list(work_dir.glob('best_*.pth'))) == 1  # so it would have removed another


def test_last_checkpoint_names_no_file_of_another_folder(toy: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    shutil.copy(toy / 'iter_3.pth', elsewhere / 'iter_9.pth')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    shutil.copy(toy / 'iter_3.pth', work_dir)
    pointer = work_dir / 'last_checkpoint'
    pointer.write_text(str(elsewhere / 'iter_9.pth'))
    assert newest_intact(work_dir) == work_dir / 'iter_3.pth'
    pointer.unlink()
    pointer.mkdir()
    with pytest.raises(TrainingError, match='last_checkpoint is a folder where a file'):
        run(config(work_dir, resume=True))


def test_weights_to_start_from_are_not_compared(toy: Path, tmp_path: Path) -> None:
    file = edited(toy, tmp_path / 'a.pth', lambda c: c['state_dict'].pop('last.bias'))
    interrupted(config(tmp_path / 'run', load_from=file), 'before_train_iter', 0)


class Odd:
    """Of a type that nobody allowed."""


@DATASETS.register_module(force=True)
class OddDataset(ToyDataset):
    metainfo = {'palette': Odd()}


def test_the_first_checkpoint_is_read_back(tmp_path: Path) -> None:
    cfg = config(tmp_path, **{'train_dataloader.dataset.type': 'OddDataset'})
    steps: list[int] = []
    with pytest.raises(
        TrainingError, match=r'cannot be loaded: .*iter_3\.pth contains the type .*Odd'
    ):
        run(cfg, At('after_train_iter', 4, lambda: steps.append(4)))
    assert not steps
