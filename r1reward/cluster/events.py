"""OpenRLHF's TensorBoard events as the rows of metrics that notebooks 03 and 05 draw."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
POLL_SECONDS = 20.0
_LOG = logging.getLogger(__name__)


def read_back(board: Path, record: Path) -> list[dict[str, float]]:
    """Write `record`, JSON lines a step, from the events below `board`; returns the rows.

    Raises ValueError where a step lacks a metric, as it does when the hook was not active.
    """
    steps = _read_events(board)
    if not steps:
        raise ValueError(f"{board} holds no step of a run: see OpenRLHF's log")
    rows = [_row(step, steps[step], board) for step in sorted(steps)]
    _write(record, rows)
    return rows


@contextmanager
def following(board: Path, record: Path, *, seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Keep `record` up to date, see `write_finished`, while the block trains in the same process.

    A thread looks every so many seconds: OpenRLHF has its loop in a process of its own, and the driver waits.
    """
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(seconds):
            try:
                write_finished(board, record)
            except Exception:
                # A record that cannot be written now must not end days of training.
                _LOG.exception("%s was not brought up to date", record)

    thread = threading.Thread(target=poll, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def write_finished(board: Path, record: Path) -> int:
    """Write the rows of all steps before the first that is not logged whole; returns how many there are."""
    rows: list[dict[str, float]] = []
    steps = _read_events(board)
    for step in sorted(steps):
        try:
            rows.append(_row(step, steps[step], board))
        except ValueError:
            break
    if rows:
        _write(record, rows)
    return len(rows)


def _write(record: Path, rows: Sequence[dict[str, float]]) -> None:
    write_atomic(record, "".join(json.dumps(row) + "\n" for row in rows))


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
