"""Curves and figures of runs: one, several, killed ones, and what a user gets wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from PIL import Image

from mmhrnet import apis
from mmhrnet.training.curves import LogError, plot_curves, plot_runs, read_scalars, runs_table

ROOT = Path(__file__).resolve().parents[1]
MASK = ROOT / 'configs/mmdet/mask-rcnn_hrnetv2p-w18-1x_coco.py'
BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # matplotlib's first two colours


def records(scale: float) -> list[dict]:
    times = dict(time=0.2 * scale, data_time=0.05 * scale, memory=1000)
    train = [
        dict(
            step=i, iter=i, lr=0.1 / i, loss=scale / i, loss_cls=0.5 * scale / i, acc=50.0, **times
        )
        for i in range(1, 11)
    ]
    return [*train[:5], {'step': 5, 'coco/AP': 0.4}, *train[5:], {'step': 10, 'coco/AP': 0.3}]


def write_run(folder: Path, scalars: list[dict], date: str = '20250101_000000') -> Path:
    path = folder / date / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(map(json.dumps, scalars)) + '\n')
    return folder


def figures(table: object) -> dict[str, list[str]]:
    rows = zip(*(column.cells for column in table.columns))
    return {name: values for name, *values in rows}


def has_color(path: Path, color: tuple[int, int, int]) -> bool:
    return bool((np.asarray(Image.open(path).convert('RGB')) == color).all(axis=-1).any())


def test_a_run_amounts_to_its_medians_last_window_last_and_best() -> None:
    rows = figures(runs_table({'one': records(1)}))
    assert rows['iterations'] == ['10']
    assert rows['time per iteration, ms'] == ['200.0']
    assert rows['of it for data, %'] == ['25.00']
    assert rows['memory, MiB'] == ['1,000']
    assert rows['loss, last'] == [f'{np.mean([1 / i for i in range(6, 11)]):#.4g}']
    assert rows['coco/AP, last'] == ['0.3000']
    assert rows['coco/AP, best'] == ['0.4000']


def test_two_runs_have_difference_and_ratio() -> None:
    rows = figures(runs_table({'one': records(1), 'two': records(2)}, ['loss']))
    assert rows['time per iteration, ms'] == ['200.0', '400.0', '+200.0', '2.000']
    assert rows['loss, last'][3] == '2.000'
    assert 'loss_cls, last' not in rows
    assert 'coco/AP, last' not in rows


def test_what_only_one_run_has_is_a_dash() -> None:
    losses = [record for record in records(1) if 'loss' in record]
    rows = figures(runs_table({'one': losses, 'two': records(1)}))
    assert rows['coco/AP, best'] == ['-', '0.4000', '-', '-']


def test_the_least_error_is_the_best() -> None:
    scalars = [{'step': 1, 'NME': 0.04}, {'step': 2, 'NME': 0.05}]
    assert figures(runs_table({'face': scalars}))['NME, best'] == ['0.04000']


def test_two_runs_are_two_colours_and_one_run_one_for_each_loss(tmp_path: Path) -> None:
    two = plot_runs({'one': records(1), 'two': records(3)}, tmp_path / 'two.png', ['loss'])
    one = plot_runs({'one': records(1)}, tmp_path / 'one.png', ['loss'])
    assert has_color(two, BLUE)
    assert has_color(two, ORANGE)
    assert not has_color(one, ORANGE)
    assert has_color(plot_curves(records(1), tmp_path / 'losses.png'), ORANGE)


def by_epochs(length: int, interval: int, epochs: int) -> list[dict]:
    """As MMEngine logs them: each ``interval`` iterations of an epoch, validations by epoch."""
    steps = [
        dict(epoch=epoch + 1, step=epoch * length + i, loss=1.0)
        for epoch in range(epochs)
        for i in range(interval, length + 1, interval)
    ]
    return [*steps, *({'step': epoch + 1, 'coco/AP': 0.02} for epoch in range(epochs))]


def panel(figure: Figure, title: str) -> Axes:
    return next(
        axes
        for axes in figure.axes
        if axes.get_legend() and axes.get_legend().get_title().get_text() == title
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written in the test."""
    figures: list[Figure] = []
    write = FigureCanvasAgg.print_png

    def spy(self: FigureCanvasAgg, path: str) -> None:
        figures.append(self.figure)
        write(self, path)

    monkeypatch.setattr(FigureCanvasAgg, 'print_png', spy)
    return figures


def test_epochs_and_iterations_have_one_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = {'epochs': by_epochs(117, 50, 12), 'iterations': records(1), 'one': by_epochs(9, 9, 1)}
    plot_runs(runs, tmp_path / 'runs.png')
    validation = panel(drawn[0], 'validation')
    assert validation.get_xlabel() == 'iteration'
    lines = {line.get_label(): line.get_xdata() for line in validation.lines}
    assert lines['epochs: AP'] == pytest.approx([117 * epoch for epoch in range(1, 13)])
    assert list(lines['iterations: AP']) == [5, 10]
    assert list(lines['one: AP']) == [9]


@pytest.mark.parametrize(('best', 'limit'), [(0.02, 0.022), (0.98, 1.02), (98.0, 102.0), (0, 1)])
def test_weak_runs_are_seen_and_nothing_is_better_than_all(
    best: float, limit: float, tmp_path: Path, drawn: list[Figure]
) -> None:
    plot_curves([dict(step=5, AP=best / 2), dict(step=9, AP=best)], tmp_path / 'curves.png')
    assert panel(drawn[0], 'validation').get_ylim() == pytest.approx((0, limit))


def test_a_legend_covers_no_curve(tmp_path: Path, drawn: list[Figure]) -> None:
    names = [f'loss_{"x" * index}' for index in range(1, 90, 9)]
    scalars = [dict(step=step, **dict.fromkeys(names, 1.0), loss=10.0) for step in (1, 2)]
    plot_curves([*scalars, {'step': 2, 'coco/AP': 0.4}], tmp_path / 'curves.png')
    for axes in drawn[0].axes:
        box = axes.get_window_extent()
        assert box.height > 150
        assert axes.get_legend().get_window_extent().y0 >= box.y1


def test_learning_rate_is_a_panel_below(tmp_path: Path) -> None:
    without = [{k: v for k, v in record.items() if k != 'lr'} for record in records(1)]
    high, low = (
        Image.open(plot_curves(scalars, tmp_path / f'{index}.png')).height
        for index, scalars in enumerate((records(1), without))
    )
    assert low < high < 1.5 * low


def test_a_negative_loss_is_drawn(tmp_path: Path) -> None:
    scalars = [dict(step=step, loss=-step) for step in range(1, 9)]
    assert has_color(plot_curves(scalars, tmp_path / 'rle.png'), BLUE)


def test_resumed_runs_are_one_and_what_repeats_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path, records(1))
    again = [dict(step=10, loss=9.0), dict(step=11, loss=8.0)]
    write_run(tmp_path, again, date='20250102_000000')
    losses = {r['step']: r['loss'] for r in read_scalars(tmp_path) if 'loss' in r}
    assert len(losses) == 11
    assert losses[10] == 9


def test_a_killed_run_loses_its_last_line_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_run(tmp_path, records(1)) / '20250101_000000/vis_data/scalars.json'
    with path.open('a') as file:
        file.write('{"step": 11, "lo')
    assert len(read_scalars(path)) == 12
    assert [record.getMessage() for record in caplog.records] == [
        f'{path}, line 13, is cut off and left out'
    ]


def test_a_broken_line_before_the_last_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'scalars.json'
    path.write_text('{"step": 1}\nnothing\n{"step": 2}\n')
    with pytest.raises(LogError, match=r'scalars\.json, line 2, is not a record'):
        read_scalars(path)


def test_tool_draws_and_prints(
    tmp_path: Path, run_tool: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    runs = [write_run(tmp_path / name, records(scale)) for name, scale in (('a', 1), ('b', 2))]
    out = tmp_path / 'new/out.png'
    run_tool('analyze_logs', *runs, '--keys', 'loss', 'coco/AP', '--out', out)
    assert [path.name for path in out.parent.iterdir()] == ['out.png']
    printed = capsys.readouterr().out
    for word in ('a and b', 'iterations', 'coco/AP, best', 'ratio', str(out)):
        assert word in printed


def test_runs_of_equal_names_are_named_by_their_paths(
    tmp_path: Path,
    run_tool: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [write_run(Path(name, 'run'), records(1)) for name in 'ab']
    run_tool('analyze_logs', *runs, '--out', 'out.png')
    assert 'a/run and b/run' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('analyze_logs', ('missing',), 'There is no folder missing'),
        ('analyze_logs', ('empty',), 'empty has no scalars'),
        ('analyze_logs', ('run', '--keys', 'los'), "No run has los: did you mean 'loss'?"),
        ('analyze_logs', ('run', '--keys', 'xyz'), 'There are: loss, acc, loss_cls, lr, coco/AP'),
        ('analyze_logs', ('run', '--out', 'out.jpg'), 'out.jpg is not a PNG'),
        ('print_config', ('no.py',), 'There is no config no.py'),
        ('print_config', (MASK, '--save-path', 'out.txt'), 'out.txt must end in .py, .json, .yml'),
        ('print_config', (MASK, '--data-root', 'nowhere'), 'nowhere is not a folder'),
        ('print_config', (MASK, '--save-path', 'file/out.py'), 'file'),
    ],
)
def test_tools_say_what_is_wrong_in_one_line(
    tool: str,
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    run_tool: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('empty').mkdir()
    Path('file').write_text('')
    write_run(Path('run'), records(1))
    with pytest.raises(SystemExit, match=r'^2$'):
        run_tool(tool, *arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'{tool}.py: ')
    assert message in line
    assert not list(tmp_path.glob('*.png'))


@pytest.mark.parametrize('flags', [(), ('--mini',), ('--from-scratch',)])
def test_a_printed_config_reads_as_the_one_that_trains(
    flags: tuple[str, ...],
    tmp_path: Path,
    run_tool: Callable[..., None],
    capsys: pytest.CaptureFixture,
) -> None:
    path = tmp_path / 'new/config.py'
    options = ('--cfg-options', 'train_dataloader.batch_size=3')
    run_tool('print_config', MASK, *flags, *options, '--save-path', path)
    made = apis.make_config(
        MASK,
        mini='--mini' in flags,
        from_scratch='--from-scratch' in flags,
        cfg_options={'train_dataloader.batch_size': 3},
    )
    assert Config.fromfile(path).to_dict() == made.to_dict()
    assert capsys.readouterr().out == f'{made.pretty_text}\n'
    assert [file.name for file in path.parent.iterdir()] == ['config.py']


@pytest.mark.parametrize('suffix', ['json', 'yml'])
def test_a_printed_config_is_saved_as_data_too(
    suffix: str, tmp_path: Path, run_tool: Callable[..., None]
) -> None:
    path = tmp_path / f'config.{suffix}'
    run_tool('print_config', MASK, '--data-root', tmp_path, '--save-path', path)
    assert Config.fromfile(path).test_dataloader.dataset.data_root == str(tmp_path)
