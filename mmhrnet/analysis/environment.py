"""What is installed here, and how mmhrnet bridges its gaps."""

from __future__ import annotations

import platform
from importlib import metadata

import torch
from rich.table import Table

from mmhrnet.bridges import bridge_reasons

PACKAGES = (
    'mmhrnet',
    'torch',
    'torchvision',
    'mmengine',
    'mmcv',
    'mmcv-lite',
    'mmdet',
    'mmpose',
    'mmsegmentation',
    'mmpretrain',
    'pycocotools',
    'xtcocotools',
    'numpy',
    'opencv-python-headless',
    'opencv-python',
    'setuptools',
)


def environment_tables() -> list[Table]:
    """Tables of versions with the device, and of the bridges with the reason of each."""
    versions = Table('package', 'version', title='Environment')
    versions.add_row('python', platform.python_version())
    for package in PACKAGES:
        versions.add_row(package, _version(package))
    versions.add_row('device', _device())
    bridges = Table('bridge', 'active', 'why', title='Bridges to upstream')
    for name, reason in bridge_reasons().items():
        bridges.add_row(name, 'yes' if reason else 'no', reason or 'upstream is whole here')
    return [versions, bridges]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return '-'


def _device() -> str:
    if torch.cuda.is_available():
        return f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    return f'{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} threads'
