"""The samples that a config's pipeline feeds to the network, with the targets drawn on them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Literal

from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from rich.progress import track
from typing_extensions import Unpack

from mmhrnet.config.build import normalization
from mmhrnet.config.check import check_data, config_errors
from mmhrnet.config.make import Edits, make_config
from mmhrnet.datasets.images import write_png
from mmhrnet.errors import plural
from mmhrnet.files import check_folder
from mmhrnet.hosts import host_of
from mmhrnet.inference.pictures import Artist
from mmhrnet.terminal import CONSOLE
from mmhrnet.walk import dicts


def browse(
    config: str | Path,
    *,
    out_dir: str | Path = 'work_dirs/browse',
    number: int = 12,
    split: Literal['train', 'val', 'test'] = 'train',
    seed: int = 0,
    **edits: Unpack[Edits],
) -> list[Path]:
    """Draws samples as the network gets them: augmented, padded and batched, then denormalized.

    The host's visualizer draws the targets: boxes and masks, joints and heatmaps, label maps,
    classes.

    Args:
        config: Config file of any host.
        out_dir: Folder for the PNG files.
        number: How many samples.
        split: The split whose loader and pipeline are used.
        seed: Seed of the order and the augmentation.
        edits: Arguments of :func:`mmhrnet.apis.make_config`.

    Raises:
        ConfigError: Arguments or data that cannot work.
    """
    cfg = make_config(config, **edits)
    name = f'{split}_dataloader'
    check_data(cfg, loaders=(name,))
    check_folder(out_dir)
    host = host_of(cfg)
    init_default_scope(host.name)
    cfg[name].update(num_workers=0, persistent_workers=False)
    cfg[name].pop('prefetch_factor', None)
    for part in dicts(cfg[name].dataset):
        if part.get('type') == 'PackPoseInputs':
            part.pack_transformed = True  # also the joints in pixels of the input
    with config_errors():
        loader = Runner.build_dataloader(cfg[name], seed=seed)
        preprocess = MODELS.build(
            cfg.model.get('data_preprocessor') or cfg.data_preprocessor,
            default_args=dict(type=host.preprocessor),
        )
    draw, undo = Artist(cfg, loader.dataset.metainfo), normalization(cfg).undo
    batches = (preprocess(batch, training=split == 'train') for batch in loader)
    samples = (pair for batch in batches for pair in zip(batch['inputs'], batch['data_samples']))
    pictures = []
    shown = track(islice(samples, number), 'Samples', total=number, console=CONSOLE)
    for index, (x, sample) in enumerate(shown):
        picture = draw(undo(x), sample, truth=True, heatmaps=True)
        path = Path(out_dir, f'{index:03d}_{Path(sample.get("img_path", "sample")).stem}.png')
        write_png(path, picture[..., ::-1])
        pictures.append(path)
    CONSOLE.print(f'{plural(len(pictures), "picture")}: {out_dir}')
    return pictures
