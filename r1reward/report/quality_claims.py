"""The checkable sentences of the paper about downstream training (C.9) and the quality of reasoning (C.7)."""

from __future__ import annotations

from r1reward.benchmarks import DOWNSTREAM_COLUMNS
from r1reward.report.claims import Claim, Measured
from r1reward.report.downstream_scores import differences, read_columns
from r1reward.report.reasoning import ratings_matrix
from r1reward.report.records import Records
from r1reward.report.scores import bootstrap
from r1reward.stats import Interval

# Ten columns are looked at, so each interval is as wide as a one-in-ten share of the error asks for.
_COLUMN_CONFIDENCE = 1 - 0.05 / len(DOWNSTREAM_COLUMNS)
_OPEN = "with two columns that a script scored"


def _mean_gain(records: Records) -> Measured | None:
    gain = differences(records).get("mean")
    return None if gain is None else _in_points(gain, records, _OPEN)


def _every_gain(records: Records) -> Measured | None:
    """The smallest gain with the smallest bounds: above 0 where all columns gained, below where one lost."""
    found = differences(records, confidence=_COLUMN_CONFIDENCE)
    gains = [found[name] for name in DOWNSTREAM_COLUMNS if name in found]
    if len(gains) < len(DOWNSTREAM_COLUMNS):
        return None
    estimate, low, high = (min(getattr(g, part) for g in gains) for part in ("estimate", "low", "high"))
    gained = sum(gain.estimate > 0 for gain in gains)
    note = f"{gained} of 10 columns gained, {_OPEN}; bounds of all ten together"
    return _in_points(Interval(estimate, low, high), records, note)


def _in_points(gain: Interval, records: Records, note: str) -> Measured:
    seeds = len(next(iter(read_columns(records, "trained").values())).seeds)
    return Measured(Interval(100 * gain.estimate, 100 * gain.low, 100 * gain.high), seeds, note)


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
        "trained policy - start, smallest gain of ten columns, points",
        "above",
        _every_gain,
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
