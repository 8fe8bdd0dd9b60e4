"""Float32 weights with bfloat16 arithmetic (Micikevicius et al., 2018): how bfloat16 models are trained.

A weight of bfloat16 has 8 significant bits. Most updates of the learning rates used here are smaller than
half of the last one, and adding them would change nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def compute_in(model: Any, dtype: torch.dtype) -> None:
    """From now on the forwards of a model with float32 weights compute in `dtype`, inside `computing`."""
    model.computes_in = dtype


def computes_in(model: Any) -> torch.dtype | None:
    """The type set by `compute_in`; None for a model that computes in the type of its weights."""
    return getattr(model, "computes_in", None)


def computing(model: Any) -> AbstractContextManager[Any]:
    """The context of a forward of a model, or of many: weights are cast once for all of them."""
    dtype = computes_in(model)
    return nullcontext() if dtype is None else torch.autocast(model.device.type, dtype)
