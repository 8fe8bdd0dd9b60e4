"""Standardised advantages and the advantage filter (paper §2, §3.1).

Consequence of the filter for binary rewards: the z-score of a wrong answer is -sqrt((1 - p) / p) for a
share p of wrong answers, so once fewer than 10 % are wrong every one of them is zeroed and only right
answers are learned from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_GROUP_EPS = 1e-8
DEFAULT_LIMIT = 3.0


def standardize_advantages(values: Tensor, mask: Tensor | None = None, *, eps: float = 1e-8) -> Tensor:
    """`(A - mean) / (std + eps)` over all counted entries of the tensor at once (paper §3.1).

    `values` has any shape, usually the (B, T) token advantages of a whole rollout batch; `mask` has the
    same shape, is true where an entry counts, and None counts all. The mean and the population
    standard deviation are computed in float64; the result has the type of `values` and is 0 where
    masked out. A constant batch gives exactly 0. Raises ValueError for a counted value that is not
    finite or a mask of another shape.
    """
    counted = torch.ones_like(values, dtype=torch.bool) if mask is None else mask.bool()
    if counted.shape != values.shape:
        raise ValueError(f"mask has shape {tuple(counted.shape)}, values have {tuple(values.shape)}")
    result = torch.zeros_like(values, dtype=_float_type(values))
    chosen = values[counted].double()
    if chosen.numel() == 0:
        return result
    _check_finite(chosen)
    # Measured from the minimum, equal values are exactly 0; a mean of equal values may be off by rounding.
    shifted = chosen - chosen.min()
    centred = shifted - shifted.mean()
    deviation = centred.square().mean().sqrt()
    result[counted] = (centred / (deviation + eps)).to(result.dtype)
    return result


def group_advantages(
    rewards: Tensor, group_ids: Tensor | Sequence[int], *, normalize_std: bool = True
) -> Tensor:
    """GRPO's advantages: rewards of shape (B,) measured against the answers to the same prompt.

    `group_ids` (B,) names each answer's prompt. From each reward its group's mean is subtracted and,
    with `normalize_std`, the rest divided by the group's population standard deviation plus 1e-8
    (arXiv:2402.03300 §4.1.2; Dr. GRPO leaves it out). A group of one, or of equal rewards, gives
    exactly 0. Raises ValueError for a reward that is not finite or shapes that differ.
    """
    identifiers = torch.as_tensor(group_ids, device=rewards.device)
    if rewards.ndim != 1 or identifiers.shape != rewards.shape:
        shapes = f"{tuple(rewards.shape)} and {tuple(identifiers.shape)}"
        raise ValueError(f"rewards and group_ids must both have shape (B,), got {shapes}")
    values = rewards.double()
    _check_finite(values)
    _, group, sizes = torch.unique(identifiers, return_inverse=True, return_counts=True)
    zeros = values.new_zeros(len(sizes))
    lowest = zeros.scatter_reduce(0, group, values, "amin", include_self=False)
    shifted = values - lowest[group]
    centred = shifted - (zeros.index_add(0, group, shifted) / sizes)[group]
    if normalize_std:
        variance = zeros.index_add(0, group, centred.square()) / sizes
        centred = centred / (variance.sqrt() + _GROUP_EPS)[group]
    return centred.to(_float_type(rewards))


def filter_advantages(z: Tensor, *, limit: float = DEFAULT_LIMIT) -> Tensor:
    """Standardised advantages with every |z| above `limit` set to 0 (paper §3.1, the 3-sigma rule).

    Any shape; z is unitless. A NaN stays NaN, so that a fault upstream is not hidden.
    """
    return torch.where(z.abs() > limit, torch.zeros_like(z), z)


def _float_type(values: Tensor) -> torch.dtype:
    return values.dtype if values.is_floating_point() else torch.get_default_dtype()


def _check_finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ValueError("advantages need finite values; found NaN or infinity")
