"""The model card of published weights, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import mmengine
import torch
from mmengine.config import Config

import mmhrnet
from mmhrnet.checkpoints.places import HUB
from mmhrnet.config.build import input_size
from mmhrnet.errors import plural
from mmhrnet.terminal import markdown_table
from mmhrnet.walk import dicts
from mmhrnet.zoo.card_data import Facts, card_data, describe_data, is_drawn
from mmhrnet.zoo.complexity import count

RECIPE = ('train_dataloader', 'optim_wrapper', 'train_cfg', 'param_scheduler', 'randomness')
CARD = """---
{{ card_data }}
---

# {{ title }}

## Model

{{ model }}

## Results

{{ results }}

## Training

{{ training }}

## File

{{ properties }}

## Use

Look at it, test it, or train on from it:

```
python tools/demo.py IMAGE --checkpoint {{ checkpoint }}
python tools/test.py {{ checkpoint }}
{%- if repository %}
hf download {{ repository }} {{ config }} --local-dir .
{%- endif %}
python tools/train.py {{ config }} --cfg-options load_from={{ checkpoint }}
```

Its backbone in a config of any host:

```python
custom_imports = dict(imports=['mmhrnet'])
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{{ checkpoint }}')))
```

In Python:
{% if described %}
```python
import mmhrnet

network = mmhrnet.create_model('{{ checkpoint }}')  # a PyTorch module
```
{% endif %}
```python
from mmhrnet.apis import Predictor, read_image

predictor = Predictor(checkpoint='{{ checkpoint }}')
print(predictor(read_image('image.jpg')).found)
```

## Licence

{{ license }}, for code and weights. The licence of the training data applies too: it may limit how
the weights may be used.
"""

DRAWN = ' They say that the training works, and cannot be compared with published figures.'
UNKNOWN = 'The checkpoint did not say how these weights were trained.'

Row = tuple[str, str]  # of a table; it is left out if the second cell is empty


def write_card(
    facts: Facts,
    path: Path,
    size: int,
    digest: str,
    repository: str = '',
    *,
    described: bool = False,
) -> str:
    """The model card as Markdown, with a head for the Hugging Face Hub.

    Args:
        facts: Its contents.
        path: The file of the weights.
        size: Bytes of the file.
        digest: Its SHA-256.
        repository: On the Hub, for the card there: what it shows takes the weights from there.
        described: Whether the repository has a ``config.json``, which ``create_model`` builds.
    """
    from huggingface_hub import ModelCard  # a fifth of a second

    versions = (f'{m.__name__} {m.__version__}' for m in (mmhrnet, torch, mmengine))
    file = [
        ('size', f'{size / 1e6:.1f} MB'),
        ('sha256', f'`{digest}`'),
        ('written with', ', '.join(versions)),
    ]
    card = ModelCard.from_template(
        card_data(facts),
        template_str=CARD,
        title=path.stem,
        model=_table(_model_rows(facts)),
        results=_results(facts),
        training=_table(_recipe(facts.trained, facts.meta)) if facts.trained else UNKNOWN,
        properties=_table(file),
        config=path.with_suffix('.py').name,
        checkpoint=f'{HUB}{repository}' if repository else path.name,
        repository=repository,
        described=described,
        license=facts.license,
    )
    return f'{card}\n'


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
    note = f'Measured on {describe_data(facts.trained, "val_dataloader")}.'
    return f'{table}\n\n{note}{DRAWN if is_drawn(facts.trained, "val_dataloader") else ""}'


def _recipe(cfg: Config, meta: Mapping[str, object]) -> list[Row]:
    """The training; a cell is empty where the config says nothing."""
    loader, wrapper, loop, schedulers, seed = (cfg.get(name) or {} for name in RECIPE)
    schedulers = [schedulers] if 'type' in schedulers else schedulers
    steps = [step for part in dicts(loader) for step in part.get('pipeline', ())]
    loaded = '' if cfg.get('resume') else Path(str(cfg.get('load_from') or '')).name
    inits = [(part.get('init_cfg') or {}).get('checkpoint') for part in dicts(cfg.model)]
    averages = [hook for hook in cfg.get('custom_hooks') or () if hook.get('type') == 'EMAHook']
    return [
        ('data', describe_data(cfg, 'train_dataloader')),
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
