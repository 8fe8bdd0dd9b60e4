"""The checkable sentences of the paper about downstream training (C.9) and the quality of reasoning (C.7)."""

from __future__ import annotations

from functools import partial
from statistics import fmean

from r1reward.benchmarks import DOWNSTREAM_COLUMNS
from r1reward.report.claims import LATER_NOTE, Claim, Measured
from r1reward.report.downstream_scores import POLICIES, differences, paper_gains, read_columns
from r1reward.report.reasoning import ratings_matrix
from r1reward.report.records import MODES, Records
from r1reward.report.scores import bootstrap
from r1reward.stats import Interval

# Ten columns are looked at, so each interval is as wide as a one-in-ten share of the error asks for.
_COLUMN_CONFIDENCE = 1 - 0.05 / len(DOWNSTREAM_COLUMNS)
_SUFFIXES = {"greedy": "", "sampled": "_sampled"}
_LATER = {"greedy": "", "sampled": LATER_NOTE}
_OPEN = "with two columns that a script scored"


def _printed_gain() -> float:
    return fmean(paper_gains().values())


def _mean_gain(records: Records, *, mode: str = "greedy") -> Measured | None:
    gain = differences(records, mode=mode).get("mean")
    return None if gain is None else _in_points(gain, records, _OPEN, mode)


def _every_gain(records: Records, *, mode: str = "greedy") -> Measured | None:
    """The smallest gain with the smallest bounds: above 0 where all columns gained, below where one lost."""
    found = differences(records, mode=mode, confidence=_COLUMN_CONFIDENCE)
    gains = [found[name] for name in DOWNSTREAM_COLUMNS if name in found]
    if len(gains) < len(DOWNSTREAM_COLUMNS):
        return None
    estimate, low, high = (min(getattr(g, part) for g in gains) for part in ("estimate", "low", "high"))
    gained = sum(gain.estimate > 0 for gain in gains)
    note = f"{gained} of 10 columns gained, {_OPEN}; bounds of all ten together"
    return _in_points(Interval(estimate, low, high), records, note, mode)


def _in_points(gain: Interval, records: Records, note: str, mode: str) -> Measured:
    _, trained = POLICIES[mode]
    seeds = len(next(iter(read_columns(records, trained).values())).seeds)
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
    *(
        Claim(
            f"downstream_gain{suffix}",
            "C.9",
            "demonstrating its generalization capability and practical utility for downstream MLLM training",
            f"trained policy - start, mean of ten downstream columns, {MODES[mode]}, points",
            "above",
            partial(_mean_gain, mode=mode),
            printed=_printed_gain,
            note=_LATER[mode],
        )
        for mode, suffix in _SUFFIXES.items()
    ),
    *(
        Claim(
            f"downstream_everywhere{suffix}",
            "C.9",
            "consistent improvement over the baseline using R1-Reward across all benchmarks",
            f"trained policy - start, smallest gain of ten columns, {MODES[mode]}, points",
            "above",
            partial(_every_gain, mode=mode),
            note=_LATER[mode],
        )
        for mode, suffix in _SUFFIXES.items()
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
