"""How far each step of an optimizer moves the weights, and a warning where that is lost in rounding."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

_LOG = logging.getLogger(__name__)


class UpdateMeter:
    """Measures every step of an optimizer that is taken after it was made.

    `ratio` is the norm of the last update over the norm of the weights before it, over all parameters of the
    optimizer. The first update that is smaller than half of the last digit of the parameters' type is warned
    about: rounding took most of it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.ratio = math.nan
        self._steps, self._warned, self._before = 0, False, []
        optimizer.register_step_pre_hook(self._remember)
        optimizer.register_step_post_hook(self._measure)

    @torch.no_grad()
    def _remember(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._before = [parameter.clone() for parameter in _parameters(optimizer)]

    @torch.no_grad()
    def _measure(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        pairs = zip(_parameters(optimizer), self._before, strict=True)
        self.ratio = _norm(now.float() - old.float() for now, old in pairs) / _norm(self._before)
        self._before, self._steps = [], self._steps + 1
        lost = max(torch.finfo(parameter.dtype).eps for parameter in _parameters(optimizer)) / 2
        if self.ratio < lost and not self._warned and _means_to_move(optimizer):
            self._warned = True
            _LOG.warning(
                "update %d moves the weights by %.1e of their norm, and their type resolves no less than "
                "%.1e: most of it is lost. Raise the learning rate, or train float32 weights",
                self._steps,
                self.ratio,
                lost,
            )


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _norm(tensors: Iterable[Tensor]) -> float:
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tensors]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def _means_to_move(optimizer: torch.optim.Optimizer) -> bool:
    """Neither the rate nor the gradient is 0, as in the first step of a warm-up."""
    rate = max(group["lr"] for group in optimizer.param_groups)
    grads = (parameter.grad for parameter in _parameters(optimizer))
    return rate > 0 and any(bool(grad.any()) for grad in grads if grad is not None)
