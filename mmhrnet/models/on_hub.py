"""Networks that go to the Hugging Face Hub and come back as they were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import HfApi, PyTorchModelHubMixin
from torch.nn.modules.batchnorm import _BatchNorm

from mmhrnet.errors import ConfigError, listed
from mmhrnet.registry import MMENGINE_MODELS, MODELS
from mmhrnet.walk import dicts

KIND, DTYPE, INPUT = 'class', 'dtype', 'default_cfg'  # of the config, beside the arguments
PARTS = ('backbone', INPUT, 'pretrained_cfg')
STARTS = {'init_cfg', 'pretrained'}  # arguments that only matter before there are weights
CARD = """---
{{ card_data }}
---

[HRNet](https://arxiv.org/abs/1908.07919) as a PyTorch module. To load it:

```python
import mmhrnet

model = mmhrnet.create_model('hf://{{ repository | default("USER/MODEL") }}')
```
"""
Network = TypeVar('Network', bound='OnHub')


class OnHub(
    PyTorchModelHubMixin,
    library_name='mmhrnet',
    pipeline_tag='image-feature-extraction',
    tags=['hrnet'],
    model_card_template=CARD,
):
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of huggingface_hub.

    ``config.json`` has the arguments that the network was built with. If these build other layers
    or other shapes of tensors, because the network was changed later, it is refused. A changed
    setting of a layer, such as a stride, is not noticed.
    """

    _hub_mixin_config: dict[str, Any] | None = None
    _lost: Sequence[str] = ()  # arguments that JSON has no form for

    def __new__(cls: type[Network], *args: Any, **kwargs: Any) -> Network:
        network = super().__new__(cls)
        network._hub_mixin_config, network._lost = _describe(cls, args, kwargs)
        return network

    @property
    def hub_config(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        first = next(self.parameters())  # type: ignore[attr-defined]
        dtype = {} if first.dtype == torch.float32 else {DTYPE: str(first.dtype).rpartition('.')[2]}
        return json.loads(json.dumps({**(self._hub_mixin_config or {}), **dtype}))

    @property
    def undescribed(self) -> list[str]:
        """Names of the arguments that ``config.json`` has no form for."""
        return list(self._lost)

    def note(self, **settings: object) -> None:
        """Keeps what has changed since the network was built."""
        self._hub_mixin_config = {**(self._hub_mixin_config or {}), **settings}

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Writes ``model.safetensors``, ``config.json`` and ``README.md``.

        Args:
            save_directory: Folder, made if absent.
            options: Those of huggingface_hub.

        Raises:
            ConfigError: No config can describe the network.
        """
        self._check_config()
        options['config'] = options.get('config') or self.hub_config
        return super().save_pretrained(save_directory, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Pushes the same to a repository, which is made if absent.

        Args:
            repo_id: ``user/model``.
            options: Those of huggingface_hub: ``private``, ``token``, ``branch`` and so on.

        Returns:
            The URL of the commit.

        Raises:
            ConfigError: No config can describe the network, or ``private`` is asked of a public
                repository.
        """
        self._check_config()
        repo_id = make_repository(
            HfApi(token=options.get('token')), repo_id, options.get('private')
        )
        card = {'repository': repo_id, **(options.pop('model_card_kwargs', None) or {})}
        return super().push_to_hub(repo_id, model_card_kwargs=card, **options)

    def _check_config(self) -> None:
        if self.undescribed:
            raise ConfigError(
                f'config.json has no form for {listed(self.undescribed)} of this network: name '
                'types by strings, and give plain numbers'
            )
        names = signature(type(self).__init__).parameters
        known = any(p.kind == Parameter.VAR_KEYWORD for p in names.values())
        given = {k: v for k, v in self.hub_config.items() if known or k in names}
        with torch.device('meta'):
            again = type(self)(**arguments_in(given))
        if _shapes(again) != _shapes(self) or _layers(again) != _layers(self):
            raise ConfigError(
                'This network was changed after it was built, so that its arguments do not '
                'describe it: save its state_dict() instead'
            )

    @classmethod
    def _from_pretrained(
        cls: type[Network],
        *,
        config: Mapping[str, Any] | None = None,
        strict: bool = True,
        **given: Any,
    ) -> Network:
        config = check_config(config or {})
        kind = config.get(KIND, cls.__name__)
        if kind != cls.__name__:
            raise ConfigError(
                f'{given["model_id"]} is a {kind}, not a {cls.__name__}: on the Hub, '
                'mmhrnet.create_model("hf://USER/MODEL") loads either'
            )
        network: Any = super()._from_pretrained(strict=strict, **arguments_in(given))
        if DTYPE in config:
            network.to(dtype_in(config))
        if INPUT in config:
            network.note(default_cfg=config[INPUT])
            network.default_cfg = network.pretrained_cfg = as_tuples(config[INPUT])
        return network.eval()  # old versions of the library leave it training


def check_config(config: object) -> dict[str, Any]:
    """A ``config.json`` from elsewhere, whose types are registered layers.

    MMEngine's registries import whatever else a type names.

    Raises:
        ConfigError: It or a part is not a dict, or it names another type of layers or numbers.
    """
    if not isinstance(config, dict):
        raise ConfigError(f'config.json is a {type(config).__name__}, not a dict')
    odd = [key for key in PARTS if not isinstance(config.get(key) or {}, dict)]
    if odd:
        raise ConfigError(f'config.json has {odd[0]}={config[odd[0]]!r}, which must be a dict')
    registries = [MODELS, MMENGINE_MODELS, *MMENGINE_MODELS.children.values()]
    for part in dicts(config):
        kind = part.get('type', 'BN')
        if not isinstance(kind, str) or not any(kind in r.module_dict for r in registries):
            raise ConfigError(
                f'config.json has type={kind!r}, which is not a registered layer: import what '
                'registers it'
            )
    dtype_in(config)
    return config


def dtype_in(config: Mapping[str, Any]) -> torch.dtype:
    """The type of the numbers of a network.

    Raises:
        ConfigError: PyTorch has no such type, or it is one of integers.
    """
    name = config.get(DTYPE, 'float32')
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ConfigError(
            f"config.json has {DTYPE}={name!r}, which is no floating-point type such as 'float16'"
        )
    return dtype


def make_repository(api: HfApi, name: str, private: bool | None = None) -> str:
    """Makes a repository of the Hub if it is absent.

    Returns:
        ``user/model``, if ``name`` lacks the user, too.

    Raises:
        ConfigError: It is there and public, and ``private`` is asked: the Hub would publish what
            is pushed.
    """
    name = api.create_repo(name, private=private or None, exist_ok=True).repo_id
    if private and not api.model_info(name).private:
        raise ConfigError(
            f'{name} is a public repository: make it private in its settings, or leave out '
            '--private (private=True)'
        )
    return name


def as_tuples(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """A ``default_cfg`` out of JSON, with tuples as timm has them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in cfg.items()}


def arguments_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network in its config."""
    extras = {KIND, DTYPE, INPUT} | STARTS
    return {key: value for key, value in config.items() if key not in extras}


def _shapes(network: Any) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _layers(network: Any) -> dict[str, type]:
    """The type of each layer; that of all batch norms is one, because SyncBN is for training."""
    named = network.named_modules(remove_duplicate=False)
    return {name: _BatchNorm if isinstance(m, _BatchNorm) else type(m) for name, m in named}


def _describe(
    cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a network, and the names of those that JSON has no form for."""
    try:
        bound = signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    except TypeError:  # `__init__` says what is wrong; without arguments, it is a copy
        return {}, []
    bound.apply_defaults()
    given = {name: value for name, value in bound.arguments.items() if name != 'self'}
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind == Parameter.VAR_KEYWORD:
            given |= given.pop(name)
    config: dict[str, Any] = {KIND: cls.__name__}
    lost: list[str] = []
    for name, value in given.items():
        if isinstance(value, OnHub):  # a backbone, with its own arguments
            lost += value.undescribed
            value = arguments_in(value.hub_config)
        try:
            config |= {} if name in STARTS else {name: json.loads(json.dumps(value))}
        except (TypeError, ValueError):
            lost.append(name)
    return config, lost
