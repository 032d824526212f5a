"""What people get wrong: one clear error each, before any time is spent; and what is no error."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import bad_input_cases as cases
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPERS, TRANSFORMS, DefaultScope
from mmengine.visualization import TensorboardVisBackend
from PIL import Image

from mmhrnet import HRNet, apis
from mmhrnet.config.check import check_data, config_errors, merge_options
from mmhrnet.datasets import mini_root
from mmhrnet.hosts.shrink import set_classes
from mmhrnet.inference.predict import _bgr

ROOT = Path(__file__).resolve().parents[1]
MASK_RCNN = 'mmdet/mask-rcnn_hrnetv2p-w18-1x_coco'
FASTER_RCNN = 'mmdet/faster_rcnn_hrnetv2p_w32'
POSE = 'mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192'
FCN = 'mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024'
CLASSIFIER = 'mmpretrain/hrnet-w18-small-v1_4xb64_in1k'
CLASSES = ('cat', 'dog', 'person')
TRAIN = ('train_dataloader',)
TABLES = (
    *(cases.ARCHS, cases.OPTIONS, cases.INPUTS, cases.COCO, cases.JOINTS),
    *(cases.SKELETONS, cases.IMAGES, cases.MAPS, cases.LISTS, cases.FOLDERS),
    *(cases.CONFIGS, cases.ARRAYS),
)


def of(*tables: cases.Table) -> Any:
    rows = [pytest.param(*row, id=name) for table in tables for name, row in table.items()]
    return pytest.mark.parametrize(('mistake', 'message'), rows)


def one_error(call: Callable[[], Any], message: str) -> None:
    """One error of our own words: a few lines, of which the first are not Python's."""
    with pytest.raises(apis.ConfigError, match=re.compile(message, re.DOTALL)) as info:
        call()
    text = str(info.value)
    assert len(text) < 1500
    assert 'Traceback' not in text


def wrong(cfg: Config, message: str) -> None:
    one_error(lambda: check_data(cfg, TRAIN), message)


def test_the_cases_are_many(figure: Callable[[str, Any], None]) -> None:
    count = sum(map(len, TABLES))
    figure('cases of bad input, one clear error each', count)
    assert count >= 200


@of(cases.ARCHS, cases.OPTIONS)
def test_hrnet_names_the_argument_and_the_fix(mistake: dict, message: str) -> None:
    given = {'extra': cases.EXTRA, **mistake}
    if 'arch' in mistake:
        del given['extra']
    one_error(lambda: HRNet(**given), message)


@pytest.mark.parametrize('name', ['num_chanels', 'upsample in extra a string', 'stage None'])
def test_the_registry_says_the_same(name: str) -> None:
    mistake, message = cases.ARCHS[name]
    one_error(lambda: MODELS.build(dict(type='mmhrnet.HRNet', **mistake)), message)


@of(cases.INPUTS, cases.ARRAYS)
def test_inputs_necks_and_named_models(mistake: Callable[[], Any], message: str) -> None:
    one_error(mistake, message)


@of(cases.CONFIGS)
def test_configs_and_arguments(
    mistake: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    one_error(lambda: mistake(tmp_path), message)


class Hungry(torch.nn.BatchNorm2d):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')


def test_layers_are_blamed_for_their_own_errors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = dict(type='GN', num_groups=7)
    with pytest.raises(ValueError, match='No layer can be built with norm_cfg=') as info:
        HRNet(cases.EXTRA, conv_cfg=dict(type='Conv2d'), norm_cfg=norm)
    assert 'conv_cfg' not in str(info.value)
    with pytest.raises(torch.OutOfMemoryError, match='out of memory'):
        HRNet(cases.EXTRA, norm_cfg=dict(type=Hungry))
    monkeypatch.setattr(HRNet, '_build_stage', lambda *_: {}['a bug'])
    with pytest.raises(KeyError, match='a bug'):
        HRNet(cases.EXTRA, norm_cfg=dict(type='BN'))


def test_other_errors_keep_their_tracebacks() -> None:
    for error in (RuntimeError('shapes'), AssertionError('bug'), ValueError('bug'), KeyError('x')):
        with pytest.raises(type(error)) as info, config_errors():
            raise error
        assert info.value is error
    for given in (AssertionError(), torch.OutOfMemoryError('CUDA out of memory')):
        with pytest.raises(type(given)), config_errors():
            MODELS.build(dict(type=raising, error=given))


def raising(error: Exception) -> None:
    raise error


@pytest.mark.skipif(torch.cuda.is_available(), reason='here there is one')
def test_mixed_precision_of_a_config_needs_a_gpu() -> None:
    wrapper = dict(type='AmpOptimWrapper', optimizer=None)
    with config_errors_of("type='AmpOptimWrapper' cannot be used here: .*on gpu"):
        OPTIM_WRAPPERS.build(wrapper)


def test_a_backend_without_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with config_errors_of('What the config names cannot be used here: .*pip install'):
        TensorboardVisBackend(str(tmp_path)).add_scalar('loss', 1)


@contextmanager
def config_errors_of(message: str) -> Iterator[None]:
    with pytest.raises(apis.ConfigError, match=message), config_errors():
        yield


@pytest.mark.parametrize('key', ['data', 'fp16', 'evaluation', 'runner'])
def test_keys_that_hosts_left_over_are_a_warning(
    key: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    cases.text(f'{cases.MODEL}optimizer = dict()\noptim_wrapper = dict()\n{key} = dict(a=1)')(
        tmp_path
    )
    (record,) = caplog.records
    assert f'{key}: now ' in record.message
    assert 'optimizer: ' not in record.message


def test_arrays_of_other_kinds_are_converted() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    pixels = np.stack([grey] * 3, axis=2)
    transparent = np.concatenate([pixels, pixels[..., :1]], axis=2)
    deep = pixels.astype(np.uint16) * 257
    for image in (grey, grey[..., None], pixels, transparent, deep, deep[..., 0]):
        converted = _bgr(image)
        assert np.array_equal(converted, pixels)
        assert converted.dtype == np.uint8
    assert _bgr(pixels[::-1, ::-1]).flags.c_contiguous


def test_an_empty_batch_gives_empty_maps() -> None:
    """People that nobody detected: there is nothing to say of them, and nothing wrong."""
    maps = HRNet(cases.EXTRA).eval()(torch.zeros(0, 3, 64, 32))
    assert [tuple(y.shape) for y in maps] == [
        *((0, 4, 16, 8), (0, 8, 8, 4), (0, 16, 4, 2), (0, 32, 2, 1)),
    ]


# Annotation files and images.


def coco(joints: bool = False) -> dict:
    """Three images of 64x48 with two objects each."""
    square = [8, 8, 24, 8, 24, 24, 8, 24]
    return dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=64, height=48) for i in (1, 2, 3)],
        annotations=[
            dict(
                **dict(id=n + 1, image_id=n // 2 + 1, category_id=1 if joints else n % 3 + 1),
                **dict(bbox=[8, 8, 16, 16], area=256, iscrowd=0, segmentation=[list(square)]),
                **(dict(keypoints=[9, 9, 2] * 17, num_keypoints=17) if joints else {}),
            )
            for n in range(6)
        ],
        categories=[dict(id=1, name='person', keypoints=['joint'] * 17)]
        if joints
        else [dict(id=n, name=name) for n, name in enumerate(CLASSES, 1)],
    )


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in (1, 2, 3):
        Image.new('RGB', (64, 48), (9, 99, 199)).save(folder / f'{index}.jpg')


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Configs by name, read once."""
    root = tmp_path_factory.mktemp('root')
    (root / 'train').mkdir()
    read: dict[tuple[str, bool], Config] = {}

    def make(name: str, mini: bool = False) -> Config:
        if (name, mini) not in read:
            path = ROOT / f'configs/{name}.py'
            read[name, mini] = apis.make_config(path, data_root=str(root), mini=mini)
        return deepcopy(read[name, mini])

    return make


def changed(mistake: Any, content: dict) -> Any:
    if isinstance(mistake, bytes) or mistake is Path:
        return mistake
    mistake(content)
    return content


@pytest.fixture
def use(base: Callable, tmp_path: Path) -> Callable[..., Config]:
    """Configs whose training data are three images and a COCO file of this content."""
    write_images(tmp_path / 'images')

    def make(name: str, content: Any, mini: bool = False) -> Config:
        path, cfg = tmp_path / 'a.json', base(name, mini)
        if content is Path:
            path.mkdir()
        else:
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            path.write_bytes(text)
        cfg.train_dataloader.dataset.update(
            data_root=str(tmp_path), ann_file='a.json', data_prefix=dict(img='images')
        )
        if cfg.default_scope == 'mmdet':
            cfg.train_dataloader.dataset.metainfo = dict(classes=CLASSES)
            set_classes(cfg.model, len(CLASSES))
        return cfg

    return make


@of(cases.COCO)
def test_annotation_files(mistake: Any, message: str, use: Callable) -> None:
    wrong(use(MASK_RCNN, changed(mistake, coco())), message)


@of(cases.JOINTS)
def test_keypoints(mistake: Any, message: str, use: Callable) -> None:
    wrong(use(POSE, changed(mistake, coco(joints=True))), message)


@pytest.mark.parametrize('name', ['cut off', 'names in capitals', 'image elsewhere', 'joint nan'])
def test_annotation_files_of_mini(name: str, use: Callable) -> None:
    mistake, message = (cases.COCO | cases.JOINTS)[name]
    joints = name in cases.JOINTS
    wrong(use(POSE if joints else MASK_RCNN, changed(mistake, coco(joints)), mini=True), message)


@pytest.fixture
def five_joints(use: Callable) -> Config:
    """Persons of five keypoints."""
    content = coco(joints=True)
    content['categories'] = [dict(id=1, name='person')]
    for entry in content['annotations']:
        entry.update(keypoints=[9, 9, 2] * 5, num_keypoints=5)
    cfg = use(POSE, content)
    cfg.train_dataloader.dataset.metainfo = cases.skeleton()
    cfg.model.head.out_channels = 5
    return cfg


@of(cases.SKELETONS)
def test_metainfo_of_keypoints(mistake: dict, message: str, five_joints: Config) -> None:
    five_joints.train_dataloader.dataset.metainfo = mistake
    wrong(five_joints, message)


def test_the_advice_on_the_number_of_keypoints_works(five_joints: Config) -> None:
    """From COCO's keypoints to five, as the errors say."""
    dataset = five_joints.train_dataloader.dataset
    dataset.metainfo, five_joints.model.head.out_channels = None, 17
    wrong(five_joints, 'keypoints has 15 numbers, not 51.*metainfo')
    five_joints.model.head.out_channels = 5
    wrong(five_joints, 'out_channels=5, .*17 keypoints.*metainfo of')
    dataset.metainfo = cases.skeleton()
    check_data(five_joints, TRAIN)
    with DefaultScope.overwrite_default_scope('mmpose'):
        built = DATASETS.build(dataset)
        maps = [built[0]['data_samples'].gt_fields.heatmaps for _ in range(4)]  # some are flipped
    assert {len(heatmaps) for heatmaps in maps} == {5}


def test_a_joint_that_is_never_labelled_is_a_warning_with_its_name(
    five_joints: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / 'a.json'
    content = json.loads(file.read_text())
    for entry in content['annotations']:
        entry['keypoints'][6:9] = [0, 0, 0]
    file.write_text(json.dumps(content))
    check_data(five_joints, TRAIN)
    (record,) = caplog.records
    assert record.message.endswith('no data for 1 of the keypoints (joint 2)')


@of(cases.IMAGES)
def test_images(
    mistake: Callable[[Path], Any], message: str, use: Callable, tmp_path: Path
) -> None:
    cfg = use(MASK_RCNN, coco())
    mistake(tmp_path / 'images/1.jpg')
    wrong(cfg, message)


ONE_BOX = dict(id=0, image_id=1, category_id=1, bbox=[2, 2, 10, 40], area=400, iscrowd=0)
RIGHT = {
    'boxes and masks': (MASK_RCNN, coco()),
    'joints': (POSE, coco(joints=True)),
    'boxes alone': (
        FASTER_RCNN,
        {
            **coco(),
            'annotations': [cases.without(a, 'segmentation') for a in coco()['annotations']],
        },
    ),
    'one box': (FASTER_RCNN, {**coco(), 'images': coco()['images'][:1], 'annotations': [ONE_BOX]}),
}


@pytest.mark.parametrize('name', RIGHT)
def test_what_is_right_passes(name: str, use: Callable) -> None:
    check_data(use(*RIGHT[name]), TRAIN)


def test_classes_of_data_and_heads_differ(use: Callable) -> None:
    cfg = use(MASK_RCNN, coco())
    cfg.model.roi_head.bbox_head.num_classes = 80
    wrong(cfg, 'Shared2FCBBoxHead has num_classes=80, but the data set has')


def two_of_29(content: dict) -> None:
    """COCO itself has boxes of no height and boxes beyond the image."""
    entries = content['annotations']
    entries += [{**entries[0], 'id': number} for number in range(7, 30)]
    entries[3]['bbox'], entries[4]['bbox'] = [9.98, 8.5, 0.15, 0.0], [70, 8, 9, 9]


def no_last_class(content: dict) -> None:
    content['categories'].pop()
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] < 3]


def crowds_of_dogs(content: dict) -> None:
    for entry in content['annotations']:
        entry['iscrowd'] = int(entry['category_id'] == 2)


@pytest.mark.parametrize(
    ('change', 'warnings'),
    [
        (two_of_29, ['2 of 29 annotations will be skipped, such as annotation 4 of 2.jpg']),
        (no_last_class, ["lacks 1 of the 3 classes ('person')", 'no data for 1 of the classes']),
        (crowds_of_dogs, ['a.json: no data for 1 of the classes (dog)']),
    ],
)
def test_what_may_be_meant_is_a_warning_of_one_line(
    change: Callable[[dict], None],
    warnings: list[str],
    use: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_data(use(MASK_RCNN, changed(change, coco())), TRAIN)
    for record, expected in zip(caplog.records, warnings, strict=True):
        assert expected in record.message
        assert '\n' not in record.message


def test_the_advice_on_the_order_of_categories_works(use: Callable, tmp_path: Path) -> None:
    """Also where the files of training and validation differ in it."""
    content = coco()
    content['categories'].reverse()
    cfg = use(MASK_RCNN, content)
    wrong(cfg, 'in the order cat, dog, person .the ids may stay')
    content['categories'].sort(key=lambda category: CLASSES.index(category['name']))
    content['categories'] = [dict(c, id=10 - c['id']) for c in content['categories']]
    for entry in content['annotations']:
        entry['category_id'] = 10 - entry['category_id']
    (tmp_path / 'a.json').write_text(json.dumps(content))
    check_data(cfg, TRAIN)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    labels = [i['bbox_label'] for k in range(3) for i in dataset.get_data_info(k)['instances']]
    assert labels == [0, 1, 2, 0, 1, 2]


def test_images_of_a_secret_test_need_no_annotations(use: Callable) -> None:
    cfg = use(MASK_RCNN, {'images': coco()['images']})
    data = cfg.test_dataloader.dataset = cfg.train_dataloader.dataset
    cfg.test_evaluator.update(format_only=True, ann_file=f'{data.data_root}/{data.ann_file}')
    check_data(cfg, ('test_dataloader',))
    cfg.test_evaluator.format_only = False
    one_error(lambda: check_data(cfg, ('test_dataloader',)), "no 'annotations'")


def test_an_image_that_is_cut_off_is_found_among_many(use: Callable, tmp_path: Path) -> None:
    content = coco()
    first = content['images'][0]
    content['images'] += [
        dict(first, id=index, file_name=f'{index}.jpg') for index in range(100, 300)
    ]
    cfg, image = use(MASK_RCNN, content), tmp_path / 'images/1.jpg'
    whole = image.read_bytes()
    for index in range(100, 300):  # some programs write more behind the end
        image.with_name(f'{index}.jpg').write_bytes(whole + b'comment')
    check_data(cfg, TRAIN)
    image.with_name('201.jpg').write_bytes(whole[: len(whole) // 2])
    one_error(lambda: check_data(cfg, TRAIN), '201.jpg is not a readable image.*[Tt]runcated')


KINDS = {
    'grey': (np.full((48, 64), 99, np.uint8), 'png', None),
    'transparent': (np.full((48, 64, 4), 99, np.uint8), 'png', None),
    '16 bits': (np.full((48, 64), 25443, np.uint16), 'png', None),
    'palette': (np.full((48, 64), 99, np.uint8), 'png', 'P'),
    'CMYK': (np.full((48, 64, 4), 99, np.uint8), 'jpg', 'CMYK'),
    'grey JPEG': (np.full((48, 64), 99, np.uint8), 'jpg', None),
}


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_any_depth_are_fed_as_three_channels(
    kind: str, base: Callable, use: Callable, tmp_path: Path
) -> None:
    array, suffix, mode = KINDS[kind]
    content = coco()
    content['images'][0]['file_name'] = f'0.{suffix}'
    cfg = use(MASK_RCNN, content)
    path = tmp_path / f'images/0.{suffix}'
    Image.fromarray(array, mode=mode).save(path)
    check_data(cfg, TRAIN)
    for name in (MASK_RCNN, POSE, FCN, CLASSIFIER):
        step = base(name).train_dataloader.dataset.pipeline[0]
        assert step.type in ('LoadImageFromFile', 'LoadImage')  # mmpose's is mmcv's and adds none
        options = {k: v for k, v in step.items() if k not in ('type', '_scope_')}
        image = LoadImageFromFile(**options)({'img_path': str(path)})['img']
        assert image.shape == (48, 64, 3)
        assert image.dtype == np.uint8


# Label maps and lists.


def write_maps(folder: Path, *maps: np.ndarray) -> None:
    for index, labels in enumerate(maps, 1):
        Image.fromarray(labels).save(folder / f'maps/{index}.png')


@pytest.fixture
def segmentation(base: Callable, tmp_path: Path) -> Config:
    """A config whose training data are three images with label maps."""
    write_images(tmp_path / 'images')
    (tmp_path / 'maps').mkdir()
    write_maps(tmp_path, *(cases.LABELS + index for index in (1, 2, 3)))
    cfg = base(FCN)
    cfg.train_dataloader.dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='maps'),
        metainfo=dict(classes=[f'class {k}' for k in range(8)]),
        pipeline=[],
    )
    cfg.model.decode_head.num_classes = 8
    return cfg


@of(cases.MAPS)
def test_label_maps(
    mistake: Callable[[Path], Any], message: str, segmentation: Config, tmp_path: Path
) -> None:
    check_data(segmentation, TRAIN)
    mistake(tmp_path / 'maps/2.png')
    wrong(segmentation, message)


def test_label_maps_may_hold_255_and_palettes(segmentation: Config, tmp_path: Path) -> None:
    picture = Image.fromarray(cases.LABELS + 255).convert('L')
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(tmp_path / 'maps/2.png')
    check_data(segmentation, TRAIN)


def test_masks_of_0_and_255_are_told(segmentation: Config, tmp_path: Path) -> None:
    mask = cases.LABELS.copy()
    mask[9:20] = 255
    write_maps(tmp_path, mask, mask, mask)
    segmentation.train_dataloader.dataset.metainfo = dict(classes=['ground', 'road'])
    segmentation.model.decode_head.num_classes = 2
    wrong(segmentation, 'one class .*255 means no class: write 1')


@pytest.mark.parametrize('value', [0, 255])
def test_label_maps_of_one_value_are_told(value: int, segmentation: Config, tmp_path: Path) -> None:
    write_maps(tmp_path, *[cases.LABELS + value] * 3)
    wrong(segmentation, f'(one|no) class .*have .{value}.')


def test_classes_in_no_label_map_are_a_warning_with_their_names(
    segmentation: Config, caplog: pytest.LogCaptureFixture
) -> None:
    segmentation.train_dataloader.dataset.reduce_zero_label = True
    check_data(segmentation, TRAIN)
    (record,) = caplog.records
    assert '5 of the classes (class 3, class 4, ' in record.message
    assert 'in the 3 of 3 label maps looked at, which have [1, 2, 3]' in record.message


def turn(file: Path, orientation: int) -> None:
    """Writes the picture as a phone does that was held otherwise."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(file) as picture:
        picture.save(file, exif=exif)


def test_images_that_exif_turns_are_told(segmentation: Config, tmp_path: Path) -> None:
    turn(tmp_path / 'images/2.jpg', 6)
    message = "is 64x48, its image is 48x64. The EXIF .*color_type='color_ignore_orientation'"
    wrong(segmentation, message)
    step = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    segmentation.train_dataloader.dataset.pipeline = [step]
    check_data(segmentation, TRAIN)


def test_boxes_of_images_that_exif_turns_are_told(
    use: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = use(MASK_RCNN, coco())
    turn(tmp_path / 'images/2.jpg', 8)
    wrong(cfg, '48 wide and 64 high.*The EXIF of 2.jpg turns it')
    turn(tmp_path / 'images/2.jpg', 3)
    check_data(cfg, TRAIN)
    (record,) = caplog.records
    assert '2.jpg: the EXIF turns 1 of 3 images looked at' in record.message


def test_a_folder_without_images_of_the_suffix(segmentation: Config) -> None:
    segmentation.train_dataloader.dataset.img_suffix = '_leftImg8bit.png'
    wrong(segmentation, r'no images \*_leftImg8bit.png .*img_suffix')


def test_a_list_of_images_that_are_not_there(segmentation: Config, tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_text('1\n2\n9\n')
    segmentation.train_dataloader.dataset.ann_file = 'list.txt'
    wrong(segmentation, 'list.txt: images that are not in .*images.*9')


@pytest.fixture
def classification(base: Callable, tmp_path: Path) -> Config:
    for name in ('a', 'b'):
        (tmp_path / 'images' / name).mkdir(parents=True)
        Image.new('RGB', (64, 48)).save(tmp_path / f'images/{name}/1.jpg')
    cfg = base(CLASSIFIER)
    cfg.train_dataloader.dataset.update(
        type='CustomDataset', data_root=str(tmp_path), data_prefix='images', split=''
    )
    cfg.model.head.num_classes = 2
    cfg.val_evaluator.topk = cfg.test_evaluator.topk = (1,)
    return cfg


def test_classes_in_no_line_are_a_warning(
    classification: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classification.train_dataloader.dataset.ann_file = 'list.txt'
    classification.model.head.num_classes = 4
    cases.line('b/1.jpg 3')(tmp_path)
    check_data(classification, TRAIN)
    (record,) = caplog.records
    assert record.message.endswith('list.txt: no data for 1 of the classes (2)')


def test_folders_in_another_order_than_the_classes(classification: Config) -> None:
    classification.train_dataloader.dataset.metainfo = dict(classes=('b', 'a'))
    wrong(classification, r"sorted names.*classes=\('a', 'b'\)")


def test_images_of_a_loader_of_ones_own(classification: Config, tmp_path: Path) -> None:
    """Arrays pass, and one that is broken is named."""

    @TRANSFORMS.register_module(force=True)
    class LoadArray(BaseTransform):
        def transform(self, results: dict) -> dict:
            return {**results, 'img': np.load(results['img_path'])}

    for name in ('a', 'b'):
        (tmp_path / f'images/{name}/1.jpg').unlink()
        np.save(tmp_path / f'images/{name}/1.npy', np.zeros((48, 64, 3), np.uint8))
    dataset = classification.train_dataloader.dataset
    dataset.update(extensions=('.npy',), pipeline=[dict(type='LoadArray')])
    check_data(classification, TRAIN)
    dataset.pipeline = [LoadArray()]
    check_data(classification, TRAIN)
    (tmp_path / 'images/b/1.npy').write_bytes(b'no array')
    wrong(classification, 'b/1.npy: LoadArray cannot load it')


@of(cases.LISTS)
def test_lists_of_images(
    mistake: Callable[[Path], Any], message: str, classification: Config, tmp_path: Path
) -> None:
    classification.train_dataloader.dataset.ann_file = 'list.txt'
    mistake(tmp_path)
    wrong(classification, message)


@of(cases.FOLDERS)
def test_folders_of_classes(
    mistake: Callable[[Path], Any], message: str, classification: Config, tmp_path: Path
) -> None:
    check_data(classification, TRAIN)
    mistake(tmp_path)
    wrong(classification, message)


# What must pass: the embedded set and real data, in all tasks.


@pytest.mark.parametrize('name', [MASK_RCNN, POSE, CLASSIFIER, FCN])
def test_the_embedded_set_passes(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    check_data(apis.make_config(ROOT / f'configs/{name}.py', mini=True))
    assert not caplog.records
    assert mini_root().is_dir()


@pytest.mark.parametrize('name', [MASK_RCNN, POSE, 'mmpose/dekr_hrnet-w32_8xb10-140e_coco-512x512'])
def test_real_coco_passes(name: str, coco_mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = {f'{split}_dataloader.dataset.bbox_file': None for split in ('val', 'test')}
    options = boxes if name == POSE else {}
    path = ROOT / f'configs/{name}.py'
    check_data(apis.make_config(path, data_root=str(coco_mini), cfg_options=options))
    assert not caplog.records


@pytest.mark.parametrize('found', [[], [dict(image_id=1, category_id=3, bbox=[0, 0, 9, 9])]])
def test_detections_without_a_person_are_told(found: list, tmp_path: Path) -> None:
    path = tmp_path / 'persons.json'
    path.write_text(json.dumps(found))
    options = {'test_dataloader.dataset.bbox_file': str(path)}
    cfg = apis.make_config(ROOT / f'configs/{POSE}.py', mini=True, cfg_options=options)
    one_error(lambda: check_data(cfg), r'has no person \(category_id 1\).*bbox_file=None')


@pytest.mark.parametrize(
    ('key', 'hint'),
    [
        ('model.backbone.norm_evl', "no 'norm_evl', did you mean 'norm_eval'"),
        ('modle.backbone.norm_eval', "no 'modle', did you mean 'model'"),
        ('train_cfg.max_epoch', "did you mean 'max_epochs'"),
        ('randomnes.seed', "did you mean 'randomness'"),
    ],
)
def test_options_that_are_new_are_told(
    key: str, hint: str, base: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    merge_options(base(MASK_RCNN), {key: 3})
    (record,) = caplog.records
    assert hint in record.message


def test_keys_of_a_file_that_are_almost_those_of_a_runner_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / 'config.py'
    base = f'_base_ = {str(ROOT / f"configs/{MASK_RCNN}.py")!r}\n'
    variables = 'train_dataset = dict()\nnorm_cfg = dict()\nval_evaluator_all = None\n'
    config.write_text(f'{base}{variables}train_dataloder = dict(batch_size=2)\n')
    apis.make_config(config)
    (record,) = caplog.records
    assert record.message == (
        "The config sets 'train_dataloder', which has no effect: did you mean 'train_dataloader'?"
    )


def test_options_that_are_known_or_of_another_word_are_not(
    base: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = base(MASK_RCNN)
    options = {'optim_wrapper.optimizer.lr': 0.1, 'param_scheduler.0.end': 9, 'load_from': 'a.pth'}
    merge_options(
        cfg, {**options, 'train_dataloader.batch_size': 3, 'model.backbone.with_cp': True}
    )
    assert not caplog.records
    assert cfg.param_scheduler[0].end == 9
