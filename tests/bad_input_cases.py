"""What people get wrong, as tables: name, the mistake, and what the one error must say."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from PIL import Image

from mmhrnet import HRNet, HRNetC, HRNetV2, HRNetV2p, apis, create_model
from mmhrnet.config.check import check_data, check_device, check_weights, config_errors
from mmhrnet.config.edit import set_training
from mmhrnet.inference.predict import _bgr

Table = dict[str, tuple[Any, str]]
CHANNELS = (4, 8, 16, 32)
STAGE1 = dict(num_modules=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(8,))
STAGE2 = dict(num_modules=1, block='BASIC', num_blocks=(1, 1), num_channels=(4, 8))
STAGE3 = dict(num_modules=1, block='BASIC', num_blocks=(1,) * 3, num_channels=(4, 8, 16))
STAGE4 = dict(num_modules=1, block='BASIC', num_blocks=(1,) * 4, num_channels=CHANNELS)
EXTRA = dict(stage1=STAGE1, stage2=STAGE2, stage3=STAGE3, stage4=STAGE4)


def without(given: dict, *keys: str) -> dict:
    return {key: value for key, value in given.items() if key not in keys}


def stage(index: int, **changes: Any) -> dict:
    """The description with a change in one stage."""
    name = f'stage{index}'
    return {**EXTRA, name: {**EXTRA[name], **changes}}


def renamed(given: dict, old: str, new: str) -> dict:
    return {new if key == old else key: value for key, value in given.items()}


# Arguments of HRNet: descriptions of architectures.
ARCHS: Table = {
    'arch misspelt': (dict(arch='w23'), "arch='w23'.*did you mean"),
    'arch in capitals': (dict(arch='W32'), "arch='W32'.*did you mean 'w32'"),
    'arch of create_model': (dict(arch='hrnet_w32'), "'hrnet_w32' is unknown.*Known are.*w32"),
    'arch of another network': (dict(arch='resnet50'), "'resnet50'.*Known are w18_small_v1"),
    'arch None': (dict(arch=None), 'arch=None must be a dict of stage1 to stage4, or a name'),
    'arch a width': (dict(arch=32), 'arch=32 must be a dict .*a name like w32'),
    'extra a list': (dict(extra=list(EXTRA.values())), 'must be a dict of stage1 to stage4'),
    'extra empty': (dict(extra={}), 'lacks stage1, stage2, stage3, stage4'),
    **{f'no {name}': (dict(extra=without(EXTRA, name)), f'lacks {name}: it has') for name in EXTRA},
    'stages by number': (
        dict(extra=dict(enumerate(EXTRA.values(), 1))),
        'does not take 1: .*stage1',
    ),
    'unknown part': (dict(extra={**EXTRA, 'final_layer': 1}), "take 'final_layer': .*upsample"),
    **{
        f'no {key}': (dict(extra={**EXTRA, 'stage2': without(STAGE2, key)}), f'lacks {key}: it has')
        for key in STAGE2
    },
    'num_chanels': (
        dict(extra={**EXTRA, 'stage2': renamed(STAGE2, 'num_channels', 'num_chanels')}),
        "stage2 does not take 'num_chanels': did you mean 'num_channels'",
    ),
    'key of the official files': (dict(extra=stage(2, FUSE_METHOD='SUM')), "take 'FUSE_METHOD'"),
    'stage None': (dict(extra={**EXTRA, 'stage3': None}), 'stage3=None must be a dict of num_mod'),
    'BASICBLOCK': (dict(extra=stage(2, block='BASICBLOCK')), "'BASICBLOCK'.*did you mean 'BASIC'"),
    'block of another kind': (dict(extra=stage(2, block='Swin')), "'BASIC' or 'BOTTLENECK'"),
    'one branch too few': (dict(extra=stage(3, num_branches=2)), 'num_branches is 2, but stage3'),
    'one branch too many': (dict(extra=stage(2, num_branches=3)), 'num_branches is 3.*2 stream'),
    'blocks too few': (dict(extra=stage(4, num_blocks=(1,) * 3)), r'len\(num_blocks\) is 3.*4 str'),
    'blocks too many': (dict(extra=stage(1, num_blocks=(4, 4))), r'len\(num_blocks\) is 2.*1 str'),
    'blocks 0': (dict(extra=stage(2, num_blocks=(0, 1))), 'num_blocks=.*positive integers'),
    'blocks a float': (dict(extra=stage(2, num_blocks=(1, 1.5))), r'num_blocks=\(1, 1.5\)'),
    'blocks one number': (dict(extra=stage(2, num_blocks=4)), 'num_blocks=4 must list.*each str'),
    'blocks True': (dict(extra=stage(1, num_blocks=(True,))), r'num_blocks=\(True,\)'),
    'channels too few': (dict(extra=stage(2, num_channels=(4,))), r'len\(num_channels\) is 1'),
    'channels negative': (dict(extra=stage(2, num_channels=(-4, 8))), r'num_channels=\(-4, 8\)'),
    'channels a string': (dict(extra=stage(2, num_channels='48')), "num_channels='48' must list"),
    'modules 0': (dict(extra=stage(3, num_modules=0)), 'stage3.num_modules=0 must be a positive'),
    'modules a float': (dict(extra=stage(3, num_modules=4.0)), 'num_modules=4.0'),
    'upsample in extra a string': (dict(extra={**EXTRA, 'upsample': 'bilinear'}), 'a dict of mode'),
    'upsample in extra with a typo': (
        dict(extra={**EXTRA, 'upsample': dict(mod='bilinear')}),
        "take 'mod': did you mean 'mode'",
    ),
    'mode in extra': (dict(extra={**EXTRA, 'upsample': dict(mode='cubic')}), "upsample='cubic'"),
    'multiscale_output in extra': (
        dict(extra=stage(4, multiscale_output='yes')),
        "multiscale_output='yes' must be True or False",
    ),
    'multiscale_output misspelt': (
        dict(extra=stage(4, multi_scale_output=False)),
        "did you mean 'multiscale_output'",
    ),
}

# Arguments of HRNet: options.
KAIMING = dict(type='Kaiming', layer='Conv2d')
OPTIONS: Table = {
    'norm_cfg unknown': (dict(norm_cfg=dict(type='BatchNorm')), "norm_cfg: type 'BatchNorm'.*BN"),
    'norm_cfg misspelt': (dict(norm_cfg=dict(type='SynBN')), "did you mean 'SyncBN'"),
    'norm_cfg without type': (dict(norm_cfg=dict(momentum=0.1)), 'must be a dict with a type'),
    'norm_cfg a string': (dict(norm_cfg='BN'), r"norm_cfg='BN' must be.*dict\(type='BN'"),
    'norm_cfg argument': (dict(norm_cfg=dict(type='BN', momentun=0.1)), 'norm_cfg.*momentun'),
    'norm_cfg of no norm': (dict(norm_cfg=dict(type='Conv2d')), 'norm_cfg=.*Conv2d'),
    'groups missing': (dict(norm_cfg=dict(type='GN')), 'norm_cfg=.*GN needs num_groups'),
    'groups uneven': (dict(norm_cfg=dict(type='GN', num_groups=7)), 'norm_cfg.*divisible'),
    'conv_cfg unknown': (
        dict(conv_cfg=dict(type='Conv2D5')),
        "conv_cfg: type.*did you mean 'Conv2d",
    ),
    'conv_cfg argument': (dict(conv_cfg=dict(type='Conv2d', group=2)), 'conv_cfg.*group'),
    'conv_cfg groups': (dict(conv_cfg=dict(type='Conv2d', groups=2)), 'conv_cfg.*divisible'),
    'frozen_stages 5': (dict(frozen_stages=5), 'frozen_stages=5.*from -1 to 4'),
    'frozen_stages a float': (dict(frozen_stages=1.0), 'frozen_stages=1.0.*integer'),
    'frozen_stages True': (dict(frozen_stages=True), 'frozen_stages=True.*integer'),
    'upsample misspelt': (dict(upsample='bilinar'), "did you mean 'bilinear'"),
    'upsample unknown': (dict(upsample='lanczos'), "'nearest' or 'bilinear'"),
    'align_corners for nearest': (dict(align_corners=False), "needs upsample='bilinear'"),
    'align_corners a string': (
        dict(upsample='bilinear', align_corners='False'),
        "align_corners='False' must be True or False",
    ),
    'memory_format unknown': (dict(memory_format='NHWC'), "'channels_last' or None"),
    'memory_format of torch': (dict(memory_format=torch.channels_last), "'channels_last' or None"),
    'compile with with_cp': (dict(compile=True, with_cp=True), 'either with_cp or compile'),
    'compile option': (dict(compile=dict(fullgraf=True)), 'compile=.*fullgraf'),
    'compile mode': (dict(compile=dict(mode='fastest')), 'compile=.*fastest'),
    'compile a string': (dict(compile='max-autotune'), "compile='max-autotune' must be"),
    'with_cp a string': (dict(with_cp='False'), "with_cp='False' must be True or False"),
    'norm_eval None': (dict(norm_eval=None), 'norm_eval=None must be True or False'),
    'zero_init_residual a number': (dict(zero_init_residual=0.5), 'zero_init_residual=0.5 must'),
    'multiscale_output a list': (dict(multiscale_output=[0, 1]), r'multiscale_output=\[0, 1\]'),
    'in_channels 0': (dict(in_channels=0), 'in_channels=0 must be a positive integer'),
    'in_channels a float': (dict(in_channels=3.0), 'in_channels=3.0 must be'),
    'pretrained and init_cfg': (dict(pretrained='a.pth', init_cfg=KAIMING), 'not both'),
    'pretrained True': (dict(pretrained=True), 'pretrained=True must be the path or URL'),
    'init_cfg without type': (dict(init_cfg=dict(checkpoint='a.pth')), 'init_cfg=.*with a type'),
    'init_cfg a path': (dict(init_cfg='a.pth'), "init_cfg='a.pth' must be a dict with a type"),
    'init_cfg misspelt': (dict(init_cfg=dict(type='Pretrain')), "did you mean 'Pretrained'"),
    'init_cfg of nothing': (dict(init_cfg=dict(type='Pretrained')), 'must name a checkpoint'),
    'init_cfg list of names': (dict(init_cfg=['Kaiming']), "init_cfg='Kaiming' must be a dict"),
    'argument misspelt': (
        dict(frozen_stage=1),
        "does not take 'frozen_stage': did you mean 'frozen_",
    ),
    'argument of ResNet': (dict(depth=50), "HRNet does not take 'depth': .*It takes arch"),
    'argument of timm': (dict(in_chans=1), "'in_chans': did you mean 'in_channels'"),
}


def forward(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], Any]:
    return lambda: HRNet(EXTRA).eval()(torch.zeros(shape, dtype=dtype))


def maps(*channels: int, size: int = 32) -> list[torch.Tensor]:
    return [torch.zeros(1, c, size >> i, size >> i) for i, c in enumerate(channels)]


V2, V2P, CLS = (
    (lambda: HRNetV2(CHANNELS)),
    (lambda: HRNetV2p(CHANNELS, 4)),
    (lambda: HRNetC(CHANNELS)),
)
MIXED = [torch.zeros(1, c, 8, 8) for c in CHANNELS]

# Calls: what is fed to the networks, and arguments of the necks and of create_model.
INPUTS: Table = {
    'one image without batch': (forward(3, 64, 64), r'\(3, 64, 64\).*\(N, 3, H, W\)'),
    'grey image': (forward(1, 1, 64, 64), r'\(1, 1, 64, 64\).*\(N, 3, H, W\)'),
    'channels last': (forward(1, 64, 64, 3), r'\(1, 64, 64, 3\).*\(N, 3, H, W\)'),
    'image too low': (forward(1, 3, 31, 64), 'H and W of 32 or more'),
    'no pixels': (forward(1, 3, 0, 0), r'\(1, 3, 0, 0\).*32 or more'),
    'bytes': (forward(1, 3, 32, 32, dtype=torch.uint8), 'torch.uint8: normalize it.*float'),
    'list of images': (lambda: HRNet(EXTRA)([torch.zeros(3, 64, 64)]), 'list of .*one Tensor'),
    'an array': (lambda: HRNet(EXTRA)(np.zeros((1, 3, 64, 64))), 'ndarray.*one Tensor'),
    'nothing': (lambda: HRNet(EXTRA)(None), 'NoneType.*one Tensor'),
    'empty batch in training': (
        lambda: HRNet(EXTRA).train()(torch.zeros(0, 3, 32, 32)),
        'empty batch',
    ),
    'v2: wrong channels': (
        lambda: V2()(maps(4, 8, 16, 30)),
        r'\(4, 8, 16, 30\) channels, but takes',
    ),
    'v2: three maps': (lambda: V2()(maps(4, 8, 16)), r'HRNetV2 got maps of \(4, 8, 16\) channels'),
    'v2: one map': (lambda: V2()(maps(4)[0]), 'HRNetV2 takes a list or tuple.*one Tensor'),
    'v2: no map': (lambda: V2()([]), r'HRNetV2 got maps of \(\) channels'),
    'v2: None': (lambda: V2()(None), 'takes a list or tuple of maps, not NoneType'),
    'v2: flat maps': (lambda: V2()([m[0] for m in maps(*CHANNELS)]), r'takes maps \(N, C, H, W\)'),
    'v2p: maps too small': (lambda: V2P()(maps(*CHANNELS, size=8)), 'num_outs=5.*16 or more'),
    'v2p: a dict': (lambda: V2P()(dict(enumerate(maps(*CHANNELS)))), 'HRNetV2p takes a list'),
    'cls: one map of HRNetV1': (lambda: CLS()(maps(4)), r'HRNetC got maps of \(4,\) channels'),
    'cls: maps of one size': (lambda: CLS()(MIXED), 'half as large as the one before'),
    'v2: in_channels a number': (lambda: HRNetV2(60), 'in_channels=60 must list the channels'),
    'v2: in_channels empty': (lambda: HRNetV2([]), r'in_channels=\[\] must list'),
    'v2: in_channels with 0': (lambda: HRNetV2([4, 0]), r'\[4, 0\] must list.*positive'),
    'v2: in_channels missing': (lambda: HRNetV2(), "HRNetV2: missing.*'in_channels'"),
    'v2: out_channels 0': (lambda: HRNetV2(CHANNELS, 0), 'out_channels=0 must be a positive'),
    'v2: align_corners': (lambda: HRNetV2(CHANNELS, align_corners='no'), "align_corners='no'"),
    'v2: norm_cfg': (
        lambda: HRNetV2(CHANNELS, norm_cfg=dict(type='Bn2')),
        "did you mean 'BN'|Known",
    ),
    'v2: num_outs': (lambda: HRNetV2(CHANNELS, num_outs=5), "HRNetV2 does not take 'num_outs'"),
    'v2: too many arguments': (lambda: HRNetV2(*[CHANNELS] * 9), 'HRNetV2: too many'),
    'v2p: out_channels missing': (lambda: HRNetV2p(CHANNELS), "missing.*'out_channels'"),
    'v2p: out_channels a string': (lambda: HRNetV2p(CHANNELS, '256'), "out_channels='256' must"),
    'v2p: num_outs 0': (lambda: HRNetV2p(CHANNELS, 4, num_outs=0), 'num_outs=0 must be a positive'),
    'v2p: stride 0': (lambda: HRNetV2p(CHANNELS, 4, stride=0), 'stride=0 must be a positive'),
    'v2p: pooling_type small': (
        lambda: HRNetV2p(CHANNELS, 4, pooling_type='avg'),
        "pooling_type='avg'.*did you mean 'AVG'",
    ),
    'v2p: pooling_type a function': (
        lambda: HRNetV2p(CHANNELS, 4, pooling_type=torch.nn.functional.avg_pool2d),
        "pooling_type=.*'AVG' or 'MAX'",
    ),
    'v2p: with_cp': (lambda: HRNetV2p(CHANNELS, 4, with_cp=2), 'with_cp=2 must be True or False'),
    'v2p: num_out': (lambda: HRNetV2p(CHANNELS, 4, num_out=5), "did you mean 'num_outs'"),
    'v2p: conv_cfg': (lambda: HRNetV2p(CHANNELS, 4, conv_cfg=dict(type='X')), "conv_cfg: type 'X'"),
    'v2p: init_cfg': (lambda: HRNetV2p(CHANNELS, 4, init_cfg='Xavier'), "init_cfg='Xavier' must"),
    'cls: three widths': (lambda: HRNetC((4, 8, 16)), 'HRNetC takes 4 maps'),
    'cls: bias': (lambda: HRNetC(CHANNELS, bias='auto'), "bias='auto' must be True or False"),
    'cls: norm_cfg': (lambda: HRNetC(CHANNELS, norm_cfg='BN'), "norm_cfg='BN' must be a dict"),
    'model misspelt': (lambda: create_model('hrnet_w33'), "'hrnet_w33': did you mean 'hrnet_w"),
    'model of another family': (lambda: create_model('vit_b'), "no model 'vit_b'.*list_models"),
    'classes of a pyramid': (
        lambda: create_model('hrnetv2p_w18', num_classes=5),
        r'num_classes=5 is for hrnet_\*',
    ),
    'weights twice': (
        lambda: create_model('hrnet_w18', pretrained=True, checkpoint='a.pth'),
        'either pretrained=True or checkpoint',
    ),
    'stages of a named model': (
        lambda: create_model('hrnet_w18', extra=EXTRA),
        'extra cannot be given',
    ),
    'timm option': (
        lambda: create_model('hrnet_w18', drop_path_rate=0.1),
        "does not take 'drop_path_rate'",
    ),
    'option of a wrong kind': (
        lambda: create_model('hrnet_w18', features_only=True, frozen_stages='all'),
        "frozen_stages='all'.*from -1 to 4",
    ),
    'input without channels': (
        lambda: create_model('hrnet_w18', features_only=True, in_channels=0),
        'in_channels=0 must be a positive integer',
    ),
}


def image(index: int = 0, /, **changes: Any) -> Callable[[dict], None]:
    return lambda content: content['images'][index].update(changes)


def annotation(index: int = 0, /, **changes: Any) -> Callable[[dict], None]:
    return lambda content: content['annotations'][index].update(changes)


def every(**changes: Any) -> Callable[[dict], None]:
    return lambda content: [entry.update(changes) for entry in content['annotations']] and None


def drop(name: str, key: str, index: int = 0) -> Callable[[dict], None]:
    return lambda content: content[name][index].pop(key) and None


def put(**changes: Any) -> Callable[[dict], None]:
    return lambda content: content.update(changes)


def categories(*names: str) -> Callable[[dict], None]:
    entries = [dict(id=number, name=name) for number, name in enumerate(names, 1)]
    return put(categories=entries)


def twice(name: str) -> Callable[[dict], None]:
    return lambda content: content[name].append(dict(content[name][0]))


def more_polygons(content: dict) -> None:
    """Of every second annotation the polygon is a line."""
    for entry in content['annotations'][::2]:
        entry['segmentation'] = [[1, 1, 9, 9]]


def corners(content: dict) -> None:
    """Boxes as x1, y1, x2, y2 of small objects on the right."""
    for entry in content['annotations']:
        entry['bbox'] = [50, 40, 30, -8]


def two_corners(content: dict) -> None:
    """Boxes as x1, y1, x2, y2 of large objects."""
    for entry in content['annotations']:
        entry['bbox'] = [30, 20, 60, 45]


# Changes of a small COCO file, or what the file is instead. Its classes are cat, dog and person.
COCO: Table = {
    'empty file': (b'', 'is not JSON, it is empty'),
    'cut off': (b'{"images": [{"id": 1,', 'is not JSON, it begins with'),
    'a web page': (b'<!DOCTYPE html><html>', 'is not JSON, it begins with .*DOCTYPE'),
    'a pointer of Git LFS': (
        b'version https://git-lfs.github.com/spec/v1',
        'begins with .*version',
    ),
    'another encoding': ('{"a": "\xe4"}'.encode('latin-1'), 'is not JSON'),
    'nested without end': (b'[' * 100_000, 'is not JSON'),
    'a list': (b'[]', 'contains a list instead of a dict'),
    'a folder': (Path, 'is a folder, not an annotation file'),
    **{
        f'no {name}': (lambda content, name=name: content.pop(name) and None, f"has no '{name}'")
        for name in ('images', 'annotations', 'categories')
    },
    'annotation instead of annotations': (
        lambda content: content.update(annotation=content.pop('annotations')),
        "no 'annotations': did you mean 'annotation'",
    ),
    **{
        f'{name} empty': (put(**{name: []}), f"'{name}' is empty")
        for name in ('images', 'annotations', 'categories')
    },
    'images by name': (put(images={'1.jpg': {}}), "'images' must be a list of dicts"),
    'categories null': (put(categories=None), "'categories' must be a list of dicts"),
    'image without id': (drop('images', 'id'), 'image without id: it has no id, which must be'),
    'annotation without id': (drop('annotations', 'id', 1), 'annotation without id of 1.jpg: '),
    'id a list': (image(id=[1]), r'image \[1\]: id is \[1\], it must be a number'),
    'image twice': (twice('images'), 'ids of images that are used twice .1.:.*id 1'),
    'annotation twice': (twice('annotations'), 'ids of annotations that are used twice.*id 1'),
    'category without name': (drop('categories', 'name', 1), 'category 2: it has no name'),
    'name twice': (categories('cat', 'cat', 'person'), r"\['cat'\] are used twice"),
    'no class of the config': (categories('car', 'bus'), 'lacks 3 of the 3 classes.*metainfo'),
    'names in capitals': (categories('Cat', 'Dog', 'Person'), "'cat': did you mean 'Cat'"),
    'a name misspelt': (categories('cat', 'dogs', 'person'), "'dog': did you mean 'dogs'.*shift"),
    'a class missing': (categories('cat', 'person'), 'The labels of the others would shift'),
    'another order': (categories('person', 'cat', 'dog'), 'another order.*metainfo=dict'),
    'image without file_name': (drop('images', 'file_name'), 'image 1: it has no file_name'),
    'file_name empty': (image(file_name=''), "image 1: file_name is ''"),
    'image without width': (
        drop('images', 'width'),
        'it has no width, which must be a positive integer',
    ),
    'width 0': (image(width=0), 'width is 0, it must be a positive integer'),
    'height a string': (image(height='48'), "height is '48', it must be a positive integer"),
    'width and height swapped': (image(width=48, height=64), r'64 wide and 48 high.*\(48, 64\)'),
    'size of a larger original': (image(2, width=640, height=480), r'\(640, 480\).*Correct width'),
    'image elsewhere': (
        image(1, file_name='no.jpg'),
        'images that are not in .*no.jpg.*data_prefix',
    ),
    'image in another folder': (image(file_name='train/1.jpg'), 'images that are not in .*1.jpg'),
    'annotation without image': (drop('annotations', 'image_id'), 'annotation 1 of .*no image_id'),
    'annotation without box': (drop('annotations', 'bbox'), 'of 1.jpg: it has no bbox'),
    'annotation without area': (drop('annotations', 'area'), 'of 1.jpg: it has no area'),
    'area a string': (annotation(area='12'), "area is '12', it must be a finite number"),
    'unknown image': (annotation(image_id=9), 'annotation 1 of image 9: there is no such image'),
    'unknown class': (annotation(2, category_id=90), 'annotation 3 of .*no category 90'),
    'box of three': (
        annotation(bbox=[1, 2, 3]),
        r'annotation 1 of 1.jpg: bbox is \[1, 2, 3\], it must be \[x, y, width',
    ),
    'box with null': (annotation(bbox=[1, 2, None, 4]), 'bbox is .*None.*of finite numbers'),
    'box nan': (annotation(bbox=[1, nan, 3, 4]), 'bbox is .*nan.*of finite numbers'),
    'box of negative width': (annotation(bbox=[9, 9, -3, 4]), 'bbox is .*-3.*no negative size'),
    'areas 0': (every(area=0), '6 of 6 annotations would be skipped.*area is 0.*width [*] height'),
    'all crowds': (every(iscrowd=1), '6 of 6 .*iscrowd is 1.*Write 0'),
    'all to be ignored': (every(ignore=1), '6 of 6 .*ignore is 1.*Write 0'),
    'crowd a string': (annotation(iscrowd='0'), "iscrowd is '0', it must be 0 or 1"),
    'classes that are not learned': (
        lambda content: (
            every(category_id=9)(content),
            content['categories'].append(dict(id=9, name='bird')),
        ),
        '6 of 6 .*its class is not one of the config',
    ),
    'images under the smallest size': (
        lambda content: [i.update(width=20, height=15) for i in content['images']] and None,
        '6 of 6 .*under filter_cfg.min_size.*min_size of the data set to 0',
    ),
    'boxes of two far corners': (two_corners, r'6 of 6 boxes end outside.*x2 - x1, y2 - y1'),
    'boxes of two corners': (corners, 'wrong annotations .5 of 6.:'),
    'box without height': (annotation(bbox=[1, 2, 3, 0]), 'smaller than a pixel'),
    'boxes relative': (every(bbox=[0.1, 0.2, 0.5, 0.5]), 'no bbox .* above 1.*multiply.*in pixels'),
    'box above the image': (annotation(bbox=[1, -9, 5, 5]), 'outside of the image'),
    'boxes of larger images': (every(bbox=[300, 200, 50, 50]), '6 of 6 .*these images'),
    'segmentation null': (annotation(segmentation=None), 'segmentation is None, .*learns masks'),
    'segmentation absent': (
        drop('annotations', 'segmentation'),
        'it has no segmentation, .*learns masks',
    ),
    'segmentation empty': (annotation(segmentation=[]), r'segmentation is \[\], .*learns masks'),
    'segmentation flat': (annotation(segmentation=[1, 2, 3, 4, 5, 6]), 'a list of polygons'),
    'polygon nan': (annotation(segmentation=[[1, 2, 3, nan, 5, 6]]), 'list of polygons'),
    'polygon odd': (annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), 'an odd count'),
    'polygons lines': (more_polygons, '3 of 6 annotations would be skipped.*fewer than 6'),
    'code without size': (annotation(segmentation={'counts': 'a'}), 'dict of size and counts'),
    'code of another size': (
        annotation(segmentation={'size': [64, 48], 'counts': [64 * 48]}),
        r'size of segmentation is \[64, 48\], that of the image is \[48, 64\]',
    ),
    'code too short': (
        annotation(segmentation={'size': [48, 64], 'counts': [5]}),
        'add up to the pixels',
    ),
}


# The same for the keypoints of the persons.
JOINTS: Table = {
    'instances instead of keypoints': (
        lambda content: [a.pop('keypoints') for a in content['annotations']] and None,
        '6 of 6 .*it has no keypoints.*this task',
    ),
    'joints of another skeleton': (annotation(keypoints=[1, 1, 2] * 16), '48 numbers, not 51'),
    'joints without visibility': (
        annotation(keypoints=[1, 1] * 17),
        r'keypoints is \[1, 1.*x, y, visibility',
    ),
    'joints null': (annotation(keypoints=None), 'keypoints is None, it must be'),
    'no joint labelled': (
        every(keypoints=[0, 0, 0] * 17, num_keypoints=0),
        '6 of 6 .*no joint has a visi.*Write x, y, 2',
    ),
    'joints labelled and not counted': (
        every(num_keypoints=0),
        '6 of 6 .*num_keypoints is 0, but joints are set.*number of its joints',
    ),
    'joint nan': (
        annotation(keypoints=[nan, 1, 2] * 17),
        r'keypoints is \[nan.*the finite numbers',
    ),
    'visibility 3': (annotation(keypoints=[1, 1, 3] * 17), 'not 0, 1 or 2: 3'),
    'category of another skeleton': (
        lambda content: content['categories'][0].update(keypoints=['nose'] * 21),
        "category 'person' has 21 keypoints, but metainfo and head have 17: .*describe",
    ),
}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:400])


# What an image of 64x48 is instead.
IMAGES: Table = {
    'image missing': (Path.unlink, 'images that are not in .*1.jpg'),
    'image of zero bytes': (lambda file: file.write_bytes(b''), '1.jpg is not a readable image'),
    'image truncated': (truncate, '1.jpg is not a readable image.*[Tt]runcated'),
    'image a web page': (lambda file: file.write_text('<html>404</html>'), 'a readable image'),
    'image a folder': (lambda file: [file.unlink(), file.mkdir()], 'There is no image .*1.jpg'),
    'image scaled': (lambda file: Image.new('RGB', (32, 24)).save(file), '32 wide and 24 high'),
}


def skeleton(count: int = 5, **changes: Any) -> dict:
    """A metainfo of mmpose."""
    names = [f'joint {index}' for index in range(count)]
    return (
        dict(
            dataset_name='mine',
            keypoint_info={
                k: dict(name=name, type='upper', swap='') for k, name in enumerate(names)
            },
            skeleton_info={0: dict(link=(names[0], names[1]))},
            joint_weights=[1.0] * count,
            sigmas=[0.05] * count,
        )
        | changes
    )


def keypoint(index: int, **changes: Any) -> dict:
    """A skeleton with a change of one keypoint."""
    info = skeleton()['keypoint_info']
    return skeleton(keypoint_info={**info, index: {**info[index], **changes}})


# A metainfo of five keypoints, where file and head have five too.
SKELETONS: Table = {
    'sigmas of another skeleton': (skeleton(sigmas=[0.1] * 17), 'sigmas has 17 numbers, but .* 5'),
    'weights of another skeleton': (skeleton(joint_weights=[1]), 'joint_weights has 1 numbers'),
    'sigmas missing': (without(skeleton(), 'sigmas'), 'metainfo lacks sigmas: it needs dataset_na'),
    'link of an unknown joint': (
        skeleton(skeleton_info={0: dict(link=('joint 0', 'joint0'))}),
        "'joint0' is not .*did you mean 'joint 0'",
    ),
    'swap of an unknown joint': (keypoint(1, swap='left'), "'left' is not a keypoint.*A swap"),
    'swap of one side': (
        keypoint(1, swap='joint 2'),
        "swap of 'joint 1' is 'joint 2', but its own",
    ),
    'keypoints from 1': (
        skeleton(keypoint_info=dict(enumerate(skeleton()['keypoint_info'].values(), 1))),
        'must be 0 to 4, in order',
    ),
    'keypoints a list': (skeleton(keypoint_info=['nose']), 'metainfo does not describe keypoints'),
    'file missing': (dict(from_file='no.py'), 'metainfo does not describe.*no.py'),
    'four keypoints': (skeleton(4), 'but metainfo has 4 keypoints: set out_channels=4'),
}

LABELS = np.zeros((48, 64), np.uint8)


def labels(array: np.ndarray) -> Callable[[Path], None]:
    return lambda file: Image.fromarray(array).save(file)


# What a label map of 64x48 with classes 0 to 7 is instead.
MAPS: Table = {
    'map missing': (Path.unlink, 'missing label maps of 3 images .1.:'),
    'map truncated': (lambda file: file.write_bytes(file.read_bytes()[:60]), 'a readable image'),
    'map a colour picture': (labels(np.zeros((48, 64, 3), np.uint8)), '3 channels.*class index'),
    'map of another size': (labels(LABELS[:24]), 'is 64x24, its image is 64x48'),
    'map turned': (labels(LABELS.T.copy()), 'is 48x64, its image is 64x48'),
    'map of more classes': (
        labels(LABELS + 33),
        r'has the labels \[33\]: allowed are 0 to \d+, and 255',
    ),
    'map of black and white': (labels(LABELS + 254), r'has the labels \[254\]'),
    'map in 16 bits': (labels(LABELS.astype(np.uint16) + 1000), r'has the labels \[1000\]'),
}


def line(text: str) -> Callable[[Path], None]:
    """A list of images whose second line is this one."""
    return lambda root: (root / 'list.txt').write_text(f'a/1.jpg 0\n{text}\nb/1.jpg 1\n')


def whole(content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / 'list.txt').write_bytes(content)


# Lists of classified images, with two classes.
LISTS: Table = {
    'line without class': (line('a/1.jpg'), "line 2: 'a/1.jpg'\n.*<file name> <class index>"),
    'line with a name': (line('a/1.jpg cat'), "line 2: 'a/1.jpg cat'"),
    'line blank': (line(''), "line 2: ''"),
    'class beyond the last': (line('a/1.jpg 2'), 'line 2: .*not in 0 to 1'),
    'class negative': (line('a/1.jpg -1'), "line 2: 'a/1.jpg -1'"),
    'image of a list missing': (line('a/9.jpg 0'), 'images that are not in .*a/9.jpg'),
    'folder of a list missing': (line('c/1.jpg 0'), 'images that are not in .*c/1.jpg'),
    'one class': (whole(b'a/1.jpg 1\nb/1.jpg 1\n'), 'are of class 1, but the model has 2'),
    'list empty': (whole(b''), "line 1: ''"),
    'list no text': (whole(b'\xff\xfe\x00\x80'), 'is not a list of images'),
}


def folders(*names: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for name in names:
            (root / 'images' / name).mkdir(parents=True, exist_ok=True)

    return make


FOLDERS: Table = {
    'class folder empty': (lambda root: (root / 'images/b/1.jpg').unlink(), 'images.*\n? *b'),
    'class folder of texts': (
        lambda root: (root / 'images/b/1.jpg').rename(root / 'images/b/1.txt'),
        'class folders without images .1.:',
    ),
    'class folder too many': (folders('c'), '3 class folders, but the model has 2.*num_classes'),
    'class folder missing': (
        lambda root: [(root / 'images/b/1.jpg').unlink(), (root / 'images/b').rmdir()],
        '1 class folders, but the model has 2',
    ),
    'classified image broken': (
        lambda root: (root / 'images/a/1.jpg').write_bytes(b'GIF'),
        'a/1.jpg is not a readable image',
    ),
}


DETECTOR = Path(__file__).resolve().parents[1] / 'configs/mmdet/faster_rcnn_hrnetv2p_w32.py'
CASCADE = DETECTOR.with_name('cascade-rcnn_hrnetv2p-w32-20e_coco.py')
OCR = DETECTOR.parents[1] / 'mmseg/ocrnet_hr18_4xb4-160k_ade20k-512x512.py'
MODEL = 'model = dict(type="A")\n'


def text(content: str, name: str = 'config.py', **shared: Any) -> Callable[[Path], Any]:
    """Reads a config of this content."""

    def read(folder: Path) -> Any:
        (folder / name).write_text(content)
        return apis.make_config(folder / name, **shared)

    return read


def data(content: str) -> Callable[[Path], None]:
    return lambda folder: check_data(text(MODEL + content)(folder))


def detector(**options: Any) -> Callable[[Path], Any]:
    return lambda _: apis.make_config(DETECTOR, cfg_options=options)


def resume(name: str) -> Callable[[Path], None]:
    def start(folder: Path) -> None:
        cfg = apis.make_config(DETECTOR)
        set_training(
            cfg, resume=str(folder / name), amp=False, auto_scale_lr=False, no_validate=False
        )

    return start


def built(**cfg: Any) -> Callable[[Path], None]:
    def build(_: Path) -> None:
        with config_errors():
            MODELS.build(cfg)

    return build


class Lacks:
    """What types of configs are like that cannot be built on this machine."""

    def __init__(self, error: type[Exception], text: str = 'Please run "pip install x"') -> None:
        raise error(text)


def said(text: str) -> Callable[[Path], None]:
    """Of torch, while it trains."""

    def train(_: Path) -> None:
        with config_errors():
            raise RuntimeError(text)

    return train


def loader(**options: Any) -> Callable[[Path], None]:
    settings = dict(dataset=dict(type='A'), **options)
    return data(f'train_dataloader = {settings}')


class PassesOn(Lacks):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)


def trained(content: str) -> Callable[[Path], None]:
    def start(folder: Path) -> None:
        cfg = text(MODEL + content)(folder)
        set_training(cfg, resume=None, amp=False, auto_scale_lr=False, no_validate=False)

    return start


def weights(content: bytes) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        path = folder / 'a.pth'
        path.write_bytes(content)
        init = {'model.backbone.init_cfg.checkpoint': str(path)}
        check_weights(apis.make_config(DETECTOR, cfg_options=init))

    return check


# Configs and arguments of the tools.
CONFIGS: Table = {
    'config missing': (lambda _: apis.make_config('no.py'), 'There is no config no.py'),
    'config a folder': (lambda folder: apis.make_config(folder), 'There is no config'),
    'config of syntax errors': (text('model = dict(\n'), r'config.py .*(never closed|line 1)'),
    'config with an unknown name': (text('model = dict(type=A)'), "config.py .*name 'A'"),
    'config of another format': (text('[model]', 'config.ini'), 'config.ini .*supported'),
    'config of broken JSON': (text('{"model":', 'config.json'), 'config.json '),
    'base missing': (text('_base_ = "no.py"'), 'config.py .*no.py'),
    'base of an unknown library': (text('_base_ = "mmnope::a.py"'), 'config.py .*mmdet::'),
    'import missing': (text('custom_imports = dict(imports=["nope"])'), 'config.py .*nope'),
    'key of two bases': (
        lambda folder: [
            (folder / 'a.py').write_text('x = 1'),
            (folder / 'b.py').write_text('x = 2'),
            text('_base_ = ["a.py", "b.py"]')(folder),
        ],
        'config.py .*[Dd]uplicate',
    ),
    'list of heads by number': (
        text(f'_base_ = "{OCR}"\nmodel = dict(decode_head=[dict(num_classes=3)] * 2)'),
        r'config.py changes model.decode_head.*for head in _base_.model.decode_head\]$',
    ),
    'list of heads as one': (
        text(f'_base_ = "{CASCADE}"\nmodel = dict(roi_head=dict(bbox_head=dict(num_classes=3)))'),
        r'changes model.roi_head.bbox_head.*for head in _base_.model.roi_head.bbox_head\]$',
    ),
    'no model': (text('default_scope = "mmdet"'), "config.py .*no 'model'"),
    'no data': (data(''), 'no train_dataloader'),
    'data a list': (data('train_dataloader = [1]'), 'train_dataloader must be a dict'),
    'data without a set': (data('train_dataloader = dict()'), 'train_dataloader.dataset must be'),
    'data set None': (data('train_dataloader = dict(dataset=None)'), 'dataset must be a dict'),
    'scope of mini': (text(MODEL, mini=True), 'set default_scope to one of mmdet, mmpose'),
    'data root missing': (
        lambda folder: apis.make_config(DETECTOR, data_root=str(folder / 'no')),
        'no is not a folder',
    ),
    'data root of another set': (
        lambda folder: check_data(apis.make_config(DETECTOR, data_root=str(folder))),
        'instances_train2017.json\n.*--mini',
    ),
    'file to resume missing': (resume('no.pth'), '--resume .*no.pth'),
    'folder to resume': (resume('.'), '--resume '),
    'option in a number': (
        detector(**{'train_cfg.max_epochs.a': 1}),
        '--cfg-options train_cfg.max',
    ),
    'option beyond a list': (
        detector(**{'param_scheduler.9.type': 'A'}),
        '--cfg-options param_scheduler.9',
    ),
    'no GPU': (lambda _: check_device('cuda:99'), '--device cuda:99 .*GPU'),
    'device unknown': (lambda _: check_device('gpu'), '--device gpu is not a device of'),
    'weights no checkpoint': (weights(b'<html>'), 'a.pth cannot be loaded.*--from-scratch'),
    'type misspelt': (
        built(type='mmhrnet.HRnet'),
        "HRnet' is not a model of mmhrnet: did you.*'HRNet'",
    ),
    'type unknown': (
        built(type='mmhrnet.Swin'),
        "type='mmhrnet.Swin' is not a model of mmhrnet.*custom_imports",
    ),
    'argument of a type': (
        built(type='mmhrnet.HRNetV2p', in_chanels=[4], out_channels=4),
        "'in_chanels': did you mean 'in_channels'",
    ),
    'backbone of a config': (
        built(type='mmhrnet.HRNet', frozen_stagse=1),
        "HRNet does not take 'frozen_stagse': did you mean 'frozen_stages'",
    ),
    'argument of an inherited type': (
        built(type=PassesOn, error=ValueError, txt=''),
        "unexpected keyword argument 'txt': did you mean 'text'",
    ),
    'option of a loader': (
        loader(batch_sise=2),
        "train_dataloader does not take 'batch_sise': did you mean 'batch_size'",
    ),
    'extra of a config': (
        built(type='mmhrnet.HRNet', extra=dict(stage4=None)),
        'stage4=None must be a dict',
    ),
    'nothing to train by': (trained(''), 'no train_cfg dict'),
    'no optimizer': (trained('train_cfg = dict()'), 'no optim_wrapper dict'),
    'keys of MMCV 1.x': (
        text(MODEL + 'data = dict(samples_per_gpu=2)\nlr_config = dict(policy="step")'),
        'data: now train_dataloader.*batch_size.*lr_config: now param_scheduler.*remove them',
    ),
    'option of MMCV 1.x': (
        detector(**{'data.samples_per_gpu': 2}),
        '--cfg-options data.samples_per_gpu is of MMCV 1.x: set train_dataloader.*batch_size',
    ),
    'type without its package': (
        built(type=Lacks, error=ImportError),
        "type='Lacks' cannot be used here: Please run .pip install x",
    ),
    'type without its device': (
        built(type=Lacks, error=AssertionError, text='is only\navailable on gpu'),
        "type='Lacks' cannot be used here: is only available on gpu",
    ),
    'value of a type': (
        built(type=Lacks, error=ValueError, text='Invalid learning rate: -1'),
        "type='Lacks' cannot be used here: Invalid learning rate: -1",
    ),
    'workers that are to stay': (
        loader(persistent_workers=True),
        'train_dataloader .*num_workers > 0',
    ),
    'batch of nothing': (loader(batch_size=0), 'cannot be used here: batch_size should be'),
    'streams without gradients': (
        said('Expected to have finished reduction in the prior iteration before'),
        'model.backbone.multiscale_output=False.*find_unused_parameters=True',
    ),
    'no compiler': (said('No working C++ compiler found in'), r'install g\+\+'),
}

# What is given to Predictor for an image.
ARRAYS: Table = {
    **{
        f'array of {dtype}': (np.zeros((8, 8, 3), dtype), f'has the type {dtype}: give uint8')
        for dtype in ('float32', 'float64', 'int64', 'bool', 'object')
    },
    'array without rows': (np.zeros((0, 8, 3), np.uint8), r'shape \(0, 8, 3\).*with pixels'),
    'array without numbers': (np.zeros(0, np.uint8), r'shape \(0,\): it must be \(H, W, 3\)'),
    'array of two channels': (np.zeros((8, 8, 2), np.uint8), r'\(8, 8, 2\): it must be \(H, W, 3'),
    'array channels first': (np.zeros((3, 8, 8), np.uint8), r'\(3, 8, 8\): it must be'),
    'batch of arrays': (np.zeros((1, 8, 8, 3), np.uint8), r'\(1, 8, 8, 3\): it must be'),
    'tensor': (torch.zeros(3, 8, 8), r'is a Tensor, not an array: .*permute\(1, 2, 0\)'),
    'image of PIL': (Image.new('RGB', (8, 8)), r'is a Image, not an array: .*convert\("RGB"\)'),
    'path of an image': ('image.jpg', r'is a str, not an array: .*read_image\(path\)'),
    'list of arrays': ([np.zeros((8, 8, 3), np.uint8)], 'is a list, not an array'),
    'no image': (None, 'is a NoneType, not an array'),
}
ARRAYS = {name: (lambda given=given: _bgr(given), says) for name, (given, says) in ARRAYS.items()}
