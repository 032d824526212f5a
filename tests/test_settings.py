"""What weights were trained with is what the configs that they are tested with use."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from conftest import REAL_DATA
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement

from mmhrnet import checkpoints
from mmhrnet.checkpoints.places import known_weights
from mmhrnet.config.build import build_tensor_model
from mmhrnet.config.load import load_config
from mmhrnet.config.settings import Settings, settings_of, settings_of_weights, take_settings
from mmhrnet.config.stored import make_config_for
from mmhrnet.hub.published import config_file, published_weights
from mmhrnet.walk import dicts

ROOT = Path(__file__).resolve().parents[1]
OFFICIAL = REAL_DATA / 'official'
OCR, PLAIN = 'hrnet_ocr_cs_8162_torch11.pth', 'hrnet_cs_8090_torch11.pth'
OCR_CONFIG = 'mmseg::ocrnet/ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py'
FCOS = 'fcos_hrnetv2p_w32_gn-head_4x4_2x_coco_20201212_112133-77b6b9bb.pth'
FASTER = 'configs/mmdet/faster_rcnn_hrnetv2p_w32.py'


def test_every_published_file_has_settings_that_go_with_its_names() -> None:
    for library in ('mmdet', 'mmpose', 'mmseg', 'mmpretrain'):
        for entry in yaml.safe_load((ROOT / f'configs/{library}/weights.yml').read_text()).values():
            assert entry.get('trained_with', {}).keys() <= set(Settings._fields)
    assert sum('trained_with' in entry for entry in known_weights().values()) == 7


def test_fcos_was_trained_on_bgr() -> None:
    """mmdet's configs of FCOS on HRNet say so, and those of its other detectors say RGB."""
    settings = settings_of_weights(FCOS)
    assert (settings.channels, settings.mean[0], settings.std[0]) == ('BGR', 103.53, 57.375)


# A config of each host, and one that differs from them in its preprocessor.
PREPROCESSED = [FASTER, 'configs/mmdet/fcos_hrnetv2p-w32-gn-head_4xb4-2x_coco.py']
PREPROCESSED += ['configs/mmpose/td-hm_hrnet-w32_4xb32-210e_coco-256x192.py']
PREPROCESSED += ['configs/mmseg/fcn_hr18_4xb4-150k_ade20k-512x512.py']
PREPROCESSED += ['configs/mmpretrain/hrnet-w18_4xb64_in1k.py']


@pytest.mark.parametrize('config', PREPROCESSED)
def test_the_built_preprocessor_normalizes_like_that(config: str) -> None:
    cfg = load_config(ROOT / config)
    said = settings_of(cfg)
    preprocessor = dict(cfg.model.get('data_preprocessor') or cfg.data_preprocessor)
    preprocessor.setdefault('type', 'mmpretrain.ClsDataPreprocessor')  # its own default
    bgr = torch.tensor([10, 100, 200], dtype=torch.uint8)
    image = bgr.view(3, 1, 1).repeat(1, 512, 512)
    sizes = dict(img_shape=(512, 512), batch_input_shape=(512, 512), pad_shape=(512, 512))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        built = MODELS.build(preprocessor)
    built.batch_augments, built.boxtype2tensor = None, False
    built.pad_mask = built.pad_seg = False
    data: dict[str, Any] = {'inputs': [image], 'data_samples': [BaseDataElement(metainfo=sizes)]}
    (found,) = built(data, training=False)['inputs'][:, :, 0, 0]
    channels = bgr if said.channels == 'BGR' else bgr.flip(0)
    expected = (channels - torch.tensor(said.mean)) / torch.tensor(said.std)
    torch.testing.assert_close(found, expected)


def aligned(cfg: Config) -> list[bool]:
    return [part['align_corners'] for part in dicts(cfg.model) if 'align_corners' in part]


def test_a_swapped_config_takes_align_corners_from_official_weights(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cfg, _ = make_config_for(OCR_CONFIG, OCR, swap=True)
    assert aligned(cfg) == [True] * 3  # backbone and both heads
    assert f'{OCR} was trained with align_corners=True: the config takes that' in caplog.text
    assert settings_of(cfg).align_corners == settings_of_weights(OCR).align_corners
    caplog.clear()
    cfg, _ = make_config_for(OCR_CONFIG, PLAIN, swap=True)  # has what this config has
    assert set(aligned(cfg)) == {False}
    assert caplog.text == ''


def test_the_hosts_own_network_cannot_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    cfg, _ = make_config_for(OCR_CONFIG, f'https://server/{OCR}')
    assert aligned(cfg) == [True] * 2
    assert 'not the HRNet of mmseg, which cannot: give --swap' in caplog.text


def test_a_config_takes_the_normalization(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    config = tmp_path / 'own.py'
    rgb = 'mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True'
    base = ROOT / 'configs/mmdet/fcos_hrnetv2p-w32-gn-head_4xb4-2x_coco.py'
    config.write_text(f'_base_ = {str(base)!r}\nmodel = dict(data_preprocessor=dict({rgb}))\n')
    assert settings_of(load_config(config)).channels == 'RGB'
    cfg, _ = make_config_for(config, FCOS)
    assert settings_of(cfg) == settings_of_weights(FCOS)
    assert f'{FCOS} was trained on BGR with the mean (103.53' in caplog.text
    given = {'model.data_preprocessor.bgr_to_rgb': True}
    cfg, _ = make_config_for(config, FCOS, cfg_options=given)
    assert settings_of(cfg).channels == 'RGB'  # the user's word


def test_a_shipped_config_takes_what_differs_in_the_weights_of_another_publisher() -> None:
    changed = []
    for name, entry in known_weights().items():
        if 'trained_with' in entry:
            cfg = load_config(config_file(published_weights()[name].config))
            before = settings_of(cfg)
            take_settings(cfg, name)
            assert settings_of(cfg)[:4] == settings_of_weights(name)[:4]
            changed += [name] if settings_of(cfg) != before else []
    assert changed == [
        OCR,
        'hrnet_cocostuff_3617_torch04.pth',
        'hrnet_ade20k_4312_torch04.pth',
        'hrnet_ocr_ade20k_4451_torch04.pth',
    ]


@pytest.mark.parametrize('config', PREPROCESSED)
def test_a_shipped_config_has_what_its_own_weights_need(
    config: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = next(n for n, w in published_weights().items() if w.config == Path(config).stem)
    cfg = load_config(ROOT / config)
    before = cfg.to_dict()
    take_settings(cfg, name)
    assert cfg.to_dict() == before
    assert caplog.text == ''


def test_weights_of_another_library_or_name_change_nothing() -> None:
    for name in (OCR, 'my_own.pth'):
        cfg = load_config(ROOT / FASTER)
        before = cfg.to_dict()
        take_settings(cfg, name)
        assert cfg.to_dict() == before


def test_stand_ins_of_timm_expect_the_same_input() -> None:
    for name, entry in known_weights().items():
        if 'also' not in entry or name not in published_weights():
            continue
        settings = settings_of_weights(name)
        cfg = timm.get_pretrained_cfg(entry['also'].removeprefix('hf://timm/'))
        assert cfg is not None
        assert settings.channels == 'RGB'
        assert settings.classes == cfg.num_classes
        assert [round(v * 255, 3) for v in cfg.mean] == list(settings.mean)
        assert [round(v * 255, 3) for v in cfg.std] == list(settings.std)


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason='no files of the official code are here')
def test_an_official_file_gives_the_official_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A small network under the name of the published one."""
    file = tmp_path / OCR
    shutil.copy(OFFICIAL / 'seg_ocr_small_v1.pth', file)
    options: dict[str, object] = {'model.backbone.arch': 'w18_small_v1'}
    for index in (0, 1):
        options[f'model.decode_head.{index}.in_channels'] = [16, 32, 64, 128]
    options['model.decode_head.0.channels'] = 240
    options['model.backbone.norm_cfg'] = dict(type='BN')
    for index in (0, 1):
        options[f'model.decode_head.{index}.norm_cfg'] = dict(type='BN')
    config = ROOT / 'configs/mmseg/ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py'
    caplog.set_level(logging.WARNING)
    cfg, _ = make_config_for(config, file, cfg_options=options)
    model = build_tensor_model(cfg).model.double().eval()
    fitted, report = checkpoints.fit(checkpoints.unwrap(checkpoints.load(file)), model)
    model.load_state_dict({k: v.to(model.state_dict()[k].dtype) for k, v in fitted.items()})
    assert not report.notes
    reference = torch.load(OFFICIAL / 'seg_ocr_small_v1_reference.pt', weights_only=True)
    with torch.no_grad():
        logits = model(reference['x'], None, mode='tensor')
    torch.testing.assert_close(logits, reference['outputs'][-1], rtol=0, atol=1e-6)
