"""Trained checkpoints as files for others, each with a model card."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from filecmp import cmp
from logging import INFO, WARNING
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor, nn

from mmhrnet.checkpoints import CheckpointError, fit, read_config, save, state_of, take, unwrap
from mmhrnet.checkpoints.places import MODEL
from mmhrnet.config.build import build_tensor_model
from mmhrnet.config.stored import make_config_for
from mmhrnet.download import digest_of
from mmhrnet.errors import ConfigError
from mmhrnet.files import writing
from mmhrnet.terminal import CONSOLE
from mmhrnet.training.curves import best_values, read_scalars
from mmhrnet.zoo.card import write_card
from mmhrnet.zoo.card_data import Facts
from mmhrnet.zoo.network import describe_network
from mmhrnet.zoo.push import check_repository
from mmhrnet.zoo.push import push as push_files

LICENSE = 'Apache-2.0'
Format = Literal['safetensors', 'pth']
FORMATS = get_args(Format)
STORED = {'cfg', 'config'}  # where trainings keep their config, now and before 2022
OF_THE_RUN = ('work_dir', 'load_from', 'resume', 'launcher')  # settings of no use to others


def publish(
    checkpoint: str | Path,
    out_dir: str | Path,
    *,
    config: str | Path | None = None,
    format: Format = 'safetensors',
    metrics: Mapping[str, float] | None = None,
    license: str = LICENSE,
    raw: bool = False,
    swap: bool = False,
    cfg_options: Mapping[str, object] | None = None,
    push: str | None = None,
    private: bool = False,
) -> Path:
    """Writes ``<config>-<first 8 of its sha256>.<format>``, its config ``.py`` and card ``.md``.

    The file contains the weights, the config and the description of the data set (classes, colours,
    joints), and nothing else of the training. The same input gives the same bytes. On the Hugging
    Face Hub, ``model.safetensors``, ``config.json``, ``README.md`` and the config make a repository
    that ``hf://user/model`` names.

    Args:
        checkpoint: File that a training wrote, also one of a loop of your own: weights of any names
            that :func:`mmhrnet.checkpoints.fit` knows.
        out_dir: Folder for the three files, made if absent.
        config: Config that it was trained with; None takes the one that the checkpoint contains.
        format: One of ``FORMATS``.
        metrics: Values by name; None takes those in the logs of the checkpoint's work folder.
        license: Licence of the weights.
        raw: Of a run with ``EMAHook``, take the raw weights instead of the averaged ones, which
            were validated.
        swap: Put mmhrnet in the place of the host's HRNet in ``config``.
        cfg_options: Settings over the config.
        push: A repository of the Hub, ``user/model``, that gets the same; the files stay here.
        private: Nobody else sees the repository; one that is public already is refused.

    Returns:
        The file.

    Raises:
        ConfigError: The weights do not fit the config or are not finite, or another file is there.
        CheckpointError: The checkpoint cannot be read safely.
        FileNotFoundError: No such checkpoint.
        PushError: The Hub did not get the files.
    """
    repository = _check_push(push, private, format)
    cfg, file = make_config_for(config, checkpoint, swap=swap, cfg_options=cfg_options)
    checkpoint = file or checkpoint
    content = take(checkpoint)
    state = choose_weights(content, raw)
    with torch.device('meta'):
        model = build_tensor_model(deepcopy(cfg)).eval()
    if not state.keys() & model.model.state_dict().keys():  # the names of another library
        state, report = fit(unwrap(content), model.model)
        print_log(str(report), 'current', WARNING if report.notes else INFO)
    check_weights(state, model.model)
    meta = content.get('meta') or {}
    recipe, text = trained_config(meta, cfg)
    trained = recipe if meta.keys() & STORED else None
    results = {name: (value, '') for name, value in (metrics or {}).items()}
    if not results and not raw:  # the averaged ones were validated
        results = logged_metrics(Path(checkpoint).parent, meta)
    facts = Facts(Path(cfg.filename), cfg, trained, model, meta, results, license)
    public: dict[str, object] = {'cfg': text}
    if 'dataset_meta' in meta:
        public['dataset_meta'] = meta['dataset_meta']
    path = _write({'state_dict': state, 'meta': public}, Path(out_dir), format, facts)
    if repository:
        described = describe_network(cfg, state)
        files = _on_hub(path, facts, described, repository)
        CONSOLE.print(f'pushed: {push_files(repository, path.parent, files, private=private)}')
    return path


def _check_push(push: str | None, private: bool, format: Format) -> str:
    if push is None and private:
        raise ConfigError('--private is for --push')
    if push and format != 'safetensors':
        raise ConfigError('--push takes --format safetensors: loaders look for model.safetensors')
    return check_repository(push) if push else ''


def _on_hub(
    path: Path, facts: Facts, described: Mapping[str, object] | None, repository: str
) -> dict[str, Path | str]:
    """What a repository gets, by the names that loaders look for."""
    named = path.with_name(f'{facts.config.stem}.py')
    size, digest = path.stat().st_size, digest_of(path)
    card = write_card(facts, named, size, digest, repository, described=bool(described))
    files: dict[str, Path | str] = {MODEL: path, named.name: path.with_suffix('.py')}
    if described:
        files['config.json'] = json.dumps(described, indent=2)
    return {**files, 'README.md': card}


def choose_weights(content: object, raw: bool = False) -> dict[str, Tensor]:
    """The weights that were validated, or the raw ones behind an average.

    MMEngine's ``EMAHook`` swaps them when it saves: ``state_dict`` has the averaged ones, and
    ``ema_state_dict`` the raw ones, under the prefix ``module.``.

    Raises:
        CheckpointError: It is not a checkpoint.
        ConfigError: The checkpoint has no such weights.
    """
    state = state_of(content)
    if raw:
        if not isinstance(content, dict) or 'ema_state_dict' not in content:
            raise ConfigError(
                '--raw needs a checkpoint that EMAHook wrote; this one has no ema_state_dict'
            )
        inner = {name.removeprefix('module.'): t for name, t in content['ema_state_dict'].items()}
        state = {name: inner.get(name, tensor) for name, tensor in state.items()}
    tensors = {name: t for name, t in state.items() if isinstance(t, Tensor)}
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def check_weights(state: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raises a ConfigError unless the tensors are exactly the model's, and all finite."""
    wanted = model.state_dict()
    other = [n for n in state if n in wanted and state[n].shape != wanted[n].shape]
    shapes = [f'{n} {tuple(state[n].shape)} not {tuple(wanted[n].shape)}' for n in other]
    problems = {
        'missing in the checkpoint': [name for name in wanted if name not in state],
        'unknown to the config': [name for name in state if name not in wanted],
        'of another shape': shapes,
    }
    found = [f'{len(names)} {what} ({_first(names)})' for what, names in problems.items() if names]
    if found:
        raise ConfigError(
            f'The weights do not fit the config: {"; ".join(found)}. Give the config '
            'that the training left in its work folder'
        )
    wrong = [n for n, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if wrong:
        raise ConfigError(f'{len(wrong)} of the tensors contain NaN or infinity: {_first(wrong)}')


def _first(names: list[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def trained_config(meta: Mapping[str, object], cfg: Config) -> tuple[Config, str]:
    """The config of the training and its text: the checkpoint's own, else the given one.

    The text is read as data, never run. It lacks the settings of the run and the user's home.
    """
    text = meta.get('cfg')
    if not isinstance(text, str):
        text = cfg.pretty_text
    try:
        settings = read_config(text)
    except CheckpointError:  # it contains a program, which is not passed on
        return cfg, cfg.pretty_text
    lines, nodes = text.splitlines(), ast.parse(text).body
    for name, node in reversed(list(zip(settings, nodes))):
        if name in OF_THE_RUN:
            del lines[node.lineno - 1 : node.end_lineno]
    return Config(settings), '\n'.join(lines).replace(str(Path.home()), '~') + '\n'


def logged_metrics(work_dir: Path, meta: Mapping[str, object]) -> dict[str, tuple[float, str]]:
    """Metrics of a work folder with their step: the checkpoint's own, else the best of the run."""
    tests = [record for record in read_scalars(work_dir) if 'loss' not in record]
    tests = [r for r in tests if r['step'] in (meta.get('iter'), meta.get('epoch'))] or tests
    return {
        name: (value, next(f'step {r["step"]}' for r in tests if r.get(name) == value))
        for name, value in best_values(tests).get('best', {}).items()
    }


def _write(content: dict[str, dict], out_dir: Path, format: Format, facts: Facts) -> Path:
    with writing(out_dir), _folder_in(out_dir) as folder:
        file, config, card = (Path(folder, name) for name in (f'new.{format}', 'new.py', 'new.md'))
        save(content, file)
        config.write_text(content['meta']['cfg'], encoding='utf-8')
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        path = out_dir / f'{facts.config.stem}-{digest[:8]}.{format}'
        card.write_text(write_card(facts, path, file.stat().st_size, digest), encoding='utf-8')
        places = {new: path.with_suffix(new.suffix) for new in (file, config, card)}
        taken = [old for new, old in places.items() if old.exists() and not cmp(new, old, False)]
        if taken:
            raise ConfigError(f'{taken[0]} exists with other content: move it first')
        for source, target in places.items():
            source.replace(target)
    return path


def _folder_in(out_dir: Path) -> TemporaryDirectory[str]:
    out_dir.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(dir=out_dir, prefix='.')
