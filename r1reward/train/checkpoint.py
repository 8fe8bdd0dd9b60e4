"""Checkpoints that are whole or absent, and runs that know what they are a run of.

A checkpoint is a folder `step_000010` that the Auto classes load, or that holds low-rank adapters alone (Hu
et al., 2021; through `peft`, extra `lora`), with the optimizer beside the weights. Adapters stand inside the
model's own layers, so that engine, losses and trainers do not know of them; a finished model has them merged.
Tensors are safetensors, everything else is JSON: nothing is ever unpickled. A folder gets its name by a
rename when every file in it is on disk, so a killed process leaves the previous one intact.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from r1reward.engines.loading import load_model, rounded_weights, save_model, weights_hash
from r1reward.files import read_json, read_jsonl, sha256_file, sync, write_atomic, write_json
from r1reward.settings import LoraSettings, ModelSettings

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"step_\d{6,}")
KEPT = 2  # checkpoints of a run
_UNFINISHED = ".unfinished"
_REMOVED = ".removed"
_HASHES = "hashes.json"
_DATE = "%Y-%m-%d_%H-%M-%S_%f"
# The language model's linear layers; what sees stays as it is.
TARGETS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"
_ADAPTERS = "adapters.safetensors"
_ADAPTER, _BASE = ".lora_", ".base_layer."
# No space, no quota left, and a limit on the size of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(RuntimeError):
    """Something could not be written for lack of space; the message names the folder and what to do."""


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn what a full disk raises while `folder` is written into a DiskFullError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _is_full(error):
            raise
        raise DiskFullError(
            f"{folder} cannot be written: {error}; what was saved before is intact. Free space there, or "
            "take a larger disk, and run the same command again: it goes on from the last checkpoint"
        ) from error


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    model: Any,
    processor: Any,
    optimizer: torch.optim.Optimizer | Any,
    state: Mapping[str, Any],
    also: Callable[[Path], object] | None = None,
) -> Path:
    """Write `folder/step_<step>` and remove all but the newest two.

    `state` is kept as JSON. `also(path)` may write further files before the checkpoint gets its name.
    """

    def write(unfinished: Path) -> None:
        save_policy(model, processor, unfinished)
        save_optimizer(optimizer, unfinished)
        write_json(unfinished / "state.json", {**state, "step": step})
        if also:
            also(unfinished)
        write_json(unfinished / _HASHES, _hashes(unfinished))

    path = write_folder(folder / f"step_{step:06d}", write)
    for old in _checkpoints(folder)[:-KEPT]:
        remove_folder(old)
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint, None if there is none.

    One whose files are not those that were written gets another name, and an older one takes its place.
    """
    for path in reversed(_checkpoints(folder)):
        if not (fault := _damage(path)):
            return path
        aside = path.with_name(f"{path.name}_damaged_{datetime.now():{_DATE}}")
        os.rename(path, aside)
        _LOG.warning("%s is damaged (%s) and now called %s: an older one is used", path, fault, aside.name)
    return None


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def _damage(path: Path) -> str:
    """Which file of a checkpoint is not as it was written; empty for a whole checkpoint."""
    try:
        written = read_json(path / _HASHES)
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    found = {name: digest for name, digest in _hashes(path).items() if name != _HASHES}
    changed = sorted(name for name in {*written, *found} if written.get(name) != found.get(name))
    return ", ".join(changed)


def latest_sharded(folder: Path) -> Path | None:
    """The newest checkpoint that DeepSpeed's processes have finished; its `trainer_state.json` comes last."""
    found = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(found, default=None, key=step_of)


def step_of(checkpoint: Path | None) -> int:
    """The step that a checkpoint of either kind was written after; 0 without one."""
    return int(re.split("[-_]", checkpoint.name)[-1]) if checkpoint else 0


def checkpoint_state(path: Path) -> dict[str, Any]:
    """The `state` of a checkpoint, with its `step`."""
    return read_json(path / "state.json")


def write_folder(path: Path, write: Callable[[Path], object]) -> Path:
    """Make the folder `path` with what `write(folder)` puts into it; there is never half of it.

    What stood there before is replaced. Raises DiskFullError if there is no space for it.
    """
    unfinished = path.parent / f"{path.name}{_UNFINISHED}"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with explain_full_disk(path.parent):
            unfinished.mkdir(parents=True)
            write(unfinished)
            for file in [*unfinished.rglob("*"), unfinished]:
                sync(file)
    except DiskFullError:
        # Half a checkpoint would only keep the disk full.
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if path.exists():
        remove_folder(path)
    os.rename(unfinished, path)
    sync(path.parent)
    return path


def remove_folder(path: Path) -> None:
    """Remove a folder so that a kill halfway leaves nothing under its name."""
    rest = path.parent / f"{path.name}{_REMOVED}"
    shutil.rmtree(rest, ignore_errors=True)
    os.rename(path, rest)
    shutil.rmtree(rest)


def save_optimizer(optimizer: torch.optim.Optimizer | Any, folder: Path) -> None:
    """State tensors as `optimizer.safetensors`, named `<parameter number>.<key>`; the rest as JSON."""
    saved = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for number, entries in saved["state"].items():
        for key, value in entries.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"{number}.{key}"] = value
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "optimizer.safetensors"
    )
    write_json(folder / "optimizer.json", {"param_groups": saved["param_groups"], "scalars": scalars})


def load_optimizer(optimizer: torch.optim.Optimizer | Any, folder: Path) -> None:
    """Read what `save_optimizer` wrote into an optimizer of the same parameters."""
    rest = read_json(folder / "optimizer.json")
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**load_file(folder / "optimizer.safetensors"), **rest["scalars"]}.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    groups = [{**group, "betas": tuple(group["betas"])} for group in rest["param_groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def open_run(out: Path, key: Mapping[str, Any], *, record: Path, sharded: bool = False) -> Path | None:
    """Prepare the folder of a run; returns the checkpoint to go on from, if any.

    With `sharded` that is one of DeepSpeed's. `key` says what is run (settings, seed, inputs). A run of
    another key is moved to `out/earlier/<date>`, records too. The rows of `record/metrics.jsonl` after the
    checkpoint's step are cut off.
    """
    out.mkdir(parents=True, exist_ok=True)
    identity = json.loads(json.dumps(key))
    known = out / "run.json"
    before = read_json(known) if known.is_file() else None
    if before != identity:
        _move_aside(out, record, changed=_changed(before, identity) if before else ())
        write_json(known, identity)
    _check_model(out, record)
    checkpoint = (latest_sharded if sharded else latest_checkpoint)(out / "checkpoints")
    step = step_of(checkpoint)
    metrics = record / "metrics.jsonl"
    if metrics.is_file() and not final_status(out, record):
        rows = [row for row in read_jsonl(metrics, drop_partial=True) if row["step"] <= step]
        write_atomic(metrics, "".join(json.dumps(row) + "\n" for row in rows))
    return checkpoint


def _changed(before: Any, now: Any, name: str = "") -> list[str]:
    """Dotted names of what differs between two keys of runs."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return [name] if before != now else []
    names = sorted({*before, *now})
    inner = [_changed(before.get(part), now.get(part), f"{name}.{part}".strip(".")) for part in names]
    return [found for part in inner for found in part]


def _move_aside(out: Path, record: Path, *, changed: Sequence[str]) -> None:
    """Keep what another run left in the folders, under a dated name; nothing that was trained is deleted."""
    # What lies there without run.json belongs to no run: a kill halfway leaves nothing to be gone on with.
    left = [out / name for name in ("run.json", "checkpoints", "model", "collapse", "tensorboard")]
    left += [record / name for name in ("metrics.jsonl", "status.json")]
    left = [path for path in left if path.exists()]
    if not left:
        return
    kept = out / "earlier" / f"{datetime.now():{_DATE}}"
    kept.mkdir(parents=True)
    for path in left:
        shutil.move(path, kept / path.name)
    reason = f"a run with other settings or inputs ({', '.join(changed)})" if changed else "an earlier run"
    _LOG.warning("%s held %s, which was moved to %s", out, reason, kept)


def _check_model(out: Path, record: Path) -> None:
    """Move a finished model aside whose weights are not those of its status; its run makes it again."""
    ended = final_status(out, record)
    if ended and ended.get("weights") != weights_hash(out / "model"):
        aside = out / f"model_damaged_{datetime.now():{_DATE}}"
        os.rename(out / "model", aside)
        _LOG.warning("%s is not the model that was written, and is now %s", out / "model", aside)


def write_status(out: Path, record: Path, **outcome: Any) -> None:
    """Write `record/status.json`: how the run ended, what was run, and the hash of its weights."""
    known = {"weights": weights_hash(out / "model"), "run": read_json(out / "run.json")}
    write_json(record / "status.json", {**outcome, **known})


def final_status(out: Path, record: Path) -> dict[str, Any] | None:
    """Status and last step of a run that ended and saved its model, else None. Call `open_run` first."""
    status = record / "status.json"
    return read_json(status) if status.is_file() and (out / "model").is_dir() else None


def _is_full(error: BaseException) -> bool:
    """The number of the system's error; safetensors has it in its text alone."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"os error {number})" in str(error) for number in _FULL)


def _checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    found = [path for path in folder.glob("step_*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


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
    saved = load_file(folder / _ADAPTERS)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if saved.keys() != trained:
        other = sorted(saved.keys() ^ trained)
        raise ValueError(f"{folder / _ADAPTERS} holds other weights than are trained: {', '.join(other)}")
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
    save_file({name: value.contiguous() for name, value in trained.items()}, folder / _ADAPTERS)


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
