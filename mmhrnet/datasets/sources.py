"""Where the public data sets of the configs come from, and what is left to do by hand.

The checksums are those that TensorFlow Datasets (COCO), GluonCV (ADE20K, PASCAL-Context),
torchvision (VOC) and Caltech's repository (COFW) publish; the other servers publish none.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

from rich.box import SIMPLE_HEAD
from rich.filesize import decimal
from rich.table import Table


class File(NamedTuple):
    """One download; ``target`` is a folder below the data root.

    ``holds`` is a path in that folder: it says where the folder begins inside an archive, and
    that the data set is already in place. ``size`` is in bytes, about; None is unknown.
    ``checksum`` is like 'sha256:0123...'.
    """

    url: str
    target: str
    holds: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def is_archive(self) -> bool:
        return self.name != self.holds

    def place(self, data: Path) -> Path:
        return data / self.target / self.holds


class Source(NamedTuple):
    """A data set; ``root`` is its folder below the data root, ``configs`` are below configs/.

    ``links`` are pairs of a folder and what it links to. ``steps`` is what the user has to do;
    ``{data}``, ``{root}``, ``{mmpose}`` and ``{mmseg}`` stand for the folders.
    """

    what: str
    root: str
    configs: tuple[str, ...]
    how: str
    files: tuple[File, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    steps: str = ''


COCO = 'http://images.cocodataset.org'
COCO_STUFF = 'http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset'
MMPOSE = 'https://download.openmmlab.com/mmpose/datasets'
VOC = 'http://host.robots.ox.ac.uk/pascal/VOC'

COCO_IMAGES = (
    File(
        f'{COCO}/zips/train2017.zip',
        'coco/train2017',
        '000000000009.jpg',
        19_336_861_798,
        'sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929',
    ),
    File(
        f'{COCO}/zips/val2017.zip',
        'coco/val2017',
        '000000000139.jpg',
        815_585_330,
        'sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05',
    ),
)
COCO_ANNOTATIONS = File(
    f'{COCO}/annotations/annotations_trainval2017.zip',
    'coco/annotations',
    'person_keypoints_train2017.json',
    252_907_541,
    'sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268',
)


def _stuff_maps(target: str) -> File:
    url = f'{COCO_STUFF}/stuffthingmaps_trainval2017.zip'
    return File(url, target, 'train2017/000000000009.png', 659_000_000)


def _face(name: str, page: str, layout: str) -> Source:
    """Facial landmarks: mmpose's annotations, and images which only their authors give away."""
    annotations = File(
        f'{MMPOSE}/{name}_annotations.tar',
        f'{name}/annotations',
        f'face_landmarks_{name}_train.json',
    )
    steps = f"""The images are under their authors' terms:
  1. get them at {page}
  2. unpack them so that there are {{root}}/images/{layout}"""
    configs = (f'mmpose/*_{name}-*',)
    how = 'annotations; images by hand'
    return Source('facial landmarks', name, configs, how, (annotations,), steps=steps)


SOURCES = {
    'coco': Source(
        'boxes, masks and joints of everyday scenes',
        'coco',
        ('mmdet/*', 'mmpose/*_coco-*'),
        'downloaded',
        (COCO_ANNOTATIONS, COCO_IMAGES[1], _stuff_maps('coco/stuffthingmaps'), COCO_IMAGES[0]),
        steps="""MMPose's top-down configs test on detected persons, which are by hand too:
  download COCO_val2017_detections_AP_H_56_person.json from
  https://drive.google.com/drive/folders/1fRUDNUDxe9fjqcRZ2bnF_TKMlO0nB_dk
  into {root}/person_detection_results/, or test on the true boxes:
  --cfg-options val_dataloader.dataset.bbox_file=None test_dataloader.dataset.bbox_file=None""",
    ),
    'coco_stuff164k': Source(
        '171 classes of things and stuff',
        'coco_stuff164k',
        ('mmseg/*_coco-stuff164k-*',),
        'downloaded, convert once',
        (*COCO_IMAGES, _stuff_maps('coco_stuff164k/annotations')),
        tuple((f'coco_stuff164k/images/{s}2017', f'coco/{s}2017') for s in ('train', 'val')),
        """Convert the labels, once:
  python {mmseg}/coco_stuff164k.py {root} --nproc 8""",
    ),
    'coco_stuff10k': Source(
        '171 classes of things and stuff',
        'coco_stuff10k',
        ('mmseg/*_coco-stuff10k-*',),
        'downloaded, convert once',
        (
            File(
                f'{COCO_STUFF}/cocostuff-10k-v1.1.zip',
                'coco_stuff10k',
                'imageLists/train.txt',
                2_000_000_000,
            ),
        ),
        steps="""Convert the labels, once:
  python {mmseg}/coco_stuff10k.py {root} --nproc 8""",
    ),
    'ade20k': Source(
        '150 classes of scenes',
        'ade/ADEChallengeData2016',
        ('mmseg/*_ade20k-*',),
        'downloaded',
        (
            File(
                'http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
                'ade/ADEChallengeData2016',
                'images/training/ADE_train_00000001.jpg',
                967_000_000,
                'sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7',
            ),
        ),
    ),
    'cityscapes': Source(
        '19 classes of street scenes',
        'cityscapes',
        ('mmseg/*_cityscapes-*',),
        'by hand, with a login',
        steps="""Cityscapes needs a login:
  1. register at https://www.cityscapes-dataset.com/register/ (with the address of a university
     or company)
  2. download gtFine_trainvaltest.zip (241 MB) and leftImg8bit_trainvaltest.zip (11 GB) from
     https://www.cityscapes-dataset.com/downloads/
  3. unzip both in {root}, which then has gtFine/ and leftImg8bit/
  4. convert the labels, once: pip install cityscapesscripts
     python {mmseg}/cityscapes.py {root} --nproc 8""",
    ),
    'pascal_context': Source(
        '59 classes of scenes, on VOC 2010',
        'VOCdevkit/VOC2010',
        ('mmseg/*_pascal-context-*',),
        'downloaded, convert once',
        (
            File(
                f'{VOC}/voc2010/VOCtrainval_03-May-2010.tar',
                'VOCdevkit/VOC2010',
                'ImageSets/Main/trainval.txt',
                1_350_000_000,
                'md5:da459979d0c395079b5c75ee67908abb',
            ),
            File(
                'https://codalabuser.blob.core.windows.net/public/trainval_merged.json',
                'VOCdevkit/VOC2010',
                'trainval_merged.json',
                checksum='sha1:169325d9f7e9047537fedca7b04de4dddf10b881',
            ),
        ),
        steps="""Convert the labels, once, with https://github.com/zhanghang1989/detail-api:
  python {mmseg}/pascal_context.py {data}/VOCdevkit {root}/trainval_merged.json""",
    ),
    'lip': Source(
        '20 classes of human parts',
        'LIP',
        ('mmseg/*_lip-*',),
        'by hand',
        steps="""Look Into Person is on its authors' shares, for research:
  1. download TrainVal_images.zip and TrainVal_parsing_annotations.zip (single person) from
     https://lip.sysuhcp.com/overview.php
  2. unzip them, and the archive of the same name inside the second one, so that there are
     {root}/TrainVal_images/{{train,val}}_images/*.jpg
     {root}/TrainVal_parsing_annotations/{{train,val}}_segmentations/*.png
  No conversion is needed.""",
    ),
    'imagenet': Source(
        '1000 classes of ImageNet-1k',
        'imagenet',
        ('mmpretrain/*',),
        'by hand, with a login',
        steps="""ImageNet needs a login:
  1. register at https://image-net.org/signup and accept the terms of access
  2. download ILSVRC2012_img_train.tar (138 GB), ILSVRC2012_img_val.tar (6.3 GB) and
     ILSVRC2012_devkit_t12.tar.gz of 2012 from https://image-net.org/download-images into {root}
  3. check and unpack them into a folder for each class:
     python -c "import torchvision.datasets as d; d.ImageNet('{root}', 'train')"
     python -c "import torchvision.datasets as d; d.ImageNet('{root}', 'val')"
  No conversion is needed.""",
    ),
    'mpii': Source(
        '16 joints of single persons',
        'mpii',
        ('mmpose/*_mpii-*',),
        'downloaded',
        (
            File(f'{MMPOSE}/mpii_annotations.tar', 'mpii/annotations', 'mpii_train.json'),
            File(
                'https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr/mpii_human_pose_v1.tar.gz',
                'mpii/images',
                '000001163.jpg',
                12_900_000_000,
            ),
        ),
    ),
    'wflw': _face('wflw', 'https://wywu.github.io/projects/LAB/WFLW.html', '0--Parade/*.jpg, ...'),
    '300w': _face(
        '300w',
        'https://ibug.doc.ic.ac.uk/resources/300-W/',
        '{{afw,helen,ibug,lfpw}}/... and Test/...',
    ),
    'aflw': _face(
        'aflw',
        'https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw/',
        'flickr/{{0,2,3}}/*.jpg',
    ),
    'cofw': Source(
        'facial landmarks',
        'cofw',
        ('mmpose/*_cofw-*',),
        'downloaded, convert once',
        (
            File(
                'https://data.caltech.edu/records/bc0bf-nc666/files/COFW_color.zip?download=1',
                'cofw',
                'COFW_train_color.mat',
                503_327_162,
                'md5:8b21d126c4e1fb307cb463578eef0511',
            ),
        ),
        steps="""Convert it, once, in the folder above data/cofw: pip install h5py
  python {mmpose}/parse_cofw_dataset.py""",
    ),
}


def guide(source: Source, data: Path) -> str:
    """What is left to do by hand, and the command that trains."""
    root = data / source.root
    folders = {host: _converters(host) for host in ('mmpose', 'mmseg')}
    steps = source.steps.format(data=data, root=root, **folders)
    configs = ', '.join(f'configs/{pattern}.py' for pattern in source.configs)
    train = f'Train: python tools/train.py CONFIG --data-root {root}\nCONFIG: {configs}'
    return '\n'.join(filter(None, (steps, train)))


def source_table() -> Table:
    """All data sets with their configs, download sizes and how to get them."""
    table = Table('name', 'configs', 'download', 'how', box=SIMPLE_HEAD)
    table.columns[1].no_wrap = True
    for name, source in SOURCES.items():
        size = sum(file.size or 0 for file in source.files)
        configs = '\n'.join(source.configs)
        table.add_row(name, configs, decimal(size) if size else '', source.how)
    return table


def _converters(host: str) -> str:
    """Folder of a host's conversion scripts, which its wheel carries."""
    spec = find_spec(host)
    if spec is None or spec.origin is None:
        return f'<{host}>/tools/dataset_converters'
    return os.path.relpath(Path(spec.origin).parent / '.mim/tools/dataset_converters')
