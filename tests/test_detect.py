"""Whole detectors select the boxes that mmdet selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.torch_version import TorchVersion

from mmhrnet import apis, runtime
from mmhrnet.config.load import load_config
from mmhrnet.deploy.evaluate import evaluate_file
from mmhrnet.deploy.export import FORMATS, Shipped
from mmhrnet.deploy.from_config import export_config
from mmhrnet.deploy.whole import Built, build_whole, compare, draw_images
from mmhrnet.errors import ConfigError
from mmhrnet.models.archs import ARCHS
from mmhrnet.walk import dicts

HTC = 'htc_hrnetv2p-w18_20e_coco'
CASES = {
    'faster_rcnn_hrnetv2p_w18': 'boxes',
    'mask-rcnn_hrnetv2p-w18-1x_coco': 'masks',
    'cascade-rcnn_hrnetv2p-w18-20e_coco': 'boxes',
    'cascade-mask-rcnn_hrnetv2p-w18-20e_coco': 'masks',
    HTC: 'masks',
    'fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco': 'boxes',
    'centernet_hrnetv2-w48_8xb16-crop512-140e_coco': 'boxes',
}
FASTER = 'faster_rcnn_hrnetv2p_w18'


@pytest.fixture(autouse=True, scope='module')
def _shallow() -> Iterator[None]:
    """One module of one unit in each stage."""
    with pytest.MonkeyPatch.context() as patch:
        for name, stages in ARCHS.items():
            shallow = [s._replace(modules=1, blocks=(1,) * len(s.blocks)) for s in stages]
            patch.setitem(ARCHS, name, tuple(shallow))
        yield


def config(root: Path, name: str) -> Config:
    """A config whose untrained scores count, of fewer proposals."""
    cfg = load_config(root / 'configs' / 'mmdet' / f'{name}.py')
    for part in dicts(cfg.model):
        if 'fc_out_channels' in part:
            part.fc_out_channels = 32
        if part.get('type') == 'FCNMaskHead':
            part.conv_out_channels = 16
        if 'score_thr' in part:
            part.score_thr = 0.012
    if name == HTC:  # whose masks of 256 channels take a second for each ten boxes
        cfg.model.test_cfg.rcnn.max_per_img = 20
    if 'rpn' in cfg.model.test_cfg:
        cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=60)
    return cfg


def build(cfg: Config) -> Built:
    torch.manual_seed(0)
    built = build_whole(cfg, None, 'cpu')
    for name, weight in built.reference.named_parameters():
        if '_cls' in name and weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.2)  # scores that tell the classes apart
    built.model.eval()
    return built


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=pytest.mark.slow if name == HTC else ()) for name in CASES]
)
def test_they_find_what_the_host_finds(root: Path, name: str) -> None:
    built = build(config(root, name))
    with torch.no_grad():
        for shape in ((2, 128, 160), (1, 97, 131)):
            check = compare(built, Shipped(built.model, {}), torch.empty(*shape, 3))
            assert check.error < 1e-5
        found = dict(zip(built.outputs, built.model(draw_images(3, 128, 160))))
    assert CASES[name] in found
    count = 20 if name == HTC else 100
    assert [y.shape[:2] for y in found.values()] == [(3, count)] * len(found)
    assert (found['scores'] > 0).sum() > 20
    assert len(found['labels'].unique()) > (3 if count == 100 else 0)


def test_images_of_a_batch_do_not_mix(root: Path) -> None:
    built, images = build(config(root, FASTER)), draw_images(3, 128, 160)
    with torch.no_grad():
        together = built.model(images)
        alone = [built.model(image[None]) for image in images]
    for name, batch, single in zip(built.outputs, together, map(torch.cat, zip(*alone))):
        torch.testing.assert_close(batch, single, rtol=1e-4, atol=1e-3, msg=name)


def test_empty_places_are_zero(root: Path) -> None:
    cfg = config(root, 'mask-rcnn_hrnetv2p-w18-1x_coco')
    cfg.model.test_cfg.rcnn.score_thr = 0.99
    built = build(cfg)
    with torch.no_grad():
        assert not any(y.any() for y in built.model(draw_images(2, 128, 160)))


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        (FASTER, {'test_cfg.rcnn.nms.type': 'soft_nms'}, 'written for nms=.* not for .*soft_nms'),
        (
            FASTER,
            {'roi_head.bbox_roi_extractor.type': 'GenericRoIExtractor'},
            'predict as SingleRoIExtractor, not for GenericRoIExtractor: export --features',
        ),
        ('fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco', {'test_cfg.nms.type': 'soft_nms'}, 'soft_nms'),
        (FASTER, {'test_cfg.rpn.nms_pre': -1}, 'needs a positive nms_pre in its test_cfg'),
    ],
)
def test_what_a_file_cannot_hold(
    root: Path, name: str, change: dict[str, Any], message: str
) -> None:
    cfg = config(root, name)
    cfg.merge_from_dict({f'model.{key}': value for key, value in change.items()})
    with pytest.raises(ConfigError, match=message):
        build_whole(cfg, None, 'cpu')


@pytest.fixture(scope='module')
def trained(untrained: Callable) -> Path:
    """The checkpoint of a Mask R-CNN on the embedded scenes."""
    return untrained('configs/mmdet/mask-rcnn_hrnetv2p-w18-1x_coco.py').checkpoint


needs_onnx = pytest.mark.skipif(
    TorchVersion(torch.__version__) < FORMATS['onnx'].torch_free,
    reason=f'needs torch {FORMATS["onnx"].torch_free}',
)


@pytest.fixture(scope='module')
def file(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file, of free size."""
    out = tmp_path_factory.mktemp('detector') / 'detector.onnx'
    return export_config(None, trained, format='onnx', out=out)


@needs_onnx
def test_a_file_has_the_figures_of_the_checkpoint(
    trained: Path, file: Path, tmp_path: Path
) -> None:
    options = dict(work_dir=str(tmp_path), cfg_options={'test_dataloader.dataset.indices': 8})
    found = evaluate_file(trained.with_suffix('.py'), file, **options)
    assert found == pytest.approx(apis.test(trained.with_suffix('.py'), trained, **options))
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= found.keys()


@needs_onnx
def test_the_runtime_finds_what_the_demo_finds(trained: Path, file: Path, scene: Path) -> None:
    image = runtime.read_image(scene)
    found = runtime.load(file, score=0.0)(image)['found']
    predictor = apis.Predictor(checkpoint=trained, score=0.0)
    expected = predictor(image).found
    assert len(found) == len(expected) > 3
    for one, other in zip(found, expected):
        assert one['label'] == other['label']
        assert one['score'] == pytest.approx(other['score'], abs=1e-4)
        np.testing.assert_allclose(one['bbox'], other['bbox'], atol=0.01)
        masks = [np.asarray(runtime.decode_mask(thing['mask'])) for thing in (one, other)]
        assert (masks[0] == masks[1]).mean() > 0.9999
