"""What a run leaves behind: its metrics beside the published ones, curves, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmengine.runner import Runner

from mmhrnet.checkpoints.safe import CheckpointError
from mmhrnet.errors import ConfigError
from mmhrnet.hub.published import other_data
from mmhrnet.inference.pictures import draw_predictions
from mmhrnet.terminal import CONSOLE, last_line
from mmhrnet.training.curves import LogError, best_values, plot_curves, read_scalars
from mmhrnet.training.launch import is_sharded
from mmhrnet.training.tables import print_results


def report_or_say(runner: Runner, name: str, same_data: bool) -> None:
    try:
        report(runner, name, same_data)
    except (OSError, LogError, CheckpointError) as error:
        work_dir = runner.work_dir
        raise ConfigError(
            f'The training is complete, and its checkpoints are in {work_dir}. Curves or pictures '
            f'are missing: {last_line(error)}. tools/analyze_logs.py draws the curves later, and '
            'tools/test.py with --show-dir the pictures'
        ) from error


def report(runner: Runner, name: str, same_data: bool) -> None:
    """Curves, pictures of the best checkpoint, and the metrics beside the published figures."""
    work_dir = Path(runner.work_dir)
    scalars = read_scalars(work_dir)
    bests = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    files: dict[str, str | Path] = {'logs': runner.log_dir}
    values = best_values(scalars, with_classes=True)
    if bests and values:
        other = other_data(name, count_images(runner.val_dataloader.dataset), same_data)
        print_results(values, name, other)
    if scalars:  # else the config has no backend that saves them
        files['curves'] = plot_curves(scalars, work_dir / 'curves.png')
    if bests:
        files['best checkpoint'] = bests[-1]
    if bests and not is_sharded(runner.cfg):  # which needs all processes
        runner.load_checkpoint(str(bests[-1]))
        files['predictions'] = draw_predictions(
            runner, runner.val_dataloader, work_dir / 'predictions'
        )
    print_files(files)


def print_files(files: Mapping[str, str | Path]) -> None:
    for name, path in files.items():
        CONSOLE.print(f'{name}: {path}')


def count_images(dataset: BaseDataset) -> int:
    """Number of distinct images of a data set, or of its samples if they name no files."""
    if getattr(dataset, 'bbox_file', None):  # a detector may find no person in some images
        return len(json.loads(Path(dataset.ann_file).read_text(encoding='utf-8'))['images'])
    try:
        return len({dataset.get_data_info(index)['img_path'] for index in range(len(dataset))})
    except (AttributeError, KeyError):
        return len(dataset)
