"""Whole bottom-up pose estimators find the persons that mmpose finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmcv.ops import DeformConv2d
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpose.datasets.transforms import BottomupResize
from mmpose.evaluation.functional import nearby_joints_nms
from torch.torch_version import TorchVersion

from mmhrnet import apis, checkpoints, runtime
from mmhrnet.config.make import make_config
from mmhrnet.datasets import mini_root
from mmhrnet.deploy.bottomup import Sampled
from mmhrnet.deploy.evaluate import evaluate_file
from mmhrnet.deploy.export import FORMATS, Shipped
from mmhrnet.deploy.from_config import export_config
from mmhrnet.deploy.whole import build_whole, compare, draw_images
from mmhrnet.errors import ConfigError
from mmhrnet.models.archs import ARCHS
from mmhrnet.walk import dicts

CONFIG = 'configs/mmpose/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'
SIZE = (128, 128)
RESIZE = 'test_dataloader.dataset.pipeline.1'
AE = dict(
    type='AssociativeEmbeddingHead',
    in_channels=32,
    num_keypoints=17,
    tag_dim=1,
    tag_per_keypoint=True,
    keypoint_loss=dict(type='KeypointMSELoss'),
    tag_loss=dict(type='AssociativeEmbeddingLoss'),
    decoder=dict(type='AssociativeEmbedding', input_size=SIZE, heatmap_size=(32, 32)),
)


@pytest.fixture(autouse=True, scope='module')
def _shallow() -> Iterator[None]:
    """One module of one unit in each stage."""
    with pytest.MonkeyPatch.context() as patch:
        shallow = [s._replace(modules=1, blocks=(1,) * len(s.blocks)) for s in ARCHS['w32']]
        patch.setitem(ARCHS, 'w32', tuple(shallow))
        yield


def config(root: Path, **options: Any) -> Config:
    """The config for small pictures of the embedded scenes."""
    cfg = make_config(root / CONFIG, data_root=str(mini_root()), from_scratch=True)
    for part in dicts([cfg.model, cfg.codec, cfg.test_dataloader, cfg.val_dataloader]):
        if part.get('type') == 'SPR':
            part.update(input_size=SIZE, heatmap_size=(32, 32))
        if part.get('type') == 'BottomupResize':
            part.input_size = SIZE
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.model.head = options.pop('head', cfg.model.head)
    cfg.merge_from_dict(options)
    return cfg


def with_peaks(model: torch.nn.Module) -> torch.nn.Module:
    """Heads that find persons, whose initial weights are too small for it."""
    for name, weight in model.head.named_parameters():
        if weight.ndim == 4:
            spread = 0.05 if 'transform' in name else 0.3
            torch.nn.init.normal_(weight, std=spread if weight.shape[2] == 1 else spread / 3)
    return model


@pytest.mark.parametrize(
    ('flip', 'options'),
    [
        (False, {}),
        (True, {}),
        (True, {'model.test_cfg.shift_heatmap': False, 'model.head.rescore_cfg': None}),
    ],
)
def test_it_finds_what_the_host_finds(root: Path, flip: bool, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    built = build_whole(config(root, **options), None, 'cpu', flip_test=flip)
    with_peaks(built.reference)
    built = built._replace(trained=True)  # with peaks, joints can be compared
    with torch.no_grad():
        for shape in ((2, 128, 160), (1, 97, 131)):
            assert compare(built, Shipped(built.model, {}), torch.empty(*shape, 3)).error < 2e-5
        found = dict(zip(built.outputs, built.model(draw_images(2, 128, 160))))
    assert {name: y.shape[1:] for name, y in found.items()} == {
        'keypoints': (30, 17, 2),
        'scores': (30, 17),
        'instance_scores': (30,),
    }
    there = found['instance_scores'] != 0
    assert 3 < there.sum() < 60
    assert not found['keypoints'][~there].any()


def test_wrong_joints_of_few_persons_are_noticed(root: Path) -> None:
    from mmhrnet.deploy.export import ExportError

    built = build_whole(config(root), None, 'cpu')
    with_peaks(built.reference)
    found = list(built.model(draw_images(1, 128, 128)))
    found[0][:, 1:] = found[1][:, 1:] = found[2][:, 1:] = 0
    expected = dict(zip(built.outputs, (y.clone() for y in found)))
    found[0][:, 0] += 1
    built = built._replace(trained=True, predict=lambda *_: expected)
    with pytest.raises(ExportError, match='differs from the model'):
        compare(built, Shipped(lambda _: found, {}), torch.empty(1, 128, 128, 3))


@pytest.mark.parametrize(
    ('groups', 'deform_groups', 'stride', 'padding', 'dilation', 'kernel'),
    [(1, 1, 1, 1, 1, 3), (3, 3, 1, 1, 1, 3), (2, 1, 2, 2, 2, 3), (1, 2, 1, 0, 1, (1, 3))],
)
def test_deformable_convolutions_are_sampled(
    groups: int, deform_groups: int, stride: int, padding: int, dilation: int, kernel: Any
) -> None:
    conv = DeformConv2d(
        12, 24, kernel, stride, padding, dilation, groups=groups, deform_groups=deform_groups
    )
    rows, columns = conv.kernel_size
    sides = [
        (side + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        for side, taps in ((19, rows), (23, columns))
    ]
    x, offset = (
        torch.randn(2, 12, 19, 23),
        torch.randn(2, 2 * deform_groups * rows * columns, *sides),
    )
    torch.testing.assert_close(
        Sampled(conv)(x, 5 * offset), conv(x, 5 * offset), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'head': AE}, 'not for AssociativeEmbeddingHead with .*: export --features'),
        ({'model.test_cfg.multiscale_test': True}, 'set model.test_cfg.multiscale_test=False'),
        (
            {f'{RESIZE}.aug_scales': [0.5]},
            r'does not know aug_scales=\[0.5\] of BottomupResize: export --raw or --features',
        ),
    ],
)
def test_what_a_file_cannot_hold(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_whole(config(root, **options), None, 'cpu')


@pytest.mark.parametrize('use_udp', [False, True])
@pytest.mark.parametrize('mode', ['fit', 'expand'])
@pytest.mark.parametrize('size', [(97, 131), (211, 128), (128, 128), (60, 333)])
def test_the_runtime_resizes_as_the_host(size: tuple[int, int], mode: str, use_udp: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    step = dict(input_size=SIZE, size_factor=32, resize_mode=mode, use_udp=use_udp)
    expected = BottomupResize(**step)(dict(img=image, ori_shape=size))
    found = runtime.resize_for_persons(image, step)
    names = ('img', 'input_center', 'input_scale')
    for own, name in zip(found, names):
        np.testing.assert_array_equal(own, expected[name])


@pytest.mark.parametrize(('near', 'most'), [(None, 30), (3, 30), (None, 2), (16, 0)])
def test_the_runtime_drops_the_persons_that_the_host_drops(near: int | None, most: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        middles = rng.uniform(0, 100, (4, 17, 2)).repeat(5, 0)
        joints = (middles + rng.normal(0, 3, middles.shape)).astype(np.float32)
        ranks = rng.uniform(0, 1, 20).astype(np.float32)
        found = runtime.drop_near(joints, ranks, 0.05, near, most)
        persons = [dict(keypoints=own, score=rank) for own, rank in zip(joints, ranks)]
        assert found == nearby_joints_nms(persons, 0.05, near, max_dets=most)
        assert len(found) < 20 or near == 16
    assert runtime.drop_near(joints, ranks, 0, near, most) == [*range(20)]
    alone = np.zeros((1, 17, 2), np.float32)  # mmpose fails for joints in one place
    assert runtime.drop_near(alone, ranks[:1], 0.05, near, most) == [0]


class Trained(NamedTuple):
    """A config with its checkpoint, the file of both, and the options of its export."""

    config: Path
    checkpoint: Path
    file: Path
    options: dict[str, Any]


needs_onnx = pytest.mark.skipif(
    TorchVersion(torch.__version__) < FORMATS['onnx'].torch_free,
    reason=f'needs torch {FORMATS["onnx"].torch_free}',
)


@pytest.fixture(scope='module', params=['static', pytest.param('free', marks=pytest.mark.slow)])
def trained(
    root: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Of one size, which takes a third of the time, or of free sizes as the config's pictures."""
    from mmpose.registry import DATASETS

    folder, static = tmp_path_factory.mktemp('dekr'), request.param == 'static'
    cfg = config(root, **({f'{RESIZE}.resize_mode': 'fit'} if static else {}))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = with_peaks(MODELS.build(cfg.model))
        meta = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo
    cfg.dump(folder / 'dekr.py')
    info = {'cfg': cfg.pretty_text, 'dataset_meta': meta}
    checkpoints.save({'state_dict': model.state_dict(), 'meta': info}, folder / 'dekr.pth')
    options = dict(static=True, batch=1) if static else {}
    file = export_config(
        folder / 'dekr.py',
        folder / 'dekr.pth',
        format='onnx',
        bundle=folder / 'bundle',
        flip_test=True,
        opset=17 if static else None,  # of TensorRT 8
        **options,
    )
    return Trained(folder / 'dekr.py', folder / 'dekr.pth', file, options)


@needs_onnx
@pytest.mark.parametrize('backend', runtime.BACKENDS)
def test_the_runtime_finds_what_the_demo_finds(
    trained: Trained, backend: str, scene: Path, tmp_path: Path
) -> None:
    pytest.importorskip(backend)
    predictor = apis.Predictor(*trained[:2])
    model = runtime.load(trained.file, backend, threads=1)
    image = runtime.read_image(scene)
    for one in (image, cv2.resize(image, (131, 217))):
        found, expected = model(one)['found'], predictor(one).found
        assert len(found) == len(expected) > 1
        for own, other in zip(found, expected):
            assert own.keys() == other.keys()
            np.testing.assert_allclose(own['keypoints'], other['keypoints'], atol=0.0101)
            scores = own['keypoint_scores'], other['keypoint_scores']
            np.testing.assert_allclose(*scores, atol=1.01e-4)
    words = [
        trained.file,
        scene,
        '--score-thr=-9',
        '--backend',
        backend,
        '--json',
        tmp_path,
        '--draw',
        tmp_path,
    ]
    assert runtime.main([*map(str, words)]) == 0
    assert len(json.loads((tmp_path / f'{scene.stem}.json').read_text())['found']) > 1
    assert (runtime.read_image(tmp_path / f'{scene.stem}.png') != image).any()


@needs_onnx
def test_the_file_is_tested_like_the_checkpoint(trained: Trained, tmp_path: Path) -> None:
    """Random persons have no precision, so that the metric's own list of them is compared."""
    figures, lists = [], []
    for evaluate, weights in ((evaluate_file, trained.file), (apis.test, trained.checkpoint)):
        prefix = tmp_path / weights.suffix[1:]
        options = {
            'test_dataloader.dataset.indices': 6,
            'test_evaluator.outfile_prefix': str(prefix),
        }
        figures.append(
            evaluate(trained.config, weights, work_dir=str(tmp_path), cfg_options=options)
        )
        lists.append(json.loads(Path(f'{prefix}.keypoints.json').read_text()))
    assert figures[0] == pytest.approx(figures[1], abs=1e-3)
    assert len(lists[0]) == len(lists[1]) > 6
    for found, expected in zip(*lists):
        assert found['image_id'] == expected['image_id']
        np.testing.assert_allclose(found['keypoints'], expected['keypoints'], atol=0.01)
        assert found['score'] == pytest.approx(expected['score'], abs=1e-4)


@needs_onnx
def test_a_bundle_tells_about_persons(trained: Trained) -> None:
    folder = trained.file.parent
    text = (folder / 'README.md').read_text()
    assert '`keypoints` (N, M, K, 2) of M persons' in text
    assert '`instance_scores` (N, M)' in text
    assert len(json.loads((folder / 'example.json').read_text())['found']) > 1


@pytest.mark.slow
def test_it_becomes_a_graph_of_torch(trained: Trained, tmp_path: Path) -> None:
    out, options = tmp_path / 'dekr.pt2', dict(trained.options, flip_test=True)
    assert export_config(*trained[:2], out=out, **options) == out


@needs_onnx
def test_it_finds_persons_itself(trained: Trained) -> None:
    model = runtime.load(trained.file, threads=1)
    with pytest.raises(runtime.ModelError, match='finds the persons itself: give it no boxes'):
        model(np.zeros((64, 64, 3), np.uint8), np.zeros((1, 4)))
    detector = runtime.Model({'task': 'detection', 'classes': []}, model.session)
    with pytest.raises(runtime.ModelError, match='finds the persons itself: leave the detector'):
        runtime.TopDown(detector, model)
