"""A folder that runs a whole model on a machine without PyTorch and OpenMMLab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmhrnet import runtime
from mmhrnet.datasets.images import write_png
from mmhrnet.datasets.scene import draw_scene
from mmhrnet.files import write_bytes, write_text

EXAMPLE = 'example.png'
PROGRAM = 'runtime.py'
NEEDS = 'numpy opencv-python-headless onnxruntime'
OUTPUTS = {
    'keypoints': '`keypoints` (N, K, 2), x and y in pixels of the input',
    'scores': '`scores` (N, K)',
    'labels': '`labels`, the class of each box (N, K) or pixel (N, H, W)',
    'boxes': '`boxes` (N, K, 4), left, top, right and bottom in pixels of the input',
    'masks': '`masks` (N, K, 28, 28), probabilities in each box',
    'logits': '`logits` (N, C, H/4, W/4)',
    'probabilities': '`probabilities` of the C classes',
}
OF_PERSONS = {  # that the model finds itself
    'keypoints': '`keypoints` (N, M, K, 2) of M persons, x and y in pixels of the input',
    'scores': '`scores` (N, M, K)',
    'instance_scores': '`instance_scores` (N, M), 0 where there is no person',
}
WINDOWS = (
    '; of one window: {program} cuts a picture into those of {crop[0]} x {crop[1]} pixels, '
    '{stride[0]} and {stride[1]} apart, and averages their logits'
)
README = """# {name}

A whole model for {task}, exported by mmhrnet {version} from weights with the SHA-256 {weights}.

- Input: `image`, RGB, uint8 ({count}, {size}, 3)
- Outputs: {outputs}
- Setup: `pip install {needs}`, Python 3.10 or newer
- Run: `python {program} {name}.onnx {example} --json results --draw results`
- Result of the example: `example.json`
- Licence of the weights: {license}. Licence of {program}: Apache-2.0
"""


def write_bundle(model: Path, license: str) -> list[Path]:
    """Writes what a model needs to run into its folder: program, example and README.

    Args:
        model: A whole ``.onnx`` file.
        license: That of the weights, for the README.

    Returns:
        The files of the folder that belong to the model.
    """
    folder = model.parent
    write_bytes(folder / PROGRAM, Path(runtime.__file__).read_bytes())
    about = runtime.read_about(model)
    write_png(folder / EXAMPLE, _draw_example(about))
    _run(model, folder)
    write_text(folder / 'README.md', _describe(model.stem, about, license))
    return [model, *sorted(folder.glob('example*')), folder / PROGRAM, folder / 'README.md']


def _draw_example(about: Mapping[str, Any]) -> np.ndarray:
    """A drawn scene, BGR (H, W, 3) uint8; for top-down pose, the largest person of some."""
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng) for _ in range(8)]
    if about['task'] != 'pose' or 'suppression' in about:
        return scenes[0].image[..., ::-1]
    persons = [(s, one.bbox) for s in scenes for one in s.instances if one.keypoints is not None]
    scene, (x, y, width, height) = max(persons, key=lambda person: person[1][2] * person[1][3])
    return scene.image[y : y + height, x : x + width, ::-1]


def _run(model: Path, folder: Path) -> None:
    options = runtime.Namespace(json=folder, draw=None)
    loaded = runtime.load(model, 'onnxruntime')
    runtime.write_image(loaded, folder / EXAMPLE, Path(EXAMPLE).with_suffix(''), options)
    target = (folder / EXAMPLE).with_suffix('.json')
    content = json.loads(target.read_text(encoding='utf-8')) | {'image': EXAMPLE}
    write_text(target, runtime.to_json(content))


def _describe(name: str, about: Mapping[str, Any], license: str) -> str:
    height, width = about['size']
    fixed = about['shape'] != 'free'
    known = OUTPUTS | (OF_PERSONS if 'suppression' in about else {})
    outputs = ', '.join(known[name] for name in about['outputs'])
    if 'stride' in about:
        outputs += WINDOWS.format(program=PROGRAM, crop=about['crop_size'], stride=about['stride'])
    return README.format(
        name=name,
        task=about['task'],
        version=about['mmhrnet'],
        weights=about['weights'],
        count=about['shape'][0] if fixed else 'N',
        size=f'{height}, {width}' if fixed or about['fixed_size'] else 'H, W',
        outputs=outputs,
        needs=NEEDS,
        program=PROGRAM,
        example=EXAMPLE,
        license=license,
    )
