"""Data, model, metric, visualizer and inferencer of the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.infer import BaseInferencer
from mmengine.model import BaseModel, BaseModule
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from toyhost.registry import DATASETS, METRICS, MODELS, TRANSFORMS, VISUALIZERS


@DATASETS.register_module()
class ToyImages(BaseDataset):
    def load_data_list(self) -> list[dict[str, Any]]:
        lines = [line.rsplit(' ', 1) for line in Path(self.ann_file).read_text().splitlines()]
        folder = Path(self.data_prefix['img_path'])
        return [dict(img_path=str(folder / name), label=int(label)) for name, label in lines]


@TRANSFORMS.register_module()
class PackToy(BaseTransform):
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        meta = {key: results[key] for key in ('img_path', 'label') if key in results}
        image = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        return dict(inputs=image, data_samples=BaseDataElement(metainfo=meta))


@MODELS.register_module()
class ToyHead(BaseModule):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        return self.fc(xs[-1].mean((2, 3)))


@MODELS.register_module()
class ToyClassifier(BaseModel):
    def __init__(self, backbone: dict, head: dict, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone, self.head = MODELS.build(backbone), MODELS.build(head)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        logits = self.head(self.backbone(inputs))
        if mode == 'loss':
            labels = torch.tensor([sample.label for sample in data_samples], device=logits.device)
            return dict(loss=nn.functional.cross_entropy(logits, labels))
        if mode == 'predict':
            for sample, scores in zip(data_samples, logits.softmax(1)):
                sample.scores = scores
            return data_samples
        return logits


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    default_prefix = 'toy'

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        self.results += [int(s['scores'].argmax()) == s['label'] for s in data_samples]

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        return dict(accuracy=sum(results) / len(results))


@VISUALIZERS.register_module()
class ToyVisualizer(Visualizer):
    def add_datasample(
        self, name: str, image: np.ndarray, sample: Any, draw_gt: bool, draw_pred: bool
    ) -> None:
        self.set_image(image)
        label = int(sample.scores.argmax()) if draw_pred else sample.label
        self.draw_texts(self.dataset_meta['classes'][label], torch.tensor([10.0, 10.0]))


class ToyInferencer(BaseInferencer):
    def _init_pipeline(self, cfg: Any) -> Any:
        steps = Compose(cfg.test_dataloader.dataset.pipeline[1:])
        return lambda image: steps(dict(img=image, img_shape=image.shape[:2]))

    def visualize(self, *args: Any, **kwargs: Any) -> None: ...

    def postprocess(self, *args: Any, **kwargs: Any) -> None: ...
