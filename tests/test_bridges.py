"""Each bridge closes its gap, and steps aside where upstream is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from mmhrnet.bridges import bridge_reasons, install_bridges, mmcv_bounds, xtcocotools
from mmhrnet.bridges.imports import after_import
from mmhrnet.bridges.oks_eval import COCOeval


def python(code: str, *path: Path) -> subprocess.CompletedProcess:
    """Runs code in a fresh interpreter, with folders in front of its path."""
    lines = [f'import sys; sys.path[:0] = {[str(p) for p in path]}', code]
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', '\n'.join(lines)], capture_output=True, text=True
    )


def fake_package(folder: Path, name: str, source: str, version: str | None = None) -> None:
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(source)
    if version:
        info = folder / f'{name}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


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
    mmengine = ('mmengine_build', 'mmengine_checkpoint', 'mmengine_fsdp', 'mmengine_paths')
    names = ['mmcv_ext', 'mmcv_bounds', *mmengine, 'pycocotools', 'xtcocotools']
    assert list(bridge_reasons()) == names


HOST = """
import mmcv
mmcv_maximum_version = '2.2.0'
seen = mmcv.__version__
assert seen < mmcv_maximum_version, f'MMCV=={seen} is used but incompatible'
"""


def test_mmcv_bounds(tmp_path: Path) -> None:
    fake_package(tmp_path, 'mmcv', "__version__ = '2.2.0'", version='2.2.0')
    fake_package(tmp_path, 'mmdet', HOST)
    refused = python('import mmdet', tmp_path)
    assert 'MMCV==2.2.0 is used but incompatible' in refused.stderr
    code = 'import mmhrnet, mmdet, mmcv; print(mmdet.seen, mmcv.__version__)'
    assert python(code, tmp_path).stdout.split() == ['2.1.0', '2.2.0']


def test_mmcv_bounds_steps_aside(tmp_path: Path) -> None:
    fake_package(tmp_path, 'mmcv', "__version__ = '2.1.5'", version='2.1.5')
    fake_package(tmp_path, 'mmdet', HOST)
    code = 'import mmhrnet, mmdet; print(mmdet.seen)'
    assert python(code, tmp_path).stdout.strip() == '2.1.5'


def test_mmcv_bounds_reads_the_installed_hosts() -> None:
    assert mmcv_bounds.upper_bound('mmdet') == '2.2.0'
    assert mmcv_bounds.upper_bound('mmseg') == '2.2.0'
    assert mmcv_bounds.upper_bound('mmpretrain') == '2.4.0'
    assert mmcv_bounds.upper_bound('no_such_host') is None


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


def test_doctor_lists_versions_and_bridges() -> None:
    result = subprocess.run(
        [sys.executable, '-m', 'mmhrnet', 'doctor'], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    for word in ('torch', 'device', 'mmcv_ext', 'mmengine_checkpoint'):
        assert word in result.stdout
