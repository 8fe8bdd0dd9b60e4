"""The probability ratio of new and old policy with Pre-CLIP (paper §3.1, Algorithm 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PRE_CLIP = 1e3


def policy_ratio(log_probs: Tensor, old_log_probs: Tensor, *, pre_clip: float | None = PRE_CLIP) -> Tensor:
    """`exp(clip(log_probs - old_log_probs, -log b, log b))` for the bound b = `pre_clip`.

    Both tensors hold log-probabilities in nats and have one shape, (B, T) say; the result has it too.
    Clipping comes before the exponential (paper §3.1, δ_max = 1e3 and δ_min = 1e-3), so the
    exponential cannot overflow and the gradient is zero outside the bounds. None switches it off.
    Raises ValueError for a bound that is not above 1.
    """
    return torch.exp(clip_log_ratio(log_probs, old_log_probs, pre_clip=pre_clip))


def clip_log_ratio(log_probs: Tensor, old_log_probs: Tensor, *, pre_clip: float | None) -> Tensor:
    """What `policy_ratio` takes the exponential of."""
    log_ratio = log_probs - old_log_probs
    if pre_clip is None:
        return log_ratio
    bound = log_bound(pre_clip)
    return log_ratio.clamp(-bound, bound)


def log_bound(pre_clip: float) -> float:
    """The largest log-ratio that a bound on the ratio lets through. Raises ValueError unless above 1."""
    if not pre_clip > 1:
        raise ValueError(f"pre_clip bounds the ratio from above and must be larger than 1, got {pre_clip}")
    return math.log(pre_clip)
