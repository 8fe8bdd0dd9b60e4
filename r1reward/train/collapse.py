"""Evidence of a training run that collapsed: what the numbers were when the first one was not finite."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from r1reward.engines.base import NonFiniteError
from r1reward.files import write_json


def save_evidence(folder: Path, step: int, error: NonFiniteError) -> None:
    """Write `step_<step>.json` (reason and a summary of each tensor) and the tensors as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in error.tensors.items() if tensor.numel()
    }
    save_file(tensors, folder / f"step_{step}.safetensors")
    summaries = {name: _summary(tensor) for name, tensor in tensors.items()}
    write_json(folder / f"step_{step}.json", {"step": step, "reason": str(error), "tensors": summaries})


def _summary(tensor: Tensor) -> dict[str, object]:
    values = tensor.double().flatten()
    finite = values[torch.isfinite(values)]
    return {
        "shape": list(tensor.shape),
        "not_finite": int(values.numel() - finite.numel()),
        "min": float(finite.min()) if finite.numel() else None,
        "max": float(finite.max()) if finite.numel() else None,
    }
