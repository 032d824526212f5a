"""The part of a published model that ``mmhrnet.create_model`` builds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor

from mmhrnet.config.build import TensorModel, build_tensor_model, input_size, normalization
from mmhrnet.config.swap import replace
from mmhrnet.errors import ConfigError, listed
from mmhrnet.hub.classifier import Classifier
from mmhrnet.hub.features import Features
from mmhrnet.hub.representations import Representation
from mmhrnet.models import HRNet
from mmhrnet.models.on_hub import OnHub, arguments_in

# Settings of trainings, which change no number of a trained network.
OF_TRAINING = {'norm_eval', 'with_cp', 'frozen_stages', 'zero_init_residual', 'compile'}
LAST = 'head.fc.weight'
SIDE = 64  # of the image on which two classifiers are compared, in pixels


def describe_network(cfg: Config, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The ``config.json`` of weights of a host's model, or nothing if that cannot say it.

    This is the classifier where the whole model is one that we build, and else the backbone. It is
    nothing for a model without HRNet, and, with a warning, for one of arguments that JSON lacks.
    """
    cfg = deepcopy(cfg)
    try:
        replace(cfg)  # the host's HRNet by ours, of the same names and numbers
    except ConfigError:
        return None
    with torch.device('meta'):
        model = build_tensor_model(cfg).eval()
        backbone = next((m for m in model.modules() if isinstance(m, HRNet)), None)
        if backbone is None:
            return None
        arguments = _arguments_of(backbone)
        if arguments is None:
            return None
        several = len(backbone.out_channels) > 1
        network: OnHub = Features(**arguments) if several else Representation('hrnetv1', arguments)
        classes = len(state[LAST]) if several and LAST in state else 0
        whole = Classifier(arguments, classes).eval() if classes else None
    if whole and _are_same(whole, model, state):
        network = whole
    used = normalization(cfg)
    prepared = {'mean': _from_0_to_1(used.mean), 'std': _from_0_to_1(used.std)}
    size = {'input_size': [backbone.in_channels, *input_size(cfg)], 'channels': used.channels}
    network.note(
        default_cfg={**size, **prepared, 'num_classes': getattr(network, 'num_classes', 0)}
    )
    return network.hub_config


def _arguments_of(backbone: HRNet) -> dict[str, Any] | None:
    lost = [name for name in backbone.undescribed if name not in OF_TRAINING]
    if lost:
        print_log(
            f'There is no config.json, so that create_model cannot build the network: JSON has no '
            f'form for {listed(lost)} of the backbone. Name types by strings, and give plain '
            'numbers',
            'current',
            logging.WARNING,
        )
        return None
    given = arguments_in(backbone.hub_config)
    arguments = {key: value for key, value in given.items() if key not in OF_TRAINING}
    if (arguments.get('norm_cfg') or {}).get('type') == 'SyncBN':  # which needs several processes
        arguments['norm_cfg'] = {**arguments['norm_cfg'], 'type': 'BN'}
    return arguments


@torch.no_grad()
def _are_same(ours: Classifier, host: TensorModel, state: Mapping[str, Tensor]) -> bool:
    """Whether both take the weights and give the same numbers for an image."""
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in state.items()}:
        return False
    ours.load_state_dict(state, assign=True)
    host.model.load_state_dict(state, assign=True)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, ours.backbone.in_channels, SIDE, SIDE, generator=generator)
    image = image.to(state[LAST].dtype)
    return torch.allclose(ours(image), host(image)[-1], rtol=1e-4, atol=1e-5)


def _from_0_to_1(values: list[float]) -> list[float]:
    return [round(value / 255, 6) for value in values]
