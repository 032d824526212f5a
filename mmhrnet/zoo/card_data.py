"""What a card says of published weights to the Hugging Face Hub: the YAML at its head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config
from torch import nn

from mmhrnet.datasets.mini import is_mini
from mmhrnet.hosts import host_of
from mmhrnet.hosts.host import Host, Metric
from mmhrnet.walk import datasets

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

MINI = 'mmhrnet-mini'
# The Hub's names of licences that weights have (its page "Licenses"); it refuses others.
LICENSES = {
    *('apache-2.0', 'mit', 'isc', 'unlicense', 'wtfpl', 'zlib', 'bsl-1.0', 'mpl-2.0', 'osl-3.0'),
    *('bsd', 'bsd-2-clause', 'bsd-3-clause', 'bsd-3-clause-clear', 'ms-pl', 'ncsa', 'postgresql'),
    *('gpl', 'gpl-2.0', 'gpl-3.0', 'lgpl', 'lgpl-2.1', 'lgpl-3.0', 'agpl-3.0', 'gfdl', 'afl-3.0'),
    *('cc', 'cc0-1.0', 'cc-by-2.0', 'cc-by-2.5', 'cc-by-3.0', 'cc-by-4.0', 'cc-by-nd-4.0', 'pddl'),
    *('cc-by-sa-3.0', 'cc-by-sa-4.0', 'cc-by-nc-2.0', 'cc-by-nc-3.0', 'cc-by-nc-4.0', 'odc-by'),
    *('cc-by-nc-nd-3.0', 'cc-by-nc-nd-4.0', 'cc-by-nc-sa-2.0', 'cc-by-nc-sa-3.0', 'odbl'),
    *('cc-by-nc-sa-4.0', 'openrail', 'openrail++', 'ecl-2.0', 'epl-1.0', 'epl-2.0', 'eupl-1.1'),
    *('etalab-2.0', 'cdla-permissive-1.0', 'cdla-permissive-2.0', 'cdla-sharing-1.0', 'c-uda'),
    *('artistic-2.0', 'lppl-1.3c', 'ofl-1.1', 'unknown'),
}


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


def card_data(facts: Facts) -> ModelCardData:
    """The head: the kind of model, its licence, its data, and what was measured."""
    from huggingface_hub import ModelCardData  # a fifth of a second

    host, arch = host_of(facts.cfg), facts.cfg.model.backbone.get('arch')
    results = list(_results(facts, host))
    license, license_name = _license(facts.license)
    return ModelCardData(
        license=license,
        license_name=license_name,
        library_name='mmhrnet',
        pipeline_tag=host.pipeline_tag or None,
        tags=['hrnet', *([f'hrnet-{arch}'] if isinstance(arch, str) else []), host.name],
        datasets=_hub_names(facts.trained, host) or None,
        model_name=facts.config.stem if results else None,
        eval_results=results or None,
    )


def is_drawn(cfg: Config, loader: str) -> bool:
    """Whether the data of a loader are the drawn ones of ``mmhrnet mini``."""
    return any(is_mini(dataset.get('data_root') or '') for dataset in datasets(cfg, (loader,)))


def describe_data(cfg: Config, loader: str) -> str:
    found = datasets(cfg, (loader,))
    names = [f'{d.type}, {d.get("ann_file") or d.get("data_prefix", "")}' for d in found]
    text = '; '.join(dict.fromkeys(names))
    return f'the drawn scenes of `mmhrnet mini` ({text})' if is_drawn(cfg, loader) else text


def _license(given: str) -> tuple[str, str | None]:
    name = re.sub(r'-(only|or-later)$', '', given.lower())  # of SPDX
    if name in LICENSES:
        return name, None
    return 'other', re.sub(r'[^a-z0-9.]+', '-', name).strip('-')


def _hub_names(cfg: Config | None, host: Host, loader: str = 'train_dataloader') -> list[str]:
    """The Hub's names of data sets, which nobody gave classes of his own."""
    if cfg is None or is_drawn(cfg, loader):
        return []
    types = [d.type for d in datasets(cfg, (loader,)) if not d.get('metainfo')]
    return list(dict.fromkeys(host.hub_data[kind] for kind in types if kind in host.hub_data))


def _results(facts: Facts, host: Host) -> Iterator[EvalResult]:
    """What was measured on known data; the schema requires a data set."""
    from huggingface_hub import EvalResult

    loader = 'val_dataloader'
    first = facts.trained and next(datasets(facts.trained, (loader,)), None)
    if not first:
        return
    names = _hub_names(facts.trained, host, loader)
    kind = MINI if is_drawn(facts.trained, loader) else next(iter(names), str(first.type).lower())
    for name, (value, _) in facts.results.items():
        metric = host.metrics.get(name, Metric(name))
        if isfinite(value):
            yield EvalResult(
                task_type=host.pipeline_tag or host.task,
                task_name=host.task_name,
                dataset_type=kind,
                dataset_name=describe_data(facts.trained, loader).replace('`', ''),
                metric_type=metric.hub or name,
                metric_name=metric.name,
                metric_value=float(f'{value:.4g}'),
            )
