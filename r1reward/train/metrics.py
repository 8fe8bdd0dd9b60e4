"""The row of metrics of an RL step, from its trajectories, its advantages and its updates."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean as mean

from torch import Tensor

from r1reward.types import JudgeTrajectory, Trajectory, Verdict

_LARGEST = ("policy_loss_max", "log_ratio_max", "grad_norm")


def rollout_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Means over the B responses of a rollout; lengths are in tokens, the end token included."""
    return {
        "reward": mean([t.reward for t in trajectories]),
        "response_length": mean([float(len(t.completion.token_ids)) for t in trajectories]),
        "truncated_share": mean([float(t.completion.finish_reason == "length") for t in trajectories]),
    }


def judge_metrics(trajectories: Sequence[JudgeTrajectory]) -> dict[str, float]:
    """Means over a judge's responses; `judge_unknown` is the number of consistency verdicts missing.

    `contradicted_share` is the share of the right answers, opinions known, whose reasoning contradicts them.
    A consistency that was unknown or not asked for counts as 0.
    """
    judged = [t.consistency for t in trajectories if t.result and t.consistency is not None]
    return {
        "reward_result": mean([t.result for t in trajectories]),
        "reward_format": mean([t.formatting for t in trajectories]),
        "reward_consistency": mean([t.consistency or 0.0 for t in trajectories]),
        "accuracy": mean([t.result for t in trajectories]),
        "answer_one_share": mean([float(t.verdict is Verdict.FIRST) for t in trajectories]),
        "unparsed_share": mean([float(t.verdict is Verdict.UNPARSED) for t in trajectories]),
        "contradicted_share": 1 - sum(judged) / len(judged) if judged else 0.0,
        "judge_unknown": sum(t.consistency is None for t in trajectories),
    }


def advantage_metrics(z: Tensor, *, kept: Tensor) -> dict[str, float]:
    """Range of the advantages (N,) of all tokens, and the share by their sign that is 0 in `kept` (N,)."""
    return {
        "z_min": float(z.min()),
        "z_max": float(z.max()),
        "filtered_positive": float(((z > 0) & (kept == 0)).double().mean()),
        "filtered_negative": float(((z < 0) & (kept == 0)).double().mean()),
    }


def weighted_means(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Several rows of loss metrics as one: means weighted by tokens.

    Loss, log-ratio and gradient norm are the largest of all, the learning rate is that of the last part.
    """
    weights = [part.get("num_tokens", 1.0) for part in parts]
    total = sum(weights)
    merged: dict[str, float] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if name == "num_tokens":
            merged[name] = total
        elif name == "learning_rate":
            merged[name] = values[-1]
        elif name in _LARGEST:
            merged[name] = max(values)
        else:
            merged[name] = sum(value * weight for value, weight in zip(values, weights, strict=True)) / total
    return merged
