"""The final reward from its three parts (paper §3.2, and Equation 1 of its appendix)."""

from __future__ import annotations

import torch
from torch import Tensor

FORMAT_WEIGHT = 0.5


def final_reward(
    result: Tensor,
    consistency: Tensor,
    *,
    formatting: Tensor,
    weight: float = 0.5,
    external: bool = False,
) -> Tensor:
    """`result * (1 + weight * consistency) + 0.5 * formatting` of B answers, tensors (B,); broadcasts.

    `result`, `consistency` and `formatting` are 1 or 0 for each answer. A consistency of NaN means that the
    judge gave no usable answer and counts as 0; counting these cases is left to the caller. Consistency pays
    only for right answers, so it cannot be earned with wrong ones (paper §3.2). `external` takes it out of
    that gate, `result + weight * consistency + 0.5 * formatting` (the paper's Equation 1, ablated in its
    Table 7); every answer must then have been judged.
    """
    consistent = weight * torch.nan_to_num(consistency, nan=0.0)
    right = result + consistent if external else result * (1 + consistent)
    return right + FORMAT_WEIGHT * formatting
