"""Files that the official code itself wrote, and what it computed: the same names and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from conftest import REAL_DATA
from mmengine.registry import DefaultScope
from test_convert import Net
from torch import nn

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p, checkpoints
from mmhrnet.models import ARCHS

OFFICIAL = REAL_DATA / 'official'
SMALL = 'w18_small_v1'

pytestmark = pytest.mark.skipif(
    not OFFICIAL.is_dir(), reason='the files of the official code are not beside this checkout'
)


def channels(arch: str) -> tuple[int, ...]:
    return ARCHS[arch][-1].out_channels


def module(**parts: nn.Module) -> nn.Module:
    head = nn.Module()
    for name, part in parts.items():
        head.add_module(name, part)
    return head


def classifier(arch: str) -> Net:
    neck = nn.Sequential(HRNetC(channels(arch)))
    return Net(backbone=HRNet(arch), neck=neck, head=module(fc=nn.Linear(2048, 1000)))


def estimator(arch: str) -> Net:
    head = module(final_layer=nn.Conv2d(channels(arch)[0], 17, 1))
    return Net(backbone=HRNet(arch, multiscale_output=False), head=head)


def landmarks(arch: str) -> Net:
    head = module(final_layer=nn.Conv2d(sum(channels(arch)), 98, 1))
    return Net(backbone=HRNet(arch), neck=HRNetV2(channels(arch)), head=head)


def detector(arch: str) -> Net:
    return Net(backbone=HRNet(arch), neck=HRNetV2p(channels(arch), 256))


def segmentor(arch: str, classes: int = 19, align_corners: bool = False) -> Net:
    backbone = HRNet(arch, upsample='bilinear', align_corners=align_corners)
    neck = HRNetV2(channels(arch), align_corners=align_corners)
    head = module(conv_seg=nn.Conv2d(sum(channels(arch)), classes, 1))
    return Net(backbone=backbone, neck=neck, decode_head=head)


def context(arch: str, classes: int = 19, align_corners: bool = False) -> Net:
    from mmseg.models.decode_heads import FCNHead, OCRHead

    common = dict(
        num_classes=classes,
        in_channels=channels(arch),
        in_index=(0, 1, 2, 3),
        input_transform='resize_concat',
        norm_cfg=dict(type='BN'),
        align_corners=align_corners,
        dropout_ratio=-1,
    )
    width = sum(channels(arch))
    with DefaultScope.overwrite_default_scope('mmseg'):
        fcn = FCNHead(channels=width, kernel_size=1, num_convs=1, concat_input=False, **common)
        ocr = OCRHead(channels=512, ocr_channels=256, **common)
    backbone = HRNet(arch, upsample='bilinear', align_corners=align_corners)
    return Net(backbone=backbone, decode_head=nn.ModuleList([fcn, ocr]))


# The network of each list of names, and the form it is of.
NAMES = {
    'cls_hrnet_w18': (classifier, 'w18', 'official'),
    'pose_hrnet_w32': (estimator, 'w32', 'official'),
    'face_hrnet_w18_wflw': (landmarks, 'w18', 'official'),
    'seg_hrnet_w18_small_v1': (segmentor, SMALL, 'official'),
    'seg_hrnet_ocr_w48': (context, 'w48', 'official'),
    'det_faster_rcnn_hrnetv2p_w18': (detector, 'w18', 'official detection'),
}
OF_OTHERS = re.compile(r'loss\.|(?:rpn|bbox)_head\.')  # the criterion; the heads of mmdet 0.x


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    lines = (line.split() for line in (OFFICIAL / f'keys/{name}.txt').read_text().splitlines())
    return {
        key.removeprefix('model.'): tuple(map(int, shape.split('x'))) if shape != 'scalar' else ()
        for key, shape in lines
        if not OF_OTHERS.match(key)
    }


@pytest.mark.parametrize('name', NAMES)
def test_what_is_written_has_the_official_names_and_shapes(name: str) -> None:
    build, arch, form = NAMES[name]
    with torch.device('meta'):
        state = build(arch).state_dict()
    written, _, report = checkpoints.convert(state, form)
    assert not report.left_out
    assert {key: tuple(tensor.shape) for key, tensor in written.items()} == shapes(name)


@pytest.mark.parametrize('name', [path.stem for path in sorted((OFFICIAL / 'keys').glob('*.txt'))])
def test_every_official_backbone_is_found(name: str) -> None:
    arch = re.search(r'w\d+(_small_v1)?', name)[0]
    state = {key: torch.empty(shape) for key, shape in shapes(name).items()}
    one_map = any(part in name for part in ('pose', 'dekr', 'higher'))
    backbone = HRNet(arch, multiscale_output=not one_map)
    fitted, report = checkpoints.fit(checkpoints.unwrap(state), backbone)
    assert fitted.keys() == backbone.state_dict().keys()
    assert not report.new


def logits(net: Net, x: torch.Tensor) -> list[torch.Tensor]:
    maps = net.backbone(x)
    if hasattr(net, 'neck'):
        return [net.decode_head.conv_seg(net.neck(maps)[0])]
    first = net.decode_head[0](maps)
    return [first, net.decode_head[1](maps, first)]


@pytest.mark.parametrize(
    ('name', 'build'),
    [
        ('seg_small_v1_inplace_abn', lambda: segmentor(SMALL)),
        ('seg_ade20k_small_v1', lambda: segmentor(SMALL, 150, True)),
        ('seg_ocr_small_v1', lambda: context(SMALL, 19, True)),
    ],
)
def test_segmentation_computes_what_the_official_code_computes(
    name: str, build: Callable[[], Net]
) -> None:
    reference = torch.load(OFFICIAL / f'{name}_reference.pt', weights_only=True)
    net = build().double().eval()
    saved = checkpoints.unwrap(checkpoints.load(OFFICIAL / f'{name}.pth'))
    doubles = type(saved)((n, t.double() if t.is_floating_point() else t) for n, t in saved.items())
    fitted, report = checkpoints.fit(doubles, net)
    net.load_state_dict(fitted)
    assert not report.new
    assert not any('align_corners' in note for note in report.notes)
    with torch.no_grad():
        for ours, theirs in zip(net.backbone(reference['x']), reference['maps'], strict=True):
            assert torch.equal(ours, theirs)
        for ours, theirs in zip(logits(net, reference['x']), reference['outputs'], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', ['seg_small_v1_inplace_abn', 'seg_ocr_small_v1'])
def test_official_files_are_there_and_back(name: str) -> None:
    saved = checkpoints.unwrap(checkpoints.load(OFFICIAL / f'{name}.pth'))
    for form in ('mmhrnet', 'mmseg'):
        middle, before, _ = checkpoints.convert(saved, form)
        back, _, _ = checkpoints.convert(middle, 'official', before)
        assert back.keys() == saved.keys()
        assert all(torch.equal(back[key], tensor) for key, tensor in saved.items())


def test_the_other_align_corners_is_said() -> None:
    for name, net in (
        ('seg_ocr_small_v1', HRNet(SMALL, upsample='bilinear')),
        ('seg_ade20k_small_v1', segmentor(SMALL, 150)),
        ('seg_small_v1_inplace_abn', segmentor(SMALL, align_corners=True)),
    ):
        saved = checkpoints.unwrap(checkpoints.load(OFFICIAL / f'{name}.pth'))
        notes = ' '.join(checkpoints.fit(saved, net)[1].notes)
        assert 'the maps will differ' in notes
