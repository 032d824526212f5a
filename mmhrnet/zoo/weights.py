"""The published weights on this machine: what there is, what is missing, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from mmengine.runner import checkpoint as mmengine_names
from rich.box import SIMPLE_HEAD
from rich.filesize import decimal
from rich.table import Table

from mmhrnet import checkpoints
from mmhrnet.checkpoints.fetching import (
    FetchError,
    cache_folder,
    fetch,
    find_fault,
    link,
    local_places,
)
from mmhrnet.checkpoints.places import CONFIGS, Entry, checksum_of, known_weights, name_of
from mmhrnet.config.check import pretrained
from mmhrnet.config.load import load_config
from mmhrnet.download import digest_of
from mmhrnet.errors import ConfigError, plural
from mmhrnet.files import check_folder, write_text
from mmhrnet.hub.published import Weights as Published
from mmhrnet.hub.published import config_file, published_weights
from mmhrnet.terminal import CONSOLE

SCHEMES = {  # names for URLs that MMEngine knows, with its tables
    'open-mmlab://': mmengine_names.get_external_models,
    'openmmlab://': mmengine_names.get_external_models,
    'torchvision://': mmengine_names.get_torchvision_models,
    'mmcls://': mmengine_names.get_mmcls_models,
}
START = 'to start from'
SCREEN = 178  # characters of the widest row


class Weight(NamedTuple):
    """A file of weights, and the config that it is of, or what it is for."""

    url: str
    use: str


def find_weights(what: Sequence[str] = ()) -> list[Weight]:
    """What configs need: weights to start from, and the published ones.

    Args:
        what: Configs, URLs, or patterns of names of configs and files; nothing means all.

    Raises:
        ConfigError: No such config, or nothing matches.
    """
    found = [weight for item in what or ['*'] for weight in _weights_of(item)]
    return list({name_of(weight.url): weight for weight in reversed(found)}.values())[::-1]


def _weights_of(item: str) -> list[Weight]:
    if '://' in item:
        return [Weight(_url_of(item), '-')]
    if not set('*?[') & set(item):
        return _weights_of_config(item)
    names = [(weight, (name_of(weight.url), weight.use)) for weight in _all_weights()]
    found = [weight for weight, own in names if any(fnmatch(name, item) for name in own)]
    if not found:
        raise ConfigError(f'No weights and no config match {item}: mmhrnet weights list has all')
    return found


def _all_weights() -> list[Weight]:
    published = [Weight(weights.url, _use_of(weights)) for weights in published_weights().values()]
    others = [
        Weight(entry['url'], START)
        for entry in known_weights().values()
        if 'url' in entry and 'config' not in entry
    ]
    return [*published, *others]


def _use_of(weights: Published) -> str:
    """Library and name of the config; the source too of weights that its metafile does not name."""
    config = '/'.join(config_file(weights.config).with_suffix('').parts[-2:])
    return f'{config} ({weights.source})' if 'config' in _entry(weights.url) else config


def _entry(url: str) -> Entry:
    return known_weights().get(name_of(url), {})


def _weights_of_config(config: str) -> list[Weight]:
    given = [init for init in pretrained(load_config(config).model) if '://' in init]
    published = [weight for weight in _all_weights() if Path(weight.use).name == Path(config).stem]
    return [*published, *(Weight(_url_of(init), START) for init in given)]


def _url_of(checkpoint: str) -> str:
    """The URL behind a name like ``open-mmlab://msra/hrnetv2_w18``."""
    scheme, _, name = checkpoint.partition('://')
    if f'{scheme}://' not in SCHEMES:
        return checkpoint
    name = mmengine_names.get_deprecated_model_names().get(name, name)
    urls = SCHEMES[f'{scheme}://']()
    if name not in urls:
        raise ConfigError(f'MMEngine knows no weights {checkpoint}')
    return str(urls[name])


def list_weights(what: Sequence[str] = ()) -> None:
    """Prints what is needed, and the size of what is here."""
    table = Table('file', 'of', box=SIMPLE_HEAD, width=SCREEN)
    table.add_column('SHA-256', no_wrap=True)
    table.add_column('here', justify='right')
    for weight in find_weights(what):
        name, here = name_of(weight.url), local_places(weight.url)
        size = decimal(here[0][0].stat().st_size) if here else '-'
        table.add_row(name, weight.use, (checksum_of(name) or '-')[:8], size)
    CONSOLE.print(table)


def fetch_weights(what: Sequence[str] = (), *, bundle: str | Path | None = None) -> None:
    """Fetches what is missing, into torch's cache; one that fails does not stop the others.

    Args:
        what: As in :func:`find_weights`.
        bundle: A folder that gets all of them, for ``MMHRNET_WEIGHTS``.

    Raises:
        FetchError: Some are missing; each was named when it failed.
    """
    weights, missing, sizes = find_weights(what), 0, []
    if bundle:
        check_folder(bundle)
    for number, weight in enumerate(weights, 1):
        try:
            path, place = fetch(weight.url)
        except FetchError as error:
            CONSOLE.print(f'{number}/{len(weights)} {error}')
            missing += 1
            continue
        if bundle:
            path = link(path, Path(bundle, place.name))
        sizes.append(path.stat().st_size)
        CONSOLE.print(f'{number}/{len(weights)} {path}, {decimal(sizes[-1])}')
    CONSOLE.print(f'{plural(len(sizes), "file")}, {decimal(sum(sizes))}')
    if missing:
        raise FetchError(f'{missing} of {plural(len(weights), "file")} cannot be fetched')


def verify_weights(what: Sequence[str] = (), *, write: bool = False) -> None:
    """Reads the files in ``MMHRNET_WEIGHTS`` and torch's cache again, and compares their SHA-256.

    Args:
        what: As in :func:`find_weights`.
        write: Write the SHA-256 of right files into ``configs/<library>/weights.yml``, where it is
            empty.

    Raises:
        CheckpointError: A file is wrong; each was named.
        ConfigError: ``write`` outside of a checkout.
    """
    counts: Counter[str] = Counter()
    files = [found for weight in find_weights(what) for found in local_places(weight.url)]
    for path, place in dict.fromkeys(files):
        fault = find_fault(path, place.checksum)
        verdict = f'wrong: {fault}' if fault else 'right' if place.checksum else 'unknown'
        counts[verdict.partition(':')[0]] += 1
        CONSOLE.print(f'{path}: {verdict}')
        if write and verdict == 'right':
            write_digest(place.name, digest_of(path))
    if not files:
        CONSOLE.print(f'None of these weights are in {cache_folder()} or MMHRNET_WEIGHTS')
        return
    CONSOLE.print(', '.join(f'{count} {verdict}' for verdict, count in counts.items()))
    if counts['wrong']:
        raise checkpoints.CheckpointError(
            f'{plural(counts["wrong"], "file")} wrong: they are not used, and fetched anew'
        )


def write_digest(name: str, digest: str) -> None:
    """Fills an empty SHA-256 in the tables of a checkout.

    Raises:
        ConfigError: The package is installed, and not a checkout.
    """
    if not CONFIGS.is_symlink():
        raise ConfigError(f'{CONFIGS} is of an installed package: run this in a checkout')
    for path in CONFIGS.glob('*/weights.yml'):
        text = path.read_text(encoding='utf-8')
        filled = text.replace(f'{name}:\n  sha256:\n', f'{name}:\n  sha256: {digest}\n')
        if filled != text:
            write_text(path.resolve(), filled)
            CONSOLE.print(f'{name}: {digest} is now in {path}')
    known_weights.cache_clear()
