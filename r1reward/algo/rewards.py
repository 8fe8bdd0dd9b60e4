"""The final reward from its three parts (paper §3.2, and Equation 1 of its appendix)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FORMAT_WEIGHT = 0.5

RewardPart = Tensor | float | Sequence[float | None] | None


def final_reward(
    result: RewardPart,
    consistency: RewardPart,
    *,
    formatting: RewardPart,
    weight: float = 0.5,
    external: bool = False,
) -> Tensor:
    """`result * (1 + weight * consistency) + 0.5 * formatting`; broadcasts, (B,) or a single value.

    `result`, `consistency` and `formatting` are 1 or 0 for each answer. A consistency of None or NaN
    means that the judge gave no usable answer and counts as 0; counting these cases is left to the
    caller. Consistency pays only for right answers, so it cannot be earned with wrong ones (paper
    §3.2). `external` takes it out of that gate, `result + weight * consistency + 0.5 * formatting`
    (the paper's Equation 1, ablated in its Table 7); every answer must then have been judged.
    Raises ValueError where `result` or `formatting` is unknown.
    """
    correct = _known(result, "result")
    formatted = _known(formatting, "formatting")
    consistent = torch.nan_to_num(_as_tensor(consistency), nan=0.0)
    if external:
        return correct + weight * consistent + FORMAT_WEIGHT * formatted
    return correct * (1 + weight * consistent) + FORMAT_WEIGHT * formatted


def _as_tensor(part: RewardPart) -> Tensor:
    if isinstance(part, Tensor):
        return part if part.is_floating_point() else part.to(torch.get_default_dtype())
    if isinstance(part, Sequence):
        return torch.tensor([math.nan if value is None else float(value) for value in part])
    return torch.tensor(math.nan if part is None else float(part))


def _known(part: RewardPart, name: str) -> Tensor:
    tensor = _as_tensor(part)
    if bool(torch.isnan(tensor).any()):
        raise ValueError(f"the {name} reward must be known for every answer")
    return tensor
