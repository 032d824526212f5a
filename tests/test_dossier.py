"""Each published weight in one row, from files that say where their figures are from."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_settings import PREPROCESSED

from mmhrnet.checkpoints import places
from mmhrnet.config.load import load_config
from mmhrnet.config.settings import settings_of, settings_of_weights
from mmhrnet.datasets import mini_root
from mmhrnet.errors import ConfigError
from mmhrnet.files import UNFINISHED
from mmhrnet.hub import published
from mmhrnet.zoo import evaluate as zoo
from mmhrnet.zoo.dossier import make_report, write_report
from mmhrnet.zoo.evaluate import Entry, all_entries, benchmark_zoo
from mmhrnet.zoo.results import read_results

ROOT = Path(__file__).resolve().parents[1]
NAMES = ('first', 'absent', 'third')  # configs; nobody has the weights of the second
CACHED = (
    places.known_weights,
    published.metafile_models,
    published.published_weights,
    settings_of_weights,
)


class Zoo:
    """A zoo of small networks: its tables, its data, and two of its three weights.

    Attributes:
        files: Names of the weights.
        results: Folder for result files.
    """

    def __init__(self, root: Path, config: Path, weights: dict[str, Path]) -> None:
        self.results, self.data = root / 'results', root / 'sets'
        self.files = [path.name for path in weights.values()]
        folder = root / 'configs/mmpretrain'
        folder.mkdir(parents=True)
        data = "dict(dataset=dict(data_root='data/drawn', indices=6))"
        for name in NAMES:
            text = f'_base_ = {str(config)!r}\ntest_dataloader = {data}\n'
            (folder / f'{name}.py').write_text(text)
        models = [self._model(name, file) for name, file in zip(NAMES, self.files)]
        (folder / 'metafile.yml').write_text(yaml.safe_dump({'Models': models}))
        entries = {file: {'sha256': None} for file in self.files}
        (folder / 'weights.yml').write_text(yaml.safe_dump(entries))
        index = {'Import': ['configs/mmpretrain/metafile.yml']}
        (root / 'model-index.yml').write_text(yaml.safe_dump(index))
        self.data.mkdir()
        (self.data / 'drawn').symlink_to(mini_root())
        (root / 'weights').mkdir()
        for name in ('first', 'third'):
            (root / 'weights' / weights[name].name).symlink_to(weights[name])

    @staticmethod
    def _model(name: str, file: str) -> dict[str, Any]:
        figures = {'Top 1 Accuracy': 25.0}
        result = dict(Task='Image Classification', Dataset='-', Source='them', Metrics=figures)
        return {
            'Name': name,
            'Config': f'configs/mmpretrain/{name}.py',
            'Metadata': {'Training Data': 'scenes', 'Parameters': 1_000_000, 'FLOPs': 10**9},
            'Results': [result],
            'Weights': f'http://127.0.0.1:9/{file}',  # where nobody answers
        }

    def evaluate(self, **options: Any) -> dict[str, str]:
        """Evaluates all; the error of each config, or ''."""
        rows = benchmark_zoo(
            all_entries(self.data), out=self.results.parent / 'out', results=self.results, **options
        )
        return {row.config: row.error for row in rows}


def forget() -> None:
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory, untrained: Callable) -> dict[str, Path]:
    """Files whose names end in the digits of their SHA-256, by the name of their config."""
    found, folder = {}, tmp_path_factory.mktemp('weights')
    state = torch.load(untrained('mmpretrain').checkpoint, weights_only=True)['state_dict']
    for name in NAMES:
        state['head.fc.bias'] += 1  # another file
        path = folder / 'new.pth'
        torch.save({'state_dict': state}, path)
        digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        found[name] = path.rename(folder / f'{name}-{digits}.pth')
    return found


@pytest.fixture
def tiny(
    tmp_path: Path,
    untrained: Callable,
    weights: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Zoo]:
    monkeypatch.setattr(published, 'ROOT', tmp_path)
    monkeypatch.setattr(places, 'CONFIGS', tmp_path / 'configs')
    monkeypatch.setenv('MMHRNET_WEIGHTS', str(tmp_path / 'weights'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    forget()
    yield Zoo(tmp_path, untrained('mmpretrain').config, weights)
    forget()


@pytest.fixture(scope='module')
def results() -> dict[str, str]:
    """The texts of result files, which are the same in each of these zoos."""
    return {}


@pytest.fixture
def measured(tiny: Zoo, results: dict[str, str]) -> Zoo:
    """A zoo whose weights were evaluated, once for all tests."""
    if not results:
        tiny.evaluate(by='A. Tester')
        results |= {path.name: path.read_text() for path in tiny.results.iterdir()}
    tiny.results.mkdir(exist_ok=True)
    for name, text in results.items():
        (tiny.results / name).write_text(text)
    return tiny


def result_of(tiny: Zoo, name: str) -> Path:
    (path,) = tiny.results.glob(f'{name}-*.json')
    return path


def test_all_are_evaluated_and_a_stopped_run_goes_on(
    tiny: Zoo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated: list[str] = []
    original = zoo.evaluate

    def stop(entry: Entry, *arguments: Any) -> published.Evaluation:
        evaluated.append(Path(entry.config).stem)
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        return original(entry, *arguments)

    monkeypatch.setattr(zoo, 'evaluate', stop)
    with pytest.raises(KeyboardInterrupt):
        tiny.evaluate(by='A. Tester')
    assert evaluated == ['first', 'third']
    first = result_of(tiny, 'first')
    before = first.read_bytes()
    (tiny.results / f'{UNFINISHED}1.first.json').write_text('{')  # of a process that was killed

    errors = tiny.evaluate(by='Somebody else')
    assert evaluated == ['first', 'third', 'third']
    assert errors['first'] == errors['third'] == ''
    assert tiny.files[1] in errors['absent']
    assert f'skipped: {first} is of the same weights, data and config' in capsys.readouterr().out
    assert first.read_bytes() == before
    table = json.loads((tiny.results.parent / 'out/results.json').read_text())['rows']
    assert [bool(row['error']) for row in table] == [False, True, False]
    (value,) = json.loads(before)['metrics'].values()
    assert table[0]['measured'] == round(value, 2)
    assert table[0]['published'] == 25.0
    assert len(read_results(tiny.results)) == 2


def test_a_config_that_cannot_be_read_does_not_stop_the_others(tiny: Zoo) -> None:
    config = tiny.results.parent / 'configs/mmpretrain/first.py'
    config.write_text("_base_ = 'gone.py'\n")
    errors = tiny.evaluate(by='A. Tester')
    assert 'first.py cannot be read' in errors['first']
    assert errors['third'] == ''


def test_a_result_says_where_it_is_from(measured: Zoo) -> None:
    said = json.loads(result_of(measured, 'first').read_text())
    file = measured.results.parent / 'weights' / measured.files[0]
    inputs = said['inputs']
    assert inputs['weights'] == inputs['file'] == file.name
    assert inputs['sha256'] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert inputs['data']['images'] == 6
    assert inputs['data']['annotations'].keys() == {'classes'}
    assert said['versions']['torch'].startswith('torch 2.')
    assert said['versions']['host'].startswith('mmpretrain ')
    assert said['date'] == datetime.date.today().isoformat()
    assert said['by'] == 'A. Tester'
    assert said['device']
    (value,) = said['metrics'].values()
    assert 0 <= value <= 100


def test_other_inputs_are_another_result(measured: Zoo) -> None:
    path = measured.results.parent / 'configs/mmpretrain/first.py'
    path.write_text(path.read_text().replace('indices=6', 'indices=5'))
    measured.evaluate(by='A. Tester')
    results = [r.inputs for r in read_results(measured.results).values() if r.config == 'first']
    assert sorted(inputs.data.images for inputs in results) == [5, 6]
    assert results[0].data.annotations != results[1].data.annotations
    assert results[0].settings != results[1].settings
    report = make_report(measured.results)['README.md']
    (line,) = (line for line in report.splitlines() if line.startswith('| [first]'))
    assert line.count('Top 1 Accuracy') == 3  # published, and twice measured


def test_the_report_has_only_what_was_measured(measured: Zoo) -> None:
    texts = make_report(measured.results)
    assert 'Of 3 published files, 2 were measured again' in texts['README.md']
    first, absent, third = csv.DictReader(texts['zoo.csv'].splitlines())
    assert (absent['measured'], absent['measured_with'], absent['latency']) == ('', '', '')
    assert absent['published'] == 'Top 1 Accuracy 25'
    assert (first['source'], first['sha256'], first['channels']) == ('them', '', 'RGB')
    assert first['measured'].startswith('Top 1 Accuracy ')
    assert 'A. Tester' in first['measured_with']
    assert 'torch ' in third['measured_with']
    assert f'| {measured.files[0]} | {first["measured"]} | classes ' in texts['README.md']


def test_latencies_are_shown_with_their_provenance(measured: Zoo) -> None:
    said = json.loads(result_of(measured, 'first').read_text())
    times = {key: said[key] for key in ('config', 'versions', 'device', 'date', 'by')}
    times |= dict(kind='latency', runtime='ONNX Runtime', precision='int8', threads=2, batch=1)
    times |= dict(shape=[64, 64], milliseconds=12.34)
    path = measured.results / 'first.int8.json'
    path.write_text(json.dumps(times))
    page, table = map(make_report(measured.results).get, ('README.md', 'zoo.csv'))
    assert '| ONNX Runtime int8: 12.3 ms (1 x 64x64) |' in page
    assert ',"ONNX Runtime int8: 12.3 ms (1 x 64x64), 2 threads, ' in table
    assert '| first | ONNX Runtime, int8 | 1 x 64x64 | 2 | 12.3 | Python ' in page
    path.write_text(json.dumps(dict(times, precision='fp64')))
    with pytest.raises(ConfigError, match=r"first\.int8\.json, precision: Input should be 'fp32'"):
        make_report(measured.results)
    path.write_text(json.dumps(dict(times, config='second')))
    with pytest.raises(ConfigError, match='config: no metafile has second'):
        make_report(measured.results)


def drop(*keys: str) -> Callable[[dict], object]:
    def edit(said: dict[str, Any]) -> None:
        for key in keys[:-1]:
            said = said[key]
        del said[keys[-1]]

    return edit


FAULTS: dict[str, tuple[Callable[[dict], object], str]] = {
    'nobody': (drop('by'), 'by: Field required'),
    'no name': (lambda said: said.update(by=''), 'by: String should have at least 1 char'),
    'no date': (drop('date'), 'date: Field required'),
    'no version': (drop('versions', 'mmcv'), 'versions.mmcv: Field required'),
    'no digest': (drop('inputs', 'sha256'), 'inputs.sha256: Field required'),
    'no data': (drop('inputs', 'data', 'annotations'), 'inputs.data.annotations: Field required'),
    'empty data': (lambda said: said['inputs']['data'].update(annotations={}), 'annotations: Dic'),
    'other file': (
        lambda said: said['inputs'].update(sha256='0' * 64),
        r'inputs\.sha256: the SHA-256 of first-\w{8}\.pth begins with \w{8}',
    ),
    'other weights': (
        lambda said: said['inputs'].update(weights='mine.pth', file='mine.pth'),
        r'inputs\.weights: mine\.pth are no published weights of first',
    ),
    'other config': (lambda said: said.update(config='third'), 'no published weights of third'),
    'a field more': (lambda said: said.update(note='x'), 'note: Extra inputs are not permitted'),
    'no figure': (lambda said: said.update(metrics={}), 'metrics: Dictionary should have at least'),
    'NaN': (lambda said: said['metrics'].update(a=float('nan')), r'metrics\.a: '),
    'text': (lambda said: said['metrics'].update(a='good'), r'metrics\.a: Input should be a valid'),
    'kind': (
        lambda said: said.update(kind='guess'),
        "Input tag 'guess' found using 'kind'",
    ),
    'two faults': (lambda said: [said.pop('by'), said.pop('date')], r'\(1 more fault\)'),
}


@pytest.fixture(scope='module')
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One that is right, of the tiny zoo; its weights are set where it is used."""
    versions = dict.fromkeys(('python', 'torch', 'mmengine', 'mmcv', 'host', 'mmhrnet'), 'x 1')
    data = dict(annotations={'classes': 'a' * 64}, images=6)
    inputs = dict(weights='', file='', sha256='', settings='b' * 64, data=data)
    return dict(
        kind='evaluation',
        config='first',
        versions=versions,
        device='a processor',
        date='2026-01-02',
        by='A. Tester',
        inputs=inputs,
        metrics={'accuracy/top1': 24.5},
    )


@pytest.mark.parametrize('fault', FAULTS)
def test_a_figure_without_provenance_is_refused(
    fault: str, tiny: Zoo, result: dict[str, Any]
) -> None:
    said = json.loads(json.dumps(result))
    file = tiny.files[0]
    digest = hashlib.sha256((tiny.results.parent / 'weights' / file).read_bytes()).hexdigest()
    said['inputs'].update(weights=file, file=file, sha256=digest)
    tiny.results.mkdir()
    path = tiny.results / 'one.json'
    path.write_text(json.dumps(said))
    assert len(read_results(tiny.results)) == 1
    edit, message = FAULTS[fault]
    edit(said)
    path.write_text(json.dumps(said))
    with pytest.raises(ConfigError, match=message) as error:
        make_report(tiny.results)
    assert str(error.value).startswith(str(path))
    assert '\n' not in str(error.value)
    with pytest.raises(ConfigError, match=message):  # before anything is evaluated
        tiny.evaluate(by='A. Tester')


def test_what_is_no_json_is_told(tiny: Zoo) -> None:
    tiny.results.mkdir()
    (tiny.results / 'one.json').write_text('{"kind": ')
    with pytest.raises(ConfigError, match=r'one\.json: Invalid JSON'):
        make_report(tiny.results)
    with pytest.raises(ConfigError, match='There is no folder'):
        make_report(tiny.results / 'other')


def test_somebody_has_to_measure(tiny: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.data)
    monkeypatch.setenv('GIT_CONFIG_NOSYSTEM', '1')
    monkeypatch.setenv('GIT_CONFIG_GLOBAL', str(tiny.data / 'gitconfig'))
    monkeypatch.setenv('GIT_CEILING_DIRECTORIES', '/')
    with pytest.raises(ConfigError, match='Say who measures: --by NAME'):
        tiny.evaluate()
    assert not tiny.results.exists()
    (tiny.data / 'gitconfig').write_text('[user]\nname = G. Committer\n')
    assert zoo.Recorder(tiny.results).by == 'G. Committer'
    monkeypatch.setenv('PATH', '')
    with pytest.raises(ConfigError, match='Say who measures'):
        zoo.Recorder(tiny.results)


def test_own_weights_and_training_data_have_no_place_in_it(tiny: Zoo, untrained: Callable) -> None:
    entry = all_entries(tiny.data)[0]._replace(checkpoint=str(untrained('mmpretrain').checkpoint))
    out = tiny.results.parent / 'out'
    (row,) = benchmark_zoo([entry], out=out, results=tiny.results, by='A. Tester')
    assert row.error.endswith('are not published for first: leave out --results')
    assert not list(tiny.results.iterdir())
    with pytest.raises(ConfigError, match='leave out --split train'):
        benchmark_zoo([entry], out=out, results=tiny.results, by='A. Tester', split='train')


def test_a_file_under_the_name_of_a_published_one_is_not_it(tiny: Zoo) -> None:
    first, _, third = tiny.files
    weights = tiny.results.parent / 'weights'
    (weights / first).unlink()
    (weights / first).symlink_to((weights / third).resolve())
    errors = tiny.evaluate(by='A. Tester')
    assert errors['first']
    assert errors['third'] == ''
    assert [path.name[:5] for path in tiny.results.iterdir()] == ['third']


def test_the_command_evaluates_and_reports(
    tiny: Zoo, run_tool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.results.parent)
    flags = ('--all', '--data-root', tiny.data, '--by', 'A. Tester')
    with pytest.raises(SystemExit, match=r'^2$'):  # of the second, nobody has the weights
        run_tool('benchmark_zoo', *flags)
    assert len(list(Path('docs/zoo/results').iterdir())) == 2
    write_report()
    assert sorted(path.name for path in Path('docs/zoo').iterdir()) == [
        'README.md',
        'results',
        'zoo.csv',
    ]


def test_the_zoo_is_what_its_raw_files_say() -> None:
    """Renew it with ``python -m mmhrnet zoo report``."""
    folder = ROOT / 'docs/zoo'
    for name, text in make_report(folder / 'results').items():
        assert (folder / name).read_text(encoding='utf-8') == text, name
    rows = list(csv.DictReader((folder / 'zoo.csv').read_text().splitlines()))
    assert {row['config'] for row in rows} == {path.stem for path in ROOT.glob('configs/mm*/*.py')}
    assert len({row['weights'] for row in rows} - {''}) == 72
    built = {settings_of(load_config(ROOT / config))[:3] for config in PREPROCESSED}
    inputs = {
        (row['channels'], *(tuple(map(float, row[key].split())) for key in ('mean', 'std')))
        for row in rows
    }
    assert inputs == built  # test_settings.py builds these
