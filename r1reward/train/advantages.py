"""From the rewards of a rollout to the advantage of each of its tokens (paper §2, §3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from r1reward.algo import filter_advantages, group_advantages, standardize_advantages
from r1reward.settings import RLSettings
from r1reward.train.formulas import checked
from r1reward.train.learner import Chunk
from r1reward.train.resolved import advantage_limit
from r1reward.types import Trajectory


def advantages(
    chunks: Sequence[Chunk],
    trajectories: Sequence[Trajectory],
    *,
    settings: RLSettings,
    own: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Set the advantages (B, T) of all chunks; returns those of all counted tokens (N,) before the filter.

    GRPO measures rewards within the samples of a prompt; the others standardise over all tokens of the
    rollout, with any KL penalty (k1) in the token's reward-to-go. `own` takes the place of standardising and
    of the filter.
    """
    rewards = torch.tensor([trajectory.reward for trajectory in trajectories])
    if settings.algorithm == "grpo":
        groups = torch.arange(len(rewards)) // settings.samples_per_prompt
        rewards = group_advantages(rewards, groups, normalize_std=settings.normalize_groups)
    masks = [chunk.mask for chunk in chunks]
    values = [
        rewards.to(c.mask.device)[c.rows][:, None].expand(c.mask.shape) - _penalty(c, settings)
        for c in chunks
    ]
    counted = torch.cat([value[mask] for value, mask in zip(values, masks, strict=True)])
    z = counted if settings.algorithm == "grpo" else standardize_advantages(counted)
    limit = advantage_limit(settings)
    kept = z if limit is None else filter_advantages(z, limit=limit)
    if own is not None:
        kept = checked("advantages", own(counted), like=counted)
    parts = kept.split([int(mask.sum()) for mask in masks])
    for chunk, part in zip(chunks, parts, strict=True):
        chunk.advantages = torch.zeros(chunk.mask.shape, device=z.device).masked_scatter(chunk.mask, part)
    return z


def _penalty(chunk: Chunk, settings: RLSettings) -> Tensor:
    """KL (k1) from each token to the end, (B, T); 0 for GRPO, whose KL stands in its loss."""
    if chunk.reference is None or settings.algorithm == "grpo":
        return torch.zeros(chunk.mask.shape, device=chunk.mask.device)
    kl = settings.kl_coef * (chunk.old.log_probs - chunk.reference)
    return kl.flip(1).cumsum(1).flip(1)
