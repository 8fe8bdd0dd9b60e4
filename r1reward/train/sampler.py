"""Rollouts by another policy than the one that is trained: an older one, or one of rounded weights.

Asynchronous trainers sample while they update, so that an answer is some updates old when it is learnt from,
and inference engines keep weights of a lower precision. In one process both are a second model with other
weights. PPO's ratio is then far from 1 before the first update: where the paper's Pre-CLIP acts (§2.1, §3.1).
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from r1reward.settings import RLSettings

EARLIER = "earlier_weights.safetensors"


class Sampler:
    """Holds the `model` that samples for a policy: itself, or a copy with other weights.

    The copy has the weights of `rl.rollout_lag` rollouts ago, rounded to `rl.rollout_precision` (to the
    nearest, ties to even). It keeps and uses them in the policy's own type: what differs is what an engine
    of that precision has lost of the weights, not its arithmetic. The copy takes the memory of one more
    model, and each rollout of lag that of the trained weights, which checkpoints then hold too.
    """

    def __init__(self, policy: Any, settings: RLSettings) -> None:
        self._policy, self._lag = policy, settings.rollout_lag
        same = settings.rollout_precision == "same"
        self._precision: torch.dtype | None = None if same else getattr(torch, settings.rollout_precision)
        self.model = policy if same and not self._lag else deepcopy(policy).requires_grad_(False)
        # Trained weights before the last rollouts, oldest first.
        self._snapshots: deque[dict[str, Tensor]] = deque(maxlen=self._lag + 1)
        if self.apart:
            for value in self.model.parameters():
                value.copy_(self._rounded(value))

    @property
    def apart(self) -> bool:
        """Whether another model samples than the one that is trained."""
        return self.model is not self._policy

    @torch.no_grad()
    def follow(self) -> None:
        """Before a rollout: remember the policy's weights, and take those of so many rollouts ago.

        In the first rollouts these are the weights of the start.
        """
        if not self.apart:
            return
        trained = ((name, value) for name, value in self._policy.named_parameters() if value.requires_grad)
        self._snapshots.append({name: value.detach().clone() for name, value in trained})
        own = dict(self.model.named_parameters())
        for name, value in self._snapshots[0].items():
            own[name].copy_(self._rounded(value))

    def save(self, folder: Path) -> None:
        """Write the weights that later rollouts still need, as a file of a checkpoint."""
        if self._lag:
            needed = enumerate([*self._snapshots][-self._lag :])
            tensors = {f"{place}.{name}": value for place, one in needed for name, value in one.items()}
            save_file({name: value.contiguous() for name, value in tensors.items()}, folder / EARLIER)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        if not self._lag:
            return
        device = str(next(self.model.parameters()).device)
        found: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(folder / EARLIER, device=device).items():
            place, _, name = key.partition(".")
            found.setdefault(int(place), {})[name] = value
        self._snapshots.extend(found[place] for place in sorted(found))

    def _rounded(self, value: Tensor) -> Tensor:
        return value if self._precision is None else value.to(self._precision).to(value.dtype)
