"""The model card of published weights, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mmengine
import torch
from mmengine.config import Config
from torch import nn

import mmhrnet
from mmhrnet.config.build import input_size
from mmhrnet.datasets.mini import is_mini
from mmhrnet.errors import plural
from mmhrnet.terminal import markdown_table
from mmhrnet.walk import datasets, dicts
from mmhrnet.zoo.complexity import count

RECIPE = ('train_dataloader', 'optim_wrapper', 'train_cfg', 'param_scheduler', 'randomness')
CARD = """# {title}

## Model

{model}

## Results

{results}

## Training

{training}

## File

{properties}

## Use

Look at it, test it, or train on from it:

```
python tools/demo.py IMAGE --checkpoint {file}
python tools/test.py {file}
python tools/train.py {config} --cfg-options load_from={file}
```

Its backbone in a config of any host:

```python
custom_imports = dict(imports=['mmhrnet'])
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{file}')))
```

In Python:

```python
from mmhrnet.apis import Predictor, read_image

predictor = Predictor(checkpoint='{file}')
print(predictor(read_image('image.jpg')).found)
```

## Licence

{license}, for code and weights. The licence of the training data applies too: it may limit how the
weights may be used.
"""

DRAWN = ' They say that the training works, and cannot be compared with published figures.'
UNKNOWN = 'The checkpoint did not say how these weights were trained.'

Row = tuple[str, str]  # of a table; it is left out if the second cell is empty


@dataclass(frozen=True)
class Facts:
    """The contents of a card.

    Attributes:
        config: File that the config is named after.
        cfg: Config that the weights fit.
        trained: Config of their training; None if the checkpoint does not contain it.
        model: The network.
        meta: What the checkpoint says of itself: the iteration and the epoch, if anything.
        results: Values with the step that they were measured at.
        license: Licence of the weights.
    """

    config: Path
    cfg: Config
    trained: Config | None
    model: nn.Module
    meta: Mapping[str, object]
    results: dict[str, tuple[float, str]]
    license: str


def write_card(facts: Facts, path: Path, size: int, digest: str) -> str:
    """The model card as Markdown."""
    versions = (f'{m.__name__} {m.__version__}' for m in (mmhrnet, torch, mmengine))
    file = [
        ('size', f'{size / 1e6:.1f} MB'),
        ('sha256', f'`{digest}`'),
        ('written with', ', '.join(versions)),
    ]
    return CARD.format(
        title=path.stem,
        model=_table(_model_rows(facts)),
        results=_results(facts),
        training=_table(_recipe(facts.trained, facts.meta)) if facts.trained else UNKNOWN,
        properties=_table(file),
        config=path.with_suffix('.py').name,
        file=path.name,
        license=facts.license,
    )


def _table(rows: Iterable[Row]) -> str:
    lines = [f'| {name} | {value.replace("|", "/")} |' for name, value in rows if value]
    return '\n'.join(['| | |', '|---|---|', *lines])


def _model_rows(facts: Facts) -> list[Row]:
    model, shape = facts.cfg.model, input_size(facts.cfg)
    counts = count(facts.model, (3, *shape))
    parts = [model[k] for k in model if k in ('backbone', 'neck') or k.endswith('head')]
    names = [part.type for p in parts if p for part in (p if isinstance(p, list) else [p])]
    whole = 'the network' if facts.model.with_head else 'backbone and neck'
    return [
        ('config', f'`{facts.config.name}`'),
        ('architecture', f'{model.type}: {", ".join(names)}'),
        ('HRNet', str(model.backbone.get('arch', 'as its extra says'))),
        ('input', f'{shape[0]} x {shape[1]} (H x W)'),
        ('parameters', f'{counts.params / 1e6:.2f} M'),
        (f'multiply-adds of {whole}', f'{counts.macs / 1e9:.2f} G'),
    ]


def _results(facts: Facts) -> str:
    """Without published figures: no checkpoint says how many images were validated."""
    if not facts.results:
        return 'Not measured.'
    rows = [(name, f'{value:.4g}', step) for name, (value, step) in facts.results.items()]
    table = markdown_table(('metric', 'value', 'measured at'), rows)
    if facts.trained is None:
        return table
    note = f'Measured on {_data(facts.trained, "val_dataloader")}.'
    return f'{table}\n\n{note}{DRAWN if _is_drawn(facts.trained, "val_dataloader") else ""}'


def _is_drawn(cfg: Config, loader: str) -> bool:
    return any(is_mini(dataset.get('data_root') or '') for dataset in datasets(cfg, (loader,)))


def _data(cfg: Config, loader: str) -> str:
    found = datasets(cfg, (loader,))
    names = [f'{d.type}, {d.get("ann_file") or d.get("data_prefix", "")}' for d in found]
    text = '; '.join(dict.fromkeys(names))
    return f'the drawn scenes of `mmhrnet mini` ({text})' if _is_drawn(cfg, loader) else text


def _recipe(cfg: Config, meta: Mapping[str, object]) -> list[Row]:
    """The training; a cell is empty where the config says nothing."""
    loader, wrapper, loop, schedulers, seed = (cfg.get(name) or {} for name in RECIPE)
    schedulers = [schedulers] if 'type' in schedulers else schedulers
    steps = [step for part in dicts(loader) for step in part.get('pipeline', ())]
    loaded = '' if cfg.get('resume') else Path(str(cfg.get('load_from') or '')).name
    inits = [(part.get('init_cfg') or {}).get('checkpoint') for part in dicts(cfg.model)]
    averages = [hook for hook in cfg.get('custom_hooks') or () if hook.get('type') == 'EMAHook']
    return [
        ('data', _data(cfg, 'train_dataloader')),
        ('start', ', '.join(filter(None, [loaded, *inits])) or 'random weights'),
        ('length', _length(loop, meta)),
        ('batch size', f'{loader.get("batch_size")} images a device'),
        ('optimizer', _call(wrapper.get('optimizer') or {})),
        ('gradient clipping', _arguments(wrapper.get('clip_grad') or {})),
        ('precision', 'mixed' if wrapper.get('type') == 'AmpOptimWrapper' else ''),
        ('learning rate', '<br>'.join(map(_call, schedulers))),
        ('averaged weights', ', '.join(map(_call, averages))),
        ('augmentations', '<br>'.join(map(_call, steps))),
        ('seed', str(seed.get('seed', ''))),
    ]


def _length(loop: Mapping[str, object], meta: Mapping[str, object]) -> str:
    """What is behind the checkpoint, of what its config plans."""
    parts = []
    for unit, key in {'iteration': 'iter', 'epoch': 'epoch'}.items():
        count, of = meta.get(key), loop.get(f'max_{key}s')
        if isinstance(count, int) and (of or unit == 'iteration'):
            parts.append(f'{count} of {plural(of, unit)}' if of else plural(count, unit))
        elif of:
            parts.append(f'{plural(of, unit)} planned')
    return ', '.join(parts)


def _call(part: Mapping[str, object]) -> str:
    """A part of a config as Python would write it, without its nested parts."""
    return f'{part["type"]}({_arguments(part)})' if part else ''


def _arguments(part: Mapping[str, object]) -> str:
    plain = {k: v for k, v in part.items() if not isinstance(v, dict)}
    return ', '.join(f'{k}={v!r}' for k, v in plain.items() if k not in ('type', '_scope_'))
