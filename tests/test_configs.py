"""Every config of the repository resolves and builds; its published figures are its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from mmhrnet.analysis import published_results
from mmhrnet.models import ARCHS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(
    path for path in (ROOT / 'configs').glob('*/*.py') if not path.parent.name.startswith('_')
)
names = [path.stem for path in CONFIGS]


@pytest.mark.parametrize('path', CONFIGS, ids=names)
def test_detector(path: Path) -> None:
    cfg = Config.fromfile(path)
    backbone, neck = cfg.model.backbone, cfg.model.neck
    assert backbone.type == 'mmhrnet.HRNet'
    assert backbone.norm_eval
    assert backbone.init_cfg.type == 'Pretrained'
    assert backbone.init_cfg.checkpoint.endswith(backbone.arch)
    assert tuple(neck.in_channels) == ARCHS[backbone.arch][-1].out_channels
    assert cfg.train_cfg.max_epochs == (24 if path.stem.endswith('_2x') else 12)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001
    )
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (1333, 800)


@pytest.mark.parametrize('path', CONFIGS, ids=names)
def test_resolves_the_same_when_inherited(path: Path, tmp_path: Path) -> None:
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = {str(path)!r}\n')
    assert Config.fromfile(child).to_dict() == Config.fromfile(path).to_dict()


def test_metafile_lists_every_config_once() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = [m for f in index['Import'] for m in yaml.safe_load((ROOT / f).read_text())['Models']]
    assert sorted(ROOT / model['Config'] for model in models) == CONFIGS
    assert all(model['Name'] == Path(model['Config']).stem for model in models)


def test_published_results() -> None:
    assert published_results('faster_rcnn_hrnetv2p_w32') == {'box AP': 40.2}
    assert published_results('no_such_config') == {}
