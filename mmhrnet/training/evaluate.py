"""Evaluates a checkpoint with MMEngine's runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from typing_extensions import Unpack

from mmhrnet.config.check import check_run, config_errors
from mmhrnet.config.edit import report_classes, use_train_split
from mmhrnet.config.make import Edits
from mmhrnet.config.stored import is_checkpoint, make_config_for
from mmhrnet.config.weights import check_complete, find_weights, loading
from mmhrnet.errors import ConfigError
from mmhrnet.files import check_folder
from mmhrnet.hub.published import other_data
from mmhrnet.inference.pictures import draw_predictions
from mmhrnet.training.launch import start_processes
from mmhrnet.training.report import count_images, print_files
from mmhrnet.training.runner import build_runner
from mmhrnet.training.summary import SummaryHook
from mmhrnet.training.tables import print_results

Split = Literal['test', 'train']
NOT_TESTED = (
    *('train_dataloader', 'train_cfg', 'optim_wrapper'),
    *('val_dataloader', 'val_cfg', 'val_evaluator'),
)
TEST = '_test'  # at the end of the name of a test's config


def test(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    split: Split = 'test',
    show_dir: str | None = None,
    **edits: Unpack[Edits],
) -> dict[str, float]:
    """Evaluates a checkpoint, prints its metrics beside the published figures and returns them.

    Args:
        config: Config file of any host; or the checkpoint alone, which then contains its config.
        checkpoint: Checkpoint file, URL or ``hf://user/model``.
        split: 'test', or 'train' for the training data through the test's pipeline.
        show_dir: Folder for pictures of predictions.
        edits: Arguments of :func:`make_config`.

    Raises:
        ConfigError: The arguments or the data cannot work.
        WriteError: A folder cannot be written.
    """
    if checkpoint is None and not is_checkpoint(config):
        raise ConfigError(
            f'There is no checkpoint: give one after {config}. `mmhrnet zoo evaluate {config}` '
            'tests the published weights'
        )
    runner = build_test_runner(config, checkpoint, split=split, **edits)
    return evaluate(runner, config, split, show_dir, mini=bool(edits.get('mini')))


def evaluate(
    runner: Runner,
    config: str | Path,
    split: Split,
    show_dir: str | None,
    *,
    mini: bool,
    beside: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Runs a test, prints its metrics and returns them; see :func:`test`.

    Args:
        runner: What :func:`build_test_runner` returns.
        config: Its config, for the screen.
        split: The data that it has.
        show_dir: Folder for pictures of predictions.
        mini: Whether the data are not those of the published figures.
        beside: The metrics of the checkpoint that an exported file was made of.
    """
    if show_dir and is_main_process():
        check_folder(show_dir)
    runner.register_hook(SummaryHook(str(config), train=False))
    with config_errors():  # data and metrics are built now
        metrics = runner.test()
    if is_main_process():
        name = Path(runner.cfg.filename).stem.removesuffix(TEST)
        same_data = split == 'test' and not mini
        other = other_data(name, count_images(runner.test_dataloader.dataset), same_data)
        columns: dict[str, Mapping[str, float]] = {'measured': metrics}
        if beside:
            columns['checkpoint'] = {key: beside[key] for key in metrics if key in beside}
        print_results(columns, name, other)
        if show_dir:
            pictures = draw_predictions(runner, runner.test_dataloader, show_dir)
            print_files({'predictions': pictures})
    return metrics


def build_test_runner(
    config: str | Path | None,
    checkpoint: str | Path | None,
    *,
    split: Split = 'test',
    **edits: Unpack[Edits],
) -> Runner:
    """The runner that :func:`test` evaluates with; without a checkpoint, the published weights."""
    cfg, checkpoint = make_config_for(config, checkpoint, with_data=True, **edits)
    weights = find_weights(config or Path(cfg.filename).stem, checkpoint)
    runner = build_runner_of(cfg, weights, split)
    with loading(weights):
        runner.load_or_resume()
    check_complete(runner.model, weights)
    return runner


def build_runner_of(cfg: Config, weights: str | None, split: Split) -> Runner:
    """The runner of a test, before it loads its weights; None for a model that needs none."""
    # MMEngine writes the config into the work folder, where the training's own has the old name.
    cfg = Config(cfg.to_dict(), cfg.text, f'{Path(cfg.filename).stem}{TEST}.py')
    cfg.load_from, cfg.resume = weights, False
    if split == 'train':
        use_train_split(cfg)
    if not cfg.get('optim_wrapper'):  # what a checkpoint contains is not all that a training needs
        for key in NOT_TESTED:
            cfg.pop(key, None)
    report_classes(cfg)
    check_run(cfg, loaders=('test_dataloader',))
    start_processes(cfg)
    return build_runner(cfg)
