"""mmseg's metric, with the IoU of each class among the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmhrnet.registry import METRICS


@METRICS.register_module()
class ClassIoU(IoUMetric):
    """mmseg's ``IoUMetric``, which only prints the figures of single classes.

    Adds ``IoU/<class>`` in per cent; it is nan for a class that is neither in the label maps nor
    in the predictions.
    """

    def compute_metrics(self, results: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """Takes the areas of the classes in each image: intersection, union, predicted, labelled.

        Those are tensors, (classes,); the figures are those of mmseg, rounded as it rounds.
        """
        metrics = super().compute_metrics(results)
        if 'mIoU' not in metrics:  # mmseg was asked for others, or only writes its predictions
            return metrics
        intersection, union, *_ = (torch.stack(areas).sum(0) for areas in zip(*results))
        ious = (100 * intersection / union).tolist()
        names = self.dataset_meta['classes']
        return {**metrics, **{f'IoU/{name}': round(iou, 2) for name, iou in zip(names, ious)}}
