"""Low-rank adapters (Hu et al., 2021) through `peft`, for one card: extra `lora`.

The adapters stand inside the model's own layers, so that engine, losses and trainers do not know of them. A
checkpoint holds the adapters alone, a finished model holds merged weights that everything loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from r1reward.engines.loading import load_model, rounded_weights, save_model
from r1reward.settings import LoraSettings, ModelSettings

# The language model's linear layers; what sees stays as it is.
TARGETS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"
_FILE = "adapters.safetensors"
_ADAPTER, _BASE = ".lora_", ".base_layer."


def load_policy(
    start: str | Path, *, checkpoint: Path | None, settings: ModelSettings, seed: int, sharded: bool = False
) -> tuple[Any, Any]:
    """Model and processor to train: those of the start, or of a checkpoint that `save_policy` wrote.

    What is trained is float32: all weights, or with `settings.lora.rank` above 0 only new adapters, drawn by
    the seed. `sharded` leaves that to DeepSpeed, which keeps float32 weights of its own. Raises ImportError
    without the extra.
    """
    if settings.lora.rank == 0:
        return load_model(checkpoint or start, settings=settings, train=not sharded)
    model, processor = load_model(start, settings=settings)
    add_adapters(model, settings.lora, seed=seed)
    if checkpoint is not None:
        load_adapters(model, checkpoint)
    return model, processor


def load_adapters(model: Any, folder: Path) -> None:
    """Adapters, and a head if there is one, of `save_policy`; ValueError for those of another model."""
    saved = load_file(folder / _FILE)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if saved.keys() != trained:
        other = sorted(saved.keys() ^ trained)
        raise ValueError(f"{folder / _FILE} holds other weights than are trained: {', '.join(other)}")
    model.load_state_dict(saved, strict=False)


def add_adapters(model: Any, settings: LoraSettings, *, seed: int) -> None:
    """Put adapters into the language model and freeze everything else; they change nothing at first."""
    try:
        from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415
    except ImportError as error:
        raise ImportError('the extra is missing: pip install -e ".[lora]" in the checkout') from error
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules=TARGETS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_ADAPTER in name)
        if _ADAPTER in name:
            # AdamW's small steps vanish in bfloat16.
            parameter.data = parameter.data.float()


def save_policy(model: Any, processor: Any, folder: Path) -> None:
    """What training goes on from: adapters, with a head if there is one, or else the whole model."""
    trained = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    if not any(_ADAPTER in name for name in trained):
        save_model(model, processor, folder)
        return
    save_file({name: value.contiguous() for name, value in trained.items()}, folder / _FILE)


def save_trained(
    model: Any, processor: Any, folder: Path, *, weights: Mapping[str, Tensor] | None = None
) -> None:
    """The model with its adapters merged into its weights, or given weights, as the Auto classes load it.

    In the type that the model computes in.
    """
    backbone = getattr(model, "backbone", model)
    weights = weights or merged_weights(backbone) or rounded_weights(backbone)
    save_model(model, processor, folder, weights=weights)


def merged_weights(model: Any) -> dict[str, Tensor] | None:
    """The weights with the adapters added, under the names without them; None for a model without any."""
    layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "get_delta_weight")}
    if not layers:
        return None
    weights = {
        name.replace(_BASE, "."): value for name, value in model.state_dict().items() if _ADAPTER not in name
    }
    for name, layer in layers.items():
        base = layer.base_layer.weight
        delta = layer.get_delta_weight("default").to(base.device)
        weights[f"{name}.weight"] = (base.float() + delta.float()).to(base.dtype)
    return weights
