"""OpenRLHF's TensorBoard events as the rows of metrics that notebooks 03 and 05 draw."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from r1reward.files import write_atomic

# Our name of a metric and OpenRLHF's. The last ones are logged by `hook` and by `rewards`.
NAMES = {
    "policy_loss": "policy_loss",
    "grad_norm": "actor_grad_norm",
    "learning_rate": "actor_lr",
    "reward": "rollout/reward_mean",
    "response_length": "rollout/response_length_mean",
    "truncated_share": "rollout/truncated_rate",
    "clip_share": "ppo_clip_ratio",
    "seconds": "timing/step_total",
    "rollout_seconds": "timing/generation",
    "update_seconds": "timing/ppo_train",
    "pre_clip_high_positive": "pre_clip_high_positive",
    "pre_clip_high_negative": "pre_clip_high_negative",
    "pre_clip_low_positive": "pre_clip_low_positive",
    "pre_clip_low_negative": "pre_clip_low_negative",
    "filtered_positive": "filtered_positive",
    "filtered_negative": "filtered_negative",
    "reward_result": "reward_result",
    "reward_format": "reward_format",
    "reward_consistency": "reward_consistency",
    "accuracy": "reward_result",
    "answer_one_share": "answer_one",
    "unparsed_share": "unparsed",
}
# How far trainer and engine disagree; only with `cluster.measure_mismatch`.
MISMATCH = "vllm_kl"
_PREFIX = "train/"


def read_back(board: Path, record: Path) -> list[dict[str, float]]:
    """Write `record`, JSON lines a step, from the events below `board`; returns the rows.

    Raises ValueError where a step lacks a metric, as it does when the hook was not active.
    """
    steps = _read_events(board)
    if not steps:
        raise ValueError(f"{board} holds no step of a run: see OpenRLHF's log")
    rows = [_row(step, steps[step], board) for step in sorted(steps)]
    write_atomic(record, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def _row(step: int, found: dict[str, float], board: Path) -> dict[str, float]:
    needed = {*NAMES.values(), "judge_unknown", "judged", "contradicted", "reward_failed"}
    if missing := sorted(needed - set(found)):
        raise ValueError(f"{board}, step {step}: {', '.join(missing)} was not logged")
    samples = found["rollout/num_samples"]
    row = {"step": step, **{ours: found[theirs] for ours, theirs in NAMES.items()}}
    row["judge_unknown"] = round(samples * found["judge_unknown"])
    row["reward_failed"] = round(samples * found["reward_failed"])
    row["contradicted_share"] = found["contradicted"] / found["judged"] if found["judged"] else 0.0
    return row | ({MISMATCH: found[MISMATCH]} if MISMATCH in found else {})


def _read_events(board: Path) -> dict[int, dict[str, float]]:
    """Scalars by step; what a resumed run logged again replaces what the killed one had."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    steps: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for folder in sorted({file.parent for file in board.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag) if tag.startswith(_PREFIX) else ():
                steps[event.step][tag.removeprefix(_PREFIX)] = event.value
    return dict(steps)
