"""When a training run has collapsed: numbers that are not finite, or answers that fell apart.

A run has also collapsed when, for several steps running, more than half of its answers are cut off at the
length limit or its reward is 0.3 below that of the first rollout, which the starting policy made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from r1reward.engines.base import NonFiniteError
from r1reward.files import write_atomic, write_json

MAX_TRUNCATED_SHARE = 0.5
MAX_REWARD_DROP = 0.3


class CollapseWatch:
    """Looks at the rows of a run as they come; `rows` are those from before the run was resumed.

    `patience` is the number of steps in a row; 0 never sees a collapse. `unknown_reward` is what one unknown
    consistency would add to the mean reward at most. It is not missed, or a judge that cannot be reached
    would pass for a collapse.
    """

    def __init__(
        self, rows: Iterable[Mapping[str, float]] = (), *, patience: int, unknown_reward: float = 0.0
    ) -> None:
        self._patience, self._unknown_reward = patience or math.inf, unknown_reward
        self._first_reward: float | None = None
        self._truncated = self._fallen = 0
        for row in rows:
            self.see(row)

    def see(self, row: Mapping[str, float]) -> str | None:
        """Why the run has collapsed as of this step, or None."""
        if self._first_reward is None:
            self._first_reward = row["reward"]
        truncated = row["truncated_share"] > MAX_TRUNCATED_SHARE
        possible = row["reward"] + self._unknown_reward * row.get("judge_unknown", 0)
        fallen = possible < self._first_reward - MAX_REWARD_DROP
        self._truncated = self._truncated + 1 if truncated else 0
        self._fallen = self._fallen + 1 if fallen else 0
        if self._truncated >= self._patience:
            return f"more than half of the answers were cut off for {self._patience} steps"
        if self._fallen >= self._patience:
            return f"the reward was {MAX_REWARD_DROP} below the start for {self._patience} steps"
        return None


def save_evidence(folder: Path, step: int, error: NonFiniteError) -> None:
    """Write `step_<step>.json` (reason and a summary of each tensor) and the tensors as safetensors."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in error.tensors.items() if tensor.numel()
    }
    write_atomic(folder / f"step_{step}.safetensors", save(tensors))
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
