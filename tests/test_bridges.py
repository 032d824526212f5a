"""Each bridge closes its gap, and steps aside where upstream is whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config, get_model
from mmengine.structures import InstanceData
from mmengine.utils import get_installed_path, is_installed
from pycocotools.coco import COCO

from mmhrnet import HRNet, apis
from mmhrnet.bridges import (
    bridge_reasons,
    host_bounds,
    install_bridges,
    mmpose_circles,
    mmpose_resize,
    mmseg_resize,
    xtcocotools,
)
from mmhrnet.bridges.imports import after_import
from mmhrnet.bridges.oks_eval import COCOeval
from mmhrnet.doctor import diagnose
from mmhrnet.hosts import host_names


def python(code: str, *path: Path) -> subprocess.CompletedProcess:
    """Runs code in a fresh interpreter, with folders in front of its path."""
    lines = [f'import sys; sys.path[:0] = {[str(p) for p in path]}', code]
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', '\n'.join(lines)], capture_output=True, text=True
    )


def fake_package(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(source)


def fake_fork(folder: Path, name: str, version: str, distribution: str) -> None:
    """A package whose distribution has another name than the original's."""
    fake_package(folder, name, 'from .version import __version__\n')
    (folder / name / 'version.py').write_text(
        f'from importlib.metadata import version\n__version__ = version({distribution!r})\n'
    )
    info = folder / f'{distribution.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    lines = ['Metadata-Version: 2.1', f'Name: {distribution}', f'Version: {version}', '']
    (info / 'METADATA').write_text('\n'.join(lines))
    (info / 'top_level.txt').write_text(name)


def test_importing_mmhrnet_is_light() -> None:
    heavy = ['torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'mmpose', 'mmseg', 'mmpretrain']
    result = python(f'import mmhrnet; print([n for n in {heavy} if n in sys.modules])')
    assert result.stdout.strip() == '[]', result.stderr


def test_install_twice_changes_nothing() -> None:
    before = list(sys.meta_path)
    install_bridges()
    assert sys.meta_path == before


def test_two_actions_after_one_import_are_both_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'imported_later.py').write_text('done = []')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    actions = [lambda module: module.done.append(1), lambda module: module.done.append(2)]
    for action in (*actions, actions[0]):
        after_import('imported_later', action)
    import imported_later

    assert sorted(imported_later.done) == [1, 2]


def test_reasons_name_every_bridge() -> None:
    mmengine = ('build', 'checkpoint', 'configs', 'fsdp', 'mmcv_ops', 'packages', 'paths')
    names = ['mmcv_ext', 'host_bounds', *(f'mmengine_{name}' for name in mmengine)]
    names += ['mmpose_circles', 'mmpose_resize', 'mmpretrain_transformers', 'mmseg_resize']
    names += ['pycocotools', 'xtcocotools']
    assert list(bridge_reasons()) == names


HOST = """
import mmcv, mmengine
from packaging.version import Version
{package}_maximum_version = '{bound}'
seen = {package}.__version__
assert Version('2.0.0rc4' if {package} is mmcv else '0.7.1') <= Version(seen)
assert Version(seen) {sign} Version({package}_maximum_version), f'{{seen}} is incompatible'
"""


@pytest.mark.parametrize(
    ('host', 'package', 'installed', 'bound', 'sign', 'prefix'),
    [
        ('mmdet', 'mmcv', '2.3.6', '2.2.0', '<', ''),
        ('mmdet', 'mmcv', '2.3.6', '2.2.0', '<', 'onedl-'),
        ('mmseg', 'mmcv', '2.2.0', '2.2.0', '<', ''),
        ('mmpretrain', 'mmengine', '1.0.1', '1.0.0', '<', 'onedl-'),
        ('mmpose', 'mmcv', '3.1.0', '3.0.0', '<=', ''),
    ],
)
def test_host_bounds(
    host: str, package: str, installed: str, bound: str, sign: str, prefix: str, tmp_path: Path
) -> None:
    other = 'mmengine' if package == 'mmcv' else 'mmcv'
    fake_fork(tmp_path, package, installed, f'{prefix}{package}')
    fake_fork(tmp_path, other, '0.10.7' if package == 'mmcv' else '2.1.0', f'{prefix}{other}')
    fake_package(tmp_path, host, HOST.format(package=package, bound=bound, sign=sign))
    assert f'{installed} is incompatible' in python(f'import {host}', tmp_path).stderr
    code = f'import mmhrnet, {host}, {package}; print({host}.seen, {package}.__version__)'
    result = python(code, tmp_path)
    assert result.stdout.split() == [f'{bound}.dev0', installed], result.stderr


def test_host_bounds_steps_aside(tmp_path: Path) -> None:
    fake_fork(tmp_path, 'mmcv', '2.1.5', 'onedl-mmcv')
    fake_package(tmp_path, 'mmdet', HOST.format(package='mmcv', bound='2.2.0', sign='<'))
    code = 'import mmhrnet, mmdet; print(mmdet.seen, mmhrnet.bridges.host_bounds.reason())'
    result = python(code, tmp_path)
    assert result.stdout.split() == ['2.1.5', 'None'], result.stderr


def test_host_bounds_reads_the_installed_hosts() -> None:
    for host in host_names():
        for package in host_bounds.PACKAGES:
            source = (Path(get_installed_path(host)) / '__init__.py').read_text()
            says = re.search(r"[_A-Z](?:maximum_version|MAX) = '", source)
            # The forks state none.
            assert bool(host_bounds.upper_bound(host, package)) == bool(says)
    assert host_bounds.upper_bound('no_such_host', 'mmcv') is None


def test_versions_are_those_of_the_modules() -> None:
    import mmcv
    import mmengine

    assert host_bounds.installed_version('mmcv') == mmcv.__version__
    assert host_bounds.installed_version('mmengine') == mmengine.__version__


DETECTOR = 'mmhrnet::mmdet/faster_rcnn_hrnetv2p_w18'
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    'imports',
    ['import mmhrnet, mmengine.hub', 'import mmengine.hub, mmhrnet'],
    ids=['mmhrnet first', 'mmengine first'],
)
def test_packages_are_found_without_pkg_resources(imports: str) -> None:
    """Setuptools 82 has none."""
    path = ROOT / 'configs/mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024.py'
    code = f"""
sys.modules['pkg_resources'] = None
{imports}
from mmengine.config import Config
from mmengine.config import Config
from mmengine.hub import get_config, get_model
from mmengine.utils import get_installed_path, is_installed
from mmengine.utils import get_installed_path, is_installed
from mmengine.utils.package_utils import package2module
print(Config.fromfile({str(path)!r}).default_scope, is_installed('mmdet'), is_installed('mmnone'))
print(get_installed_path('mmsegmentation').split('/')[-1], package2module('mmsegmentation'))
print(get_config('{DETECTOR}').model.type, hasattr(get_model, 'around'))
"""
    result = python(code)
    expected = 'mmseg True False mmseg mmseg FasterRCNN True'
    assert result.stdout.split() == expected.split(), result.stderr


def test_packages_of_forks_are_found_by_their_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_fork(tmp_path, 'mmaction', '1.3.0', 'onedl-mmaction2')
    monkeypatch.syspath_prepend(tmp_path)
    mim = tmp_path / 'mmaction/.mim'
    (mim / 'configs/tsn').mkdir(parents=True)
    (mim / 'model-index.yml').write_text('Import: []\n')
    (mim / 'configs/tsn/tsn_r50-0.5.py').write_text("model = dict(type='TSN')\n")
    (tmp_path / 'child.py').write_text("_base_ = 'mmaction::tsn/tsn_r50-0.5'\n")
    for name in ('mmaction', 'mmaction2', 'onedl-mmaction2', 'OneDL_mmaction2'):
        assert is_installed(name)
        assert get_installed_path(name) == str(mim.parent)
    assert Config.fromfile(tmp_path / 'child.py').model.type == 'TSN'
    assert get_config('mmaction::tsn/tsn_r50-0.5.py').model.type == 'TSN'


def test_a_package_that_is_absent_or_a_namespace_has_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'only_a_folder').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed('only_a_folder')
    with pytest.raises(RuntimeError, match='only_a_folder is a namespace package'):
        get_installed_path('only_a_folder')
    with pytest.raises(ModuleNotFoundError, match='mmnone is not installed'):
        get_installed_path('mmnone')


@pytest.mark.parametrize('suffix', ['', '.py'])
def test_configs_of_mmhrnet_have_names(suffix: str, tmp_path: Path) -> None:
    child, part = tmp_path / 'child.py', tmp_path / 'part.py'
    child.write_text(
        f"_base_ = '{DETECTOR}{suffix}'\nmodel = _base_.model\nmodel.neck.stride = 1\n"
    )
    part.write_text(f"_base_ = 'mmhrnet::_base_/models/hrnetv2p_w32{suffix}'\n")
    cfg = Config.fromfile(child)
    assert (cfg.model.type, cfg.model.get('_scope_')) == ('FasterRCNN', 'mmdet')
    assert Config.fromfile(part).hrnetv2p.backbone.type == 'mmhrnet.HRNet'
    assert get_config(f'{DETECTOR}{suffix}', pretrained=True).model_path.endswith('.pth')
    model = get_model(f'{DETECTOR}{suffix}')
    assert type(model).__module__.startswith('mmdet.')
    assert isinstance(model.backbone, HRNet)


PARSED_ONCE = """
from mmengine.config import Config
from mmengine.fileio.handlers import YamlHandler
import mmhrnet

read, original = [], YamlHandler.load_from_fileobj
def load(self, file, **options):
    read.append(file)
    return original(self, file, **options)
YamlHandler.load_from_fileobj = load
first = Config.fromfile('configs/mmpretrain/hrnet-w18_4xb64_in1k.py')
count = len(read)
assert 10 < count < 200, count
assert Config.fromfile('configs/mmpretrain/hrnet-w18_4xb64_in1k.py').to_dict() == first.to_dict()
assert len(read) == count, len(read)
"""


def test_metafiles_are_parsed_once() -> None:
    """In a process of its own, since others have parsed them."""
    subprocess.run([sys.executable, '-c', PARSED_ONCE], cwd=ROOT, check=True)


def test_a_model_by_name_takes_its_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr('mmengine.runner.load_checkpoint', lambda _, url: loaded.append(url))
    name = 'mmhrnet::mmpretrain/hrnet-w18_4xb64_in1k'
    model = get_model(name, pretrained=True, train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)))
    assert loaded == [get_config(name, pretrained=True).model_path]
    assert model._is_init
    assert model.data_preprocessor.batch_augments is not None  # what the caller adds is passed on
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )


def test_tools_take_configs_by_name() -> None:
    assert apis.make_config(DETECTOR).model.type == 'FasterRCNN'


def test_xtcocotools_stands_in_for_mmpose() -> None:
    code = (
        'import mmhrnet\nfrom xtcocotools.coco import COCO\nimport xtcocotools.mask as m\n'
        'from xtcocotools.cocoeval import COCOeval\nprint(COCO.__module__, m.decode.__module__)'
    )
    assert python(code).stdout.split() == ['pycocotools.coco', 'pycocotools.mask']


def test_the_real_xtcocotools_wins(tmp_path: Path) -> None:
    fake_package(tmp_path, 'xtcocotools', "real = 'yes'")
    code = 'import mmhrnet, xtcocotools\nprint(xtcocotools.real)'
    assert python(code, tmp_path).stdout.strip() == 'yes'
    assert xtcocotools.reason() is not None


def test_mmengine_finds_the_ops_of_mmcv_on_python_3_14() -> None:
    code = (
        "import pkgutil\nvars(pkgutil).pop('find_loader', None)\nimport mmhrnet\n"
        'from mmengine.utils.dl_utils import mmcv_full_available\nprint(mmcv_full_available())'
    )
    result = python(code)
    assert result.stdout.strip() == 'True', result.stderr


@pytest.mark.parametrize('backend', ['opencv', 'matplotlib'])
@pytest.mark.filterwarnings('error:Conversion of an array')  # what numpy 2.4 raises
def test_mmpose_draws_keypoints(backend: str) -> None:
    from mmpose.structures import PoseDataSample
    from mmpose.visualization import PoseLocalVisualizer

    mmpose_circles.install()
    joints = np.array([[[20.0, 30.0], [60.0, 50.0]]])
    found = InstanceData(keypoints=joints, keypoint_scores=np.ones((1, 2)))
    visualizer = PoseLocalVisualizer(radius=4, backend=backend)
    image = np.zeros((80, 80, 3), np.uint8)
    sample = PoseDataSample(pred_instances=found)
    visualizer.add_datasample('image', image, sample, draw_gt=False, draw_bbox=False)
    assert all(visualizer.get_image()[y, x].any() for x, y in joints[0].astype(int))


def test_mmpose_resizes_to_sizes_that_are_free() -> None:
    from mmpose.models.necks import FeatureMapProcessor

    class Neck(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neck = FeatureMapProcessor(concat=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.neck([x, x[..., ::2]])[0]

    sides = {side: torch.export.Dim(f'side{side}', min=4, max=99) for side in (2, 3)}
    mmpose_resize.install()
    program = torch.export.export(Neck(), (torch.rand(1, 1, 5, 7),), dynamic_shapes=(sides,))
    assert program.module()(torch.rand(1, 1, 9, 8)).shape == (1, 2, 9, 8)


@pytest.mark.filterwarnings('error:When align_corners')
def test_mmseg_resizes_sizes_that_are_free() -> None:
    from mmseg.models.utils import resize

    class Resize(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            size = [4 * side for side in x.shape[2:]]
            return resize(x, size, mode='bilinear', align_corners=True)

    sides = {side: torch.export.Dim(f'side{side}', min=2, max=99) for side in (2, 3)}
    mmseg_resize.install()
    program = torch.export.export(Resize(), (torch.rand(1, 1, 5, 7),), dynamic_shapes=(sides,))
    assert program.module()(torch.rand(1, 1, 9, 8)).shape == (1, 1, 36, 32)


# What mmpretrain imports, but for three functions that transformers has removed.
TRANSFORMERS = """
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

REMOVED = 'apply_chunking_to_forward', 'find_pruneable_heads_and_indices', 'prune_linear_layer'

class Model:
    from_config = from_pretrained = print

class Any(type(sys)):
    __path__ = []

    def __getattr__(self, name):
        if name in REMOVED or name.startswith('__'):
            raise AttributeError(name)
        return Model if name == '_BaseAutoModelClass' else type(name, (Model,), {})

class Finder(MetaPathFinder, Loader):
    def find_spec(self, name, *_):
        there = name.startswith('transformers.') and not name.endswith(REMOVED)
        return ModuleSpec(name, self) if there else None

    def create_module(self, spec):
        return Any(spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.append(Finder())
sys.modules[__name__].__class__ = Any
"""


def test_mmpretrain_beside_a_transformers_without_its_names(tmp_path: Path) -> None:
    fake_fork(tmp_path, 'transformers', '5.0.0', 'transformers')
    (tmp_path / 'transformers/__init__.py').write_text(TRANSFORMERS)
    code = (
        'import mmcv; mmcv.__version__ = "2.1.0"\n'  # which mmdet accepts without mmhrnet
        'import {}mmpretrain.models, mmdet.models; print(mmdet.models.BaseReID.__base__.__name__)'
    )
    assert 'NoneType takes no arguments' in python(code.format(''), tmp_path).stderr
    result = python(code.format('mmhrnet, '), tmp_path)
    assert result.stdout.strip() == 'ImageClassifier', result.stderr


def keypoints(offset: float, area: float) -> tuple[COCO, COCO]:
    """One person whose joints all lie ``offset`` pixels beside the annotated ones."""
    joints = np.stack([np.linspace(10, 90, 17), np.linspace(10, 190, 17), np.full(17, 2.0)], 1)
    person = dict(id=1, image_id=1, category_id=1, iscrowd=0, area=area, bbox=[10, 10, 80, 180])
    person |= dict(keypoints=joints.ravel().tolist(), num_keypoints=17)
    truth = COCO()
    truth.dataset = dict(
        images=[dict(id=1, width=100, height=200)],
        annotations=[person],
        categories=[dict(id=1, name='person')],
    )
    truth.createIndex()
    moved = (joints + np.array([offset, 0, 0])).ravel().tolist()
    found = truth.loadRes([dict(image_id=1, category_id=1, keypoints=moved, score=1.0)])
    return truth, found


@pytest.mark.parametrize('use_area', [True, False])
def test_oks_with_sigmas_and_area(use_area: bool) -> None:
    offset, area, sigma = 6.0, 3000.0, 0.05
    truth, found = keypoints(offset, area)
    evaluation = COCOeval(truth, found, 'keypoints', np.full(17, sigma), use_area)
    evaluation.evaluate()
    scale = area if use_area else 0.53 * 80 * 180
    expected = np.exp(-(offset**2) / (2 * (2 * sigma) ** 2 * scale))
    assert evaluation.ious[1, 1].item() == pytest.approx(expected, rel=1e-6)


def test_doctor_lists_versions_and_bridges(capsys: pytest.CaptureFixture) -> None:
    assert diagnose() == 0
    said = capsys.readouterr().out
    for word in ('torch', 'device', 'mmcv_ext', 'mmengine_checkpoint'):
        assert word in said
