"""What is measured and shown of a training run, and when it has collapsed."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import fmean
from statistics import fmean as mean
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from r1reward.engines import NonFiniteError
from r1reward.files import write_atomic, write_json
from r1reward.progress import Progress
from r1reward.types import JudgeTrajectory, Trajectory, Verdict

_LOG = logging.getLogger(__name__)
_LARGEST = ("policy_loss_max", "log_ratio_max", "grad_norm")
WANDB_SWITCH = "R1REWARD_WANDB"
MAX_TRUNCATED_SHARE = 0.5
MAX_REWARD_DROP = 0.3
# Takes the row of metrics of a step.
Show = Callable[[Mapping[str, float]], None]
SHOWN = {"loss": "loss", "reward": "reward", "accuracy": "accuracy", "response_length": "length"}


@contextmanager
def monitor(name: str, *, total: int, step: int, folder: Path) -> Iterator[Show]:
    """A function that shows each row of metrics: a line with the time left, TensorBoard, W&B by a switch.

    Args:
        name: what is running, at the head of the line.
        total: steps of the whole run.
        step: the last step that is done; TensorBoard forgets what came after it.
        folder: where TensorBoard's events go. W&B is used if R1REWARD_WANDB is set.
    """
    progress, wandb = Progress(name), None
    if os.environ.get(WANDB_SWITCH):
        wandb = import_module("wandb").init(project="r1reward", name=name, dir=str(folder))
    with SummaryWriter(str(folder), purge_step=step + 1) as writer:

        def show(row: Mapping[str, float]) -> None:
            number = int(row["step"])
            values = {key: value for key, value in row.items() if key != "step"}
            for key, value in values.items():
                writer.add_scalar(key, value, number)
            if wandb:
                wandb.log(values, step=number)
            note = ", ".join(f"{word} {row[key]:.3g}" for key, word in SHOWN.items() if key in row)
            progress(number, total, note)

        try:
            yield show
        finally:
            if wandb:
                wandb.finish()


def collapse_reason(
    rows: Sequence[Mapping[str, float]], *, patience: int, unknown_reward: float = 0.0
) -> str:
    """Why a run with these rows of metrics has collapsed as of the last one; empty if it has not.

    It has when, for `patience` steps running (0 never sees it), more than half of its answers are cut off at
    the length limit or its reward is 0.3 below its best: that of the first rollout, which the starting policy
    made, or the mean of as many steps running. A judge that breaks after it has learned has collapsed too.
    `unknown_reward` is what one unknown consistency would add to the mean reward at most: it is not missed,
    or a judge that cannot be reached would pass for a collapse.
    """
    last = rows[-patience:] if patience else []
    if not last or len(last) < patience:
        return ""
    if all(row["truncated_share"] > MAX_TRUNCATED_SHARE for row in last):
        return f"more than half of the answers were cut off for {patience} steps"
    possible = [row["reward"] + unknown_reward * row.get("judge_unknown", 0) for row in last]
    rewards = [row["reward"] for row in rows]
    means = [fmean(rewards[end - patience : end]) for end in range(patience, len(rewards) + 1)]
    if max(possible) < max(rewards[0], *means) - MAX_REWARD_DROP:
        return f"the reward was {MAX_REWARD_DROP} below its best for {patience} steps"
    return ""


def save_evidence(folder: Path, step: int, error: NonFiniteError) -> None:
    """Write `step_<step>.json` (reason and a summary of each tensor) and the tensors as safetensors."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in error.tensors.items() if tensor.numel()
    }
    write_atomic(folder / f"step_{step}.safetensors", save(tensors))
    summaries = {name: _summary(tensor) for name, tensor in tensors.items()}
    write_json(folder / f"step_{step}.json", {"step": step, "reason": str(error), "tensors": summaries})


def _summary(tensor: Tensor) -> dict[str, object]:
    values = tensor.double().flatten()
    finite = values[torch.isfinite(values)]
    return {
        "shape": list(tensor.shape),
        "not_finite": int(values.numel() - finite.numel()),
        "min": float(finite.min()) if finite.numel() else None,
        "max": float(finite.max()) if finite.numel() else None,
    }


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
