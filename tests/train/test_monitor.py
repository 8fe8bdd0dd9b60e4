"""What TensorBoard shows of a run that was killed and went on."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from r1reward.algo import filter_advantages
from r1reward.train.monitor import (
    UpdateMeter,
    advantage_metrics,
    collapse_reason,
    judge_metrics,
    monitor,
    rollout_metrics,
    weighted_means,
)
from r1reward.types import Completion, JudgeTrajectory, PreferencePair, Verdict


def test_a_resumed_run_forgets_the_steps_after_its_checkpoint_and_no_other(tmp_path: Path) -> None:
    for step, rows in ((0, {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}), (2, {3: 30.0})):
        with monitor("run", total=4, step=step, folder=tmp_path) as show:
            for number, reward in rows.items():
                show({"step": number, "reward": reward})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["reward"]
    shown = {event.step: round(event.value, 3) for event in events.Scalars("reward")}
    assert shown == {1: 0.1, 2: 0.2, 3: 30.0}


def rows(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"reward": reward, "truncated_share": truncated} for reward, truncated in values]


def reasons(seen: list[dict[str, float]], **how: Any) -> list[str]:
    """What is said after each row."""
    return [collapse_reason(seen[: step + 1], **how) for step in range(len(seen))]


def test_a_reward_below_the_start_for_five_steps_is_a_collapse():
    said = reasons(rows((1.0, 0), *[(0.69, 0)] * 4, (0.71, 0), *[(0.69, 0)] * 5), patience=5)
    assert said[:-1] == [""] * 10
    assert "0.3 below its best" in said[-1]


def test_a_reward_that_falls_after_it_has_risen_is_a_collapse():
    """From a mean of 1.4 over five steps to that of a coin, which is where it started."""
    risen = [(1.3, 0), (1.5, 0), (1.4, 0), (1.4, 0), (1.4, 0)]
    said = reasons(rows((1.0, 0), *risen, *[(1.05, 0)] * 5), patience=5)
    assert said[:-1] == [""] * 10 and "0.3 below its best" in said[-1]
    assert not any(reasons(rows((1.0, 0), *risen, *[(1.15, 0)] * 9), patience=5))


def test_answers_cut_off_for_five_steps_are_a_collapse():
    said = reasons(rows(*[(1.0, 0.51)] * 4, (1.0, 0.5), *[(1.0, 0.51)] * 5), patience=5)
    assert said[:-1] == [""] * 9
    assert "cut off" in said[-1]


def test_without_patience_nothing_is_a_collapse():
    assert not any(reasons(rows((1.0, 0), *[(0.1, 1.0)] * 20), patience=0))


def test_a_judge_that_cannot_be_reached_is_no_collapse():
    """Half of eight answers are unknown at a weight of 0.8: at most 0.4 of the reward is missing."""
    outage = [{"reward": 0.6, "truncated_share": 0.0, "judge_unknown": 4}] * 9
    first = {"reward": 1.0, "truncated_share": 0.0, "judge_unknown": 0}
    assert not any(reasons([first, *outage], patience=5, unknown_reward=0.8 / 8))
    said = reasons([first, *outage[:5]], patience=5, unknown_reward=0.1 / 8)
    assert [bool(reason) for reason in said] == [False] * 5 + [True]


PAIR = PreferencePair("p", "test", "q", ("a", "b"), 1)


def trajectory(
    verdict: Verdict, consistency: float | None, length: int, reason: str = "stop"
) -> JudgeTrajectory:
    completion = Completion("", tuple(range(length)), (0.0,) * length, reason)  # type: ignore[arg-type]
    result = float(verdict.agrees_with(1))
    return JudgeTrajectory(PAIR, completion, result + 0.5, verdict, result, 1.0, consistency)


def test_metrics_of_four_answers() -> None:
    answers = [
        trajectory(Verdict.FIRST, 1.0, 4),
        trajectory(Verdict.FIRST, None, 6),
        trajectory(Verdict.SECOND, 0.0, 8),
        trajectory(Verdict.UNPARSED, 0.0, 2, "length"),
    ]
    assert rollout_metrics(answers) == {"reward": 1.0, "response_length": 5.0, "truncated_share": 0.25}
    assert judge_metrics(answers) == {
        "reward_result": 0.5,
        "reward_format": 1.0,
        "reward_consistency": 0.25,
        "accuracy": 0.5,
        "answer_one_share": 0.5,
        "unparsed_share": 0.25,
        "contradicted_share": 0.0,
        "judge_unknown": 1,
    }


def test_contradictions_are_counted_among_right_answers_that_were_judged() -> None:
    opinions = (1.0, 0.0, 0.0, None)
    answers = [trajectory(Verdict.FIRST, opinion, 1) for opinion in opinions]
    answers += [trajectory(Verdict.SECOND, 0.0, 1)]
    assert judge_metrics(answers)["contradicted_share"] == 1 - 1 / 3
    assert judge_metrics(answers[3:])["contradicted_share"] == 0.0


def test_filtered_shares_by_sign() -> None:
    z = torch.tensor([-5.0, -3.0, 0.0, 2.0, 3.5, 4.0, 1.0, 1.0])
    row = advantage_metrics(z, kept=filter_advantages(z, limit=3.0))
    assert row == {"z_min": -5.0, "z_max": 4.0, "filtered_positive": 0.25, "filtered_negative": 0.125}
    off = advantage_metrics(z, kept=z)
    assert off["filtered_positive"] == off["filtered_negative"] == 0.0


def test_means_are_weighted_by_tokens() -> None:
    parts = [
        {"policy_loss": 1.0, "policy_loss_max": 3.0, "learning_rate": 0.1, "num_tokens": 1.0},
        {"policy_loss": 2.0, "policy_loss_max": 2.0, "learning_rate": 0.2, "num_tokens": 3.0},
    ]
    assert weighted_means(parts) == {
        "policy_loss": 1.75,
        "policy_loss_max": 3.0,
        "learning_rate": 0.2,
        "num_tokens": 4.0,
    }


def step(
    weights: list[float], grad: list[float], *, rate: float, dtype: torch.dtype = torch.float32
) -> UpdateMeter:
    """One step of plain descent."""
    parameter = torch.nn.Parameter(torch.tensor(weights, dtype=dtype))
    parameter.grad = torch.tensor(grad, dtype=dtype)
    optimizer = torch.optim.SGD([parameter], lr=rate)
    meter = UpdateMeter(optimizer)
    assert math.isnan(meter.ratio)
    optimizer.step()
    return meter


def test_the_ratio_is_that_of_the_norms_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    """Weights (3, 4) have norm 5, and a step of (0.3, 0.4) has 0.5."""
    assert step([3.0, 4.0], [3.0, 4.0], rate=0.1).ratio == pytest.approx(0.1)
    assert not caplog.records


@pytest.mark.parametrize(
    ("rate", "grad", "dtype", "warned"),
    [
        (1e-3, 1.0, torch.bfloat16, True),
        (1e-3, 1.0, torch.float32, False),
        (1e-9, 1.0, torch.float32, True),
        (0.1, 1.0, torch.bfloat16, False),
        (0.0, 1.0, torch.bfloat16, False),
        (1e-3, 0.0, torch.bfloat16, False),
    ],
)
def test_an_update_that_rounding_takes_is_warned_about(
    rate: float, grad: float, dtype: torch.dtype, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    meter = step([1.0, 1.0], [grad, grad], rate=rate, dtype=dtype)
    assert ("most of it is lost" in caplog.text) == warned
    if warned:
        assert meter.ratio == 0.0


def test_a_run_is_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD([parameter], lr=1e-4)
    UpdateMeter(optimizer)
    for _ in range(3):
        optimizer.step()
    assert caplog.text.count("most of it is lost") == 1 and "update 1 " in caplog.text
