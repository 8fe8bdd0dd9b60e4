"""The checkable sentences of the paper about downstream training (C.9) and the quality of reasoning (C.7)."""

from __future__ import annotations

from r1reward.report.claims import Claim, Measured
from r1reward.report.downstream import differences, values_of
from r1reward.report.reasoning import ratings_matrix
from r1reward.report.records import Records
from r1reward.report.scores import bootstrap
from r1reward.stats import Interval

_OPEN = "two of the ten columns scored by a script"


def _mean_gain(records: Records) -> Measured | None:
    gain = differences(records).get("mean")
    return None if gain is None else _in_points(gain, records)


def _smallest_gain(records: Records) -> Measured | None:
    """Of the column that gained least, as found: its interval does not allow for the choice of ten."""
    found = {name: gain for name, gain in differences(records).items() if name != "mean"}
    return _in_points(min(found.values(), key=lambda gain: gain.estimate), records) if found else None


def _in_points(gain: Interval, records: Records) -> Measured:
    seeds = len(next(iter(values_of(records, "trained").values())))
    return Measured(Interval(100 * gain.estimate, 100 * gain.low, 100 * gain.high), seeds, _OPEN)


def _preferred_reasoning(records: Records) -> Measured | None:
    """By people only: what a script prefers says nothing."""
    outcomes = ratings_matrix(records, "people")
    if outcomes is None:
        return None
    return Measured(
        bootstrap(100.0 * ((outcomes == 0).astype(float) - (outcomes == 1))), 1, "rated by people"
    )


QUALITY_CLAIMS = (
    Claim(
        "downstream_gain",
        "C.9",
        "demonstrating its generalization capability and practical utility for downstream MLLM training",
        "trained policy - start, mean of ten downstream columns, points",
        "above",
        _mean_gain,
    ),
    Claim(
        "downstream_everywhere",
        "C.9",
        "consistent improvement over the baseline using R1-Reward across all benchmarks",
        "trained policy - start, the downstream column that gained least, points",
        "above",
        _smallest_gain,
    ),
    Claim(
        "reasoning_preferred",
        "C.7",
        "R1-Reward demonstrates a significant advantage in human evaluation",
        "wins - losses of its reasoning against the cold start's, percent",
        "above",
        _preferred_reasoning,
    ),
)
