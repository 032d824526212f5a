"""What a host library is to mmhrnet, as one object.

This file and those of the hosts import nothing heavy, neither torch nor a host: their functions
import what they use when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from mmhrnet.hosts.whole import Whole
from mmhrnet.walk import datasets

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.infer import BaseInferencer
    from mmengine.structures import BaseDataElement
    from mmengine.visualization import Visualizer
    from torch import nn

Things = list[dict[str, object]]  # numbers, strings and lists of each object, person or class
Found = tuple[Things, 'np.ndarray | None']
# COCO's boxes and masks; COCO's joints; label maps beside images; a list or folders of classes.
DataForm = Literal['boxes', 'joints', 'maps', 'classes']


class Metric(NamedTuple):
    """A metric of a host's evaluator as OpenMMLab's metafiles publish it.

    Attributes:
        name: Its name in the metafiles.
        factor: Its value there, divided by the evaluator's.
        percent: Per cent points, divided by its value there.
        less_is_better: Whether it is an error.
        hub: Its name among the metrics of the Hugging Face Hub, if it has one.
    """

    name: str
    factor: float = 1
    percent: float = 1
    less_is_better: bool = False
    hub: str = ''


class ClassMetric(NamedTuple):
    """A metric of a single class.

    Attributes:
        figure: What it is, in a word.
        class_name: The class; of a :class:`Host`, the regular expression of such a metric's name,
            whose group is the class.
    """

    figure: str
    class_name: str


class Look(NamedTuple):
    """Which parts of a data sample are drawn.

    Attributes:
        truth: Whether to draw the annotation instead of the prediction.
        heatmaps: Whether to draw the heatmaps of pose under the joints.
        score: Lowest score of a box or a joint.
    """

    truth: bool
    heatmaps: bool
    score: float


class Recipe(NamedTuple):
    """How ``--mini`` turns a config into a short training from scratch.

    Attributes:
        shrink: Edits the config in place: small images, few classes, and the data set in the
            folder, which is the embedded one if the last argument is true.
        iterations: Length of the training.
        batch: Images of a batch.
        lr: Learning rate of AdamW.
    """

    shrink: Callable[[Config, Path, bool], None]
    iterations: int
    batch: int
    lr: float


class Comparison(NamedTuple):
    """Networks for the benchmark: the host's and ours, with the same state-dict keys.

    Attributes:
        title: Heading of the results.
        shape: Height and width at which the papers or zoos count.
        ours: From the name of an architecture to modules that follow one another.
        theirs: The same for the host.
        neck_alone: Whether the last module is also compared on its own.
        only_training: Whether the modules return losses.
    """

    title: str
    shape: tuple[int, int]
    ours: Callable[[str], Sequence[nn.Module]]
    theirs: Callable[[str], Sequence[nn.Module]]
    neck_alone: bool = False
    only_training: bool = False


class HasFound(Protocol):
    """The part of :class:`mmhrnet.inference.predict.Prediction` that a host uses."""

    @property
    def found(self) -> Things: ...


class Predicts(Protocol):
    """The part of :class:`mmhrnet.inference.predict.Predictor` that a host uses."""

    cfg: Config
    model: nn.Module
    inferencer: BaseInferencer
    score: float

    @property
    def detector(self) -> Callable[[np.ndarray], HasFound] | None: ...

    def name(self, label: int) -> str: ...


def run_inferencer(predictor: Predicts, image: np.ndarray) -> BaseDataElement:
    """The data sample that an inferencer of MMEngine's kind predicts for an image."""
    (data,) = predictor.inferencer.preprocess([image], batch_size=1)
    data = data[1] if isinstance(data, (tuple, list)) else data  # the first is the raw input
    (sample,) = predictor.inferencer.forward(data)
    return sample.cpu()


def first(samples: Sequence[BaseDataElement]) -> BaseDataElement:
    """For hosts that have one data sample for each image."""
    return samples[0]


def keep_size(sample: BaseDataElement, *_: object) -> BaseDataElement:
    """For data samples that contain nothing in pixels."""
    return sample


def give_meta(visualizer: Visualizer, meta: Mapping[str, object]) -> None:
    """Gives classes and colours to a visualizer."""
    visualizer.dataset_meta = meta


def naming(inferencer: type[Any]) -> type[Any]:
    """An inferencer whose model has the classes of the config where its weights name none."""

    class Naming(inferencer):
        def _load_weights_to_model(
            self, model: nn.Module, checkpoint: dict[str, object] | None, cfg: Config
        ) -> None:
            super()._load_weights_to_model(model, checkpoint, cfg)
            name_classes(model, checkpoint, cfg)

    return Naming


def name_classes(model: Any, checkpoint: Mapping[str, Any] | None, cfg: Config) -> None:
    """Gives the classes of the config's data set to a model whose weights do not name theirs.

    Otherwise inferencers give it those of COCO or Cityscapes, whatever the config says.
    """
    from mmengine.registry import DATASETS

    named = (checkpoint or {}).get('meta') or {}
    dataset = next(datasets(cfg, ('test_dataloader',)), None)
    if dataset is None or {'dataset_meta', 'CLASSES'} & named.keys():
        return
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    if kind is None:
        return
    meta = kind._load_metainfo(dataset.get('metainfo'))
    known = {key: meta[key] for key in ('classes', 'palette') if key in meta}
    model.dataset_meta = {**model.dataset_meta, **known}


def draw_sample(
    visualizer: Visualizer,
    image: np.ndarray,
    sample: BaseDataElement,
    look: Look,
    **options: object,
) -> np.ndarray:
    """Draws with ``add_datasample``; ``options`` are arguments that only this host has."""
    visualizer.add_datasample(
        '', image, sample, draw_gt=look.truth, draw_pred=not look.truth, **options
    )
    return visualizer.get_image()


def always(_: Config) -> bool:
    return True


def never(_: Config) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Host:
    """A library whose configs mmhrnet trains, tests, shows and measures.

    Attributes:
        name: Its module, which is the default scope of its configs.
        task: What it does, in one word.
        task_name: What OpenMMLab's metafiles call the task.
        title: Heading of the table of its models.
        pipeline_tag: What the Hugging Face Hub calls the task, if it has it.
        hub_data: Names of data sets on the Hub, by their type.
        distribution: The name that pip knows it by.
        floor: Lowest version that is tested.
        fork: The maintained distribution of the same module, if there is one.
        install: The command that installs it, where ``pip install <distribution>`` does not work.
        network: Arguments whose defaults in its own HRNet differ from ours.
        switches_in_extra: Whether its own HRNet reads further switches from ``extra``.
        input_size: Height and width at which its model zoo counts.
        input_steps: Steps that fix the size of the input, by type, with the argument that says it;
            the first of them that a config has decides.
        input_loader: The data loader that has them in its pipeline.
        fixed_size: Whether a config's model is only right at the input size of its training.
        preprocessor: Type of the data preprocessor where its configs name none.
        has_tensor_head: Whether a config's head maps tensors to tensors, whatever the image.
        metrics: The published metrics, by the name that its evaluator gives them.
        class_metric: What the metrics of single classes are called, if its evaluator has them.
        class_reports: Options with which an evaluator reports each class, by its type.
        best_metric: The metric that selects the best checkpoint; 'auto' is the first one.
        data: The form of the data sets that are checked before a training, by their type.
        mini: How ``--mini`` shrinks its configs; None if it does not support them.
        visualizer: Type of the visualizer where a config names none.
        use_meta: Gives meta information of the data to the visualizer.
        has_boxes: Whether what it finds has a ``bbox``: left, top, right, bottom in pixels.
        merge: Makes one data sample of those of an image; pose has one for each person.
        enlarge: Multiplies everything in pixels of a data sample by a factor; the last argument
            is the new height and width.
        shown_score: Lowest score of a box or a joint in the pictures of a training or test.
        draw: Draws a data sample on an RGB image, (H, W, 3) uint8, and returns the drawing.
        build: Makes its inferencer from a config, a checkpoint and a device; without a checkpoint,
            with random weights.
        run: Predicts the data sample of a BGR image, (H, W, 3) uint8.
        describe: Turns a data sample into plain data: a dict for each thing that was found, and
            for segmentation the class index of each pixel, (H, W) uint8.
        detectors: The host whose detectors find the persons for its models.
        whole: How its models become files that turn a picture into the result; None if they
            do not.
        benchmarks: Networks of its own to compare ours with.
    """

    name: str
    task: str
    task_name: str
    title: str
    distribution: str
    floor: str
    input_size: tuple[int, int]
    visualizer: str
    build: Callable[[Config, str | None, str], BaseInferencer]
    describe: Callable[[Predicts, BaseDataElement], Found]
    run: Callable[[Predicts, np.ndarray], BaseDataElement] = run_inferencer
    detectors: str = ''
    has_boxes: bool = False
    enlarge: Callable[[BaseDataElement, float, tuple[int, int]], BaseDataElement] = keep_size
    use_meta: Callable[[Visualizer, Mapping[str, object]], None] = give_meta
    merge: Callable[[Sequence[BaseDataElement]], BaseDataElement] = first
    shown_score: float = 0.3
    draw: Callable[[Visualizer, np.ndarray, BaseDataElement, Look], np.ndarray] = draw_sample
    pipeline_tag: str = ''
    hub_data: Mapping[str, str] = field(default_factory=dict)
    fork: str = ''
    install: str = ''
    network: Mapping[str, object] = field(default_factory=dict)
    switches_in_extra: bool = False
    preprocessor: str | None = None
    has_tensor_head: Callable[[Config], bool] = always
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    class_metric: ClassMetric | None = None
    class_reports: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    best_metric: str = 'auto'
    input_steps: Mapping[str, str] = field(default_factory=dict)
    input_loader: str = 'test_dataloader'
    fixed_size: Callable[[Config], bool] = never
    data: Mapping[str, DataForm] = field(default_factory=dict)
    mini: Recipe | None = None
    whole: Whole | None = None
    benchmarks: Mapping[str, Comparison] = field(default_factory=dict)
