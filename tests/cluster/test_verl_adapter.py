"""The adapter for verl against numbers by hand, on functions like verl's; `test_verl` has the real ones."""

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    core = ModuleType("verl.trainer.ppo.core_algos")
    register = lambda name: lambda function: function  # noqa: E731
    core.register_policy_loss = core.register_adv_est = register  # type: ignore[attr-defined]
    core.agg_loss = lambda *, loss_mat, loss_mask, loss_agg_mode: (loss_mat * loss_mask).sum()  # type: ignore[attr-defined]
    for name in ("verl", "verl.trainer", "verl.trainer.ppo"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, core.__name__, core)
    monkeypatch.delitem(sys.modules, "r1reward.cluster.verl", raising=False)
    yield importlib.import_module("r1reward.cluster.verl").stable_reinforce_loss
    sys.modules.pop("r1reward.cluster.verl", None)


def actor(low: float | None, high: float | None) -> SimpleNamespace:
    return SimpleNamespace(clip_ratio=0.2, clip_ratio_low=low, clip_ratio_high=high, global_batch_info={})


@pytest.mark.parametrize(
    ("low", "high", "ratio", "advantage", "expected"),
    [
        (0.2, 0.28, 1.25, 1.0, -1.25),  # within 1.28
        (0.2, 0.28, 1.5, 1.0, -1.28),
        (0.2, None, 1.5, 1.0, -1.2),
        (None, 0.28, 0.5, -1.0, 0.8),
        (0.4, 0.28, 0.5, -1.0, 0.6),
        (0.4, 0.28, 1.5, -1.0, 1.5),  # the pessimistic side is never clipped
    ],
)
def test_both_sides_of_the_range_are_the_actors(
    loss: Callable[..., Any], low: float, high: float, ratio: float, advantage: float, expected: float
) -> None:
    old, mask = torch.zeros(1, 1), torch.ones(1, 1)
    value, _ = loss(
        old, torch.tensor([[ratio]]).log(), torch.full((1, 1), advantage), mask, config=actor(low, high)
    )
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_weights_of_the_rollout_multiply_tokens(loss: Callable[..., Any]) -> None:
    zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
    weights: Tensor = torch.tensor([[0.5, 2.0]])
    value, metrics = loss(zeros, zeros, ones, ones, config=actor(0.2, 0.2), rollout_is_weights=weights)
    assert float(value) == -2.5 and metrics["actor/clip_share"] == 0.0
