"""Loads a model and its processor, with the settings of a profile."""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils.logging import disable_progress_bar

from r1reward import mini
from r1reward.engines.precision import compute_in, computes_in
from r1reward.engines.speed import speed_up
from r1reward.files import read_json, sha256_file, write_json
from r1reward.settings import ModelSettings


def default_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """What models run on: the name of the accelerator, or "cpu"."""
    device = default_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def model_folder(path: str | Path) -> str:
    """The folder or hub id of a model; "mini" is the shipped tiny base model.

    Raises FileNotFoundError for a path without a checkpoint.
    """
    name = str(mini.base_folder()) if str(path) == "mini" else str(path)
    # An id of the hub has at most one slash.
    is_path = isinstance(path, Path) or name.startswith(("/", ".", "~")) or name.count("/") > 1
    if (is_path or Path(name).exists()) and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(f"there is no checkpoint in {name}")
    return name


def load_processor(path: str | Path, *, settings: ModelSettings | None = None) -> Any:
    """The processor of a checkpoint; `settings` set the smallest and largest picture area."""
    processor: Any = AutoProcessor.from_pretrained(model_folder(path))
    if settings is not None:
        for part in (processor.image_processor, processor.video_processor):
            part.size = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
    return processor


def write_picture_budget(folder: Path, settings: ModelSettings) -> None:
    """Set the smallest and largest picture area in the processor files of a checkpoint folder.

    For trainers that load a processor as it is (OpenRLHF has no option for it): unlimited, a picture may
    take 16,384 visual tokens. transformers 5 reads `processor_config.json`, older versions read
    `min_pixels` and `max_pixels` in `preprocessor_config.json`; both are written.
    """
    processor = load_processor(folder, settings=settings)
    processor.save_pretrained(folder)
    for name in ("min_pixels", "max_pixels"):
        setattr(processor.image_processor, name, getattr(settings, name))
    processor.image_processor.save_pretrained(folder)


def load_model(
    path: str | Path,
    *,
    settings: ModelSettings | None = None,
    device: torch.device | None = None,
    train: bool = False,
) -> tuple[Any, Any]:
    """Model and processor of a checkpoint folder or hub id; "mini" is the shipped tiny base model.

    Without `settings` weights are float32 and pictures as the checkpoint says. With `train` weights are
    float32 whatever the settings say and forwards compute in the settings' type, see `engines.precision`.
    The device is the accelerator if there is one.
    """
    disable_progress_bar()
    dtype = getattr(torch, (settings or ModelSettings()).dtype)
    kept = torch.float32 if train else dtype
    model = AutoModelForImageTextToText.from_pretrained(model_folder(path), dtype=kept)
    model.to(device or default_device())  # type: ignore[arg-type]
    if dtype != kept:
        compute_in(model, dtype)
    return speed_up(model), load_processor(path, settings=settings)


def save_model(
    model: Any, processor: Any, folder: str | Path, *, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Write weights (safetensors; the model's unless given) and processor for the Auto classes.

    Weights have the type they have in memory; `rounded_weights` are those of the type a model computes in.
    """
    disable_progress_bar()
    model.save_pretrained(folder, **({} if weights is None else {"state_dict": dict(weights)}))
    kinds = {str(value.dtype).removeprefix("torch.") for value in (weights or {}).values()}
    if weights is not None and kinds == {"bfloat16"}:
        file = Path(folder) / "config.json"
        write_json(file, {**read_json(file), "dtype": "bfloat16"})
    processor.save_pretrained(folder)


def rounded_weights(model: Any) -> dict[str, Tensor] | None:
    """The weights of a model loaded to `train`, in the type it computes in; None where they are in it."""
    dtype = computes_in(model)
    if dtype is None:
        return None
    rounded: dict[int, Tensor] = {}
    # Tied weights stay one tensor, which is saved once.
    return {
        name: rounded.setdefault(value.data_ptr(), value.to(dtype))
        for name, value in model.state_dict().items()
    }


def keep_layers(base: str | Path, kept: Sequence[int], folder: Path) -> None:
    """Write a checkpoint with only these decoder layers of another, counted from 0.

    Raises ValueError for a layer that it does not have.
    """
    model, processor = load_model(base)
    decoder, config = model.model.language_model, model.config.get_text_config()
    if max(kept) >= len(decoder.layers):
        raise ValueError(f"layers {[*kept]}: {base} has {len(decoder.layers)} decoder layers, counted from 0")
    decoder.layers = torch.nn.ModuleList(decoder.layers[index] for index in kept)
    config.num_hidden_layers = len(kept)
    config.layer_types = [config.layer_types[index] for index in kept]
    save_model(model, processor, folder)


def weights_hash(path: str | Path) -> str:
    """SHA-256 of each safetensors file of a checkpoint folder, or the name itself for a model of the hub."""
    folder = Path(model_folder(path))
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return "+".join(sha256_file(file) for file in weights) or str(path)
