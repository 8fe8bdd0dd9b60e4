"""Loads a model and its processor, with the settings of a profile."""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils.logging import disable_progress_bar

from r1reward import mini
from r1reward.engines.speed import speed_up
from r1reward.files import read_json, sha256_file, write_json
from r1reward.settings import ModelSettings

# What decides the answers of a checkpoint beside its weights.
# What tokenizer_config.json says of how a tokenizer was loaded and called, not of what it does.
_OF_A_CALL = (
    "is_local", "local_files_only", "max_length", "pad_to_multiple_of", "pad_token_type_id", "stride"
)  # fmt: skip
_SETTINGS = (
    "*config.json",
    "tokenizer*",
    "vocab*",
    "merges*",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*",
    "reward_head.json",
)
_ADAPTED = "base_model."
# A text that no chat template has.
_PROBE = "r1reward-probe"
_SHOWN = 8


class CheckpointError(ValueError):
    """A checkpoint that is not whole; the message names the file or the weights."""


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
        alone = "; it holds adapters alone: merge them into their model first"
        advice = alone if (Path(name) / "adapter_config.json").exists() else ""
        raise FileNotFoundError(f"there is no checkpoint in {name}{advice}")
    return name


def load_processor(path: str | Path, *, settings: ModelSettings | None = None) -> Any:
    """The processor of a checkpoint; `settings` set the smallest and largest picture area.

    Raises CheckpointError for files that cannot be read, and for a chat template that leaves something out.
    """
    folder = model_folder(path)
    with readable(folder):
        processor: Any = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    _require_template(folder, processor)
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
    save_processor(processor, folder)
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
    float32 whatever the settings say and forwards compute in the settings' type, see `computing`.
    The device is the accelerator if there is one. Raises CheckpointError for files that cannot be read, for
    weights that are missing or that the model does not have, and where model and processor are not of one
    kind.
    """
    disable_progress_bar()
    dtype = getattr(torch, (settings or ModelSettings()).dtype)
    kept = torch.float32 if train else dtype
    folder = model_folder(path)
    model = _read_model(folder, dtype=kept)
    model.to(device or default_device())  # type: ignore[arg-type]
    if dtype != kept:
        model.computes_in = dtype
    processor = load_processor(path, settings=settings)
    _require_fit(folder, model, processor)
    return speed_up(model), processor


def computes_in(model: Any) -> torch.dtype | None:
    """The type in which a model loaded to `train` computes; None where it is that of its weights.

    Float32 weights with bfloat16 arithmetic (Micikevicius et al., 2018): a weight of bfloat16 has 8
    significant bits, and most updates are smaller than half of the last one.
    """
    return getattr(model, "computes_in", None)


def computing(model: Any) -> AbstractContextManager[Any]:
    """The context of a forward of a model, or of many: weights are cast once for all of them."""
    dtype = computes_in(model)
    return nullcontext() if dtype is None else torch.autocast(model.device.type, dtype)


def require_whole(path: str | Path) -> None:
    """Raise CheckpointError as `load_model` does, for those who load it themselves; keeps no weights."""
    disable_progress_bar()
    _read_model(model_folder(path), device_map="meta")


def _read_model(folder: str, **options: Any) -> Any:
    _require_shards(Path(folder))
    # Without an answer about foreign code transformers asks at the terminal.
    options = {"output_loading_info": True, "trust_remote_code": False, **options}
    with readable(folder):
        loaded: Any = AutoModelForImageTextToText.from_pretrained(folder, **options)
    model, found = loaded
    _require_weights(folder, found)
    return model


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
    save_processor(processor, folder)


def save_processor(processor: Any, folder: str | Path) -> None:
    """Write a processor without how it was loaded and called, which is no part of a checkpoint's identity.

    transformers keeps the padding of the last call in `tokenizer.json`, and what a tokenizer was loaded with
    in `tokenizer_config.json`: files of a run that was killed and went on would differ.
    """
    processor.tokenizer.backend_tokenizer.no_padding()
    processor.tokenizer.backend_tokenizer.no_truncation()
    processor.save_pretrained(folder)
    file = Path(folder) / "tokenizer_config.json"
    write_json(file, {name: value for name, value in read_json(file).items() if name not in _OF_A_CALL})


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
    """SHA-256 of each weight file of a checkpoint folder, or the name itself for a model of the hub."""
    folder = Path(model_folder(path))
    return "+".join(sha256_file(file) for file in _weight_files(folder)) or str(path)


def files_hash(path: str | Path) -> str:
    """Hash of what else decides the answers of a checkpoint folder: config, tokenizer, template, pictures.

    Empty for a model of the hub.
    """
    folder = Path(model_folder(path))
    found = sorted({file for pattern in _SETTINGS for file in folder.glob(pattern) if file.is_file()})
    known = "".join(f"{file.relative_to(folder)} {sha256_file(file)}\n" for file in found)
    return hashlib.sha256(known.encode()).hexdigest()[:16] if known else ""


def checkpoint_hash(path: str | Path) -> str:
    """The identity of a checkpoint by content, `weights_hash` and `files_hash`: another answers otherwise."""
    return f"{weights_hash(path)} {files_hash(path)}".strip()


def _weight_files(folder: Path) -> list[Path]:
    """In the order of their names; safetensors where there are any, as loaders prefer them."""
    kinds = (sorted(folder.glob(pattern)) for pattern in ("*.safetensors", "*.bin", "*.pt", "*.pth"))
    return next((files for files in kinds if files), [])


@contextmanager
def readable(folder: str | Path) -> Iterator[None]:
    """Turn what libraries raise while they read a checkpoint into a CheckpointError that names the file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # each wrong value of a config shows as another one
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise CheckpointError(f"{_broken_file(Path(folder)) or folder} cannot be read: {reason}") from error


def _broken_file(folder: Path) -> Path | None:
    """The first file of a checkpoint that is not what its name says, as far as that can be told."""
    for file in sorted(folder.glob("*.json")):
        try:
            read_json(file)
        except ValueError:
            return file
    weights = _weight_files(folder)
    for file in weights:
        if file.suffix != ".safetensors":
            return file if len(weights) == 1 else None
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError):
            return file
    return None


def _require_shards(folder: Path) -> None:
    """The weights that an index names lie in its folder: others would be no part of what identifies it."""
    for index in sorted(folder.glob("*.index.json")):
        try:
            names = sorted(set(read_json(index)["weight_map"].values()))
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is no index of weights") from error
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
                raise CheckpointError(f"{index} names the weights {name!r}, which are not in its folder")


def _require_template(folder: str, processor: Any) -> None:
    """What a chat template leaves out nobody would miss: a judge answers without it."""
    content = [{"type": "image", "image": ""}, {"type": "text", "text": _PROBE}]
    turn = {"role": "user", "content": content}
    try:
        prompt = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    except MemoryError:
        raise
    except Exception as error:  # templates are programs
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"the chat template of {folder} cannot be used: {reason}") from error
    marks = {"pictures": getattr(processor, "image_token", ""), "the text": _PROBE}
    if wrong := [what for what, mark in marks.items() if prompt.count(mark) != 1]:
        raise CheckpointError(f"the chat template of {folder} does not show {' and '.join(wrong)} once")


def _require_fit(folder: str, model: Any, processor: Any) -> None:
    """A tokenizer or picture processor of another model gives other tokens than the model has learnt."""
    config, tokenizer, pictures = model.config, processor.tokenizer, processor.image_processor
    rows = model.get_input_embeddings().num_embeddings
    if (most := max(tokenizer.get_vocab().values(), default=0)) >= rows:
        raise CheckpointError(f"the tokenizer of {folder} has the token {most}, its model only {rows} tokens")
    token = tokenizer.convert_tokens_to_ids(processor.image_token)
    try:
        vision = config.vision_config
        same = {
            "token of pictures": (token, config.image_token_id),
            "size of a patch": (pictures.patch_size, vision.patch_size),
            "merging of patches": (pictures.merge_size, vision.spatial_merge_size),
        }
    except AttributeError as error:
        raise CheckpointError(f"{folder} is no model of the Qwen-VL family: {error}") from error
    for what, (here, there) in same.items():
        if here != there:
            raise CheckpointError(f"the {what} in {folder} is {here} to its processor, {there} to its model")


def _require_weights(folder: str, found: Mapping[str, Any]) -> None:
    """Weights that were not there are random, and random weights would judge."""
    missing, surplus = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    if not (missing or surplus):
        return
    lists = (("lacks", missing), ("has, unknown to its model,", surplus))
    said = " and ".join(f"{what} {_listed(names)}" for what, names in lists if names)
    advice = "; merge the adapters into the model first" if any(_ADAPTED in name for name in surplus) else ""
    raise CheckpointError(f"{folder} {said}{advice}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} weights: {shown}{more}"
