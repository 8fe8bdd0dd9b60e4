"""What this run could see of the paper: for each mechanism what has to vary, how far, and how far it did.

A reproduction is worth as much as its instrument: where a quantity cannot vary, "no difference" says nothing
about the paper. Everything here is measured on baselines: the annotator, cold starts, Reinforce++.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import pandas as pd

from r1reward.report.layout import NOT_RUN
from r1reward.report.records import Records
from r1reward.report.tables import titled

NEARLY_RIGHT = 0.9
PLAIN = "reinforce_pp_plain"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that has to vary: in which part of the paper it shows, and within which bounds it should lie.

    `measure` gives its values, one a seed (shares, points or a ratio), none where nothing has run. What is
    `annotated` says something about the annotator, which may be a script.
    """

    name: str
    shows: str
    low: float
    high: float
    measure: Callable[[Records], Sequence[float]]
    unit: str = "%"
    annotated: bool = False


def never_right(records: Records) -> Sequence[float]:
    """Share of the pairs that the annotator never got right, in percent."""
    attempts = (records.data() or {}).get("attempts", {})
    return [100 * attempts["failed"] / sum(attempts.values())] if sum(attempts.values()) else []


def right_at_a_retry(records: Records) -> Sequence[float]:
    """Share of the annotator's attempts after a miss that were right, in percent."""
    attempts = dict((records.data() or {}).get("attempts", {}))
    failed, later = attempts.pop("failed", 0), {int(k): n for k, n in attempts.items() if int(k) > 1}
    asked = sum(n * (k - 1) for k, n in later.items()) + failed * (max(later, default=1) - 1)
    return [100 * sum(later.values()) / asked] if asked else []


def _of_cold_starts(name: str, *, factor: float = 100.0) -> Callable[[Records], Sequence[float]]:
    return lambda records: [
        factor * found[name] for found in records.validation("sft").values() if name in found
    ]


def _lower_when_sampled(records: Records) -> Sequence[float]:
    return [100 * (one["accuracy"] - one["accuracy_sampled"]) for one in records.validation("sft").values()]


def _nearly_right(records: Records) -> Sequence[float]:
    frame = records.training(PLAIN)
    if frame is None:
        return []
    return [
        100 * float(np.mean(run["accuracy"].to_numpy() > NEARLY_RIGHT)) for _, run in frame.groupby("seed")
    ]


def _contradicted(records: Records) -> Sequence[float]:
    frame = records.training(PLAIN)
    if frame is None or "contradicted_share" not in frame:
        return []
    return [100 * float(np.mean(run["contradicted_share"].to_numpy())) for _, run in frame.groupby("seed")]


def _far_and_negative(records: Records) -> Sequence[float]:
    """In the cell that was chosen, tokens in a million that only Pre-CLIP would have kept from the loss."""
    stress = records.stress()
    if stress is None:
        return []
    runs = [rows for _, rows in records.stress_runs(stress["chosen"], "reinforce_pp")]
    return [1e6 * float(np.mean(rows["pre_clip_high_negative"].to_numpy())) for rows in runs if len(rows)]


def _collapsed(records: Records) -> Sequence[float]:
    return [100 * (status == "collapsed") for status in records.statuses(PLAIN)]


def _weaker(records: Records) -> Sequence[float]:
    strong, weak = (records.validation(f"annotators/{arm}") for arm in ("strong", "weak"))
    both = sorted(strong.keys() & weak.keys())
    return [100 * (strong[seed]["accuracy"] - weak[seed]["accuracy"]) for seed in both]


QUANTITIES = (
    Quantity(
        "pairs that the annotator never gets right", "hard pairs (§3.2)", 8, 100, never_right,
        annotated=True,
    ),
    Quantity(
        "its attempts after a miss that are right", "difficulty (§3.2)", 0, 40, right_at_a_retry,
        annotated=True,
    ),
    Quantity("cold start, greedy accuracy", "room for RL (Table 5)", 60, 78, _of_cold_starts("accuracy")),
    Quantity("cold start, sampled accuracy lower by", "Figure 3", 8, 100, _lower_when_sampled, "points"),
    Quantity(
        "answers that contradict their reasoning", "consistency reward (Tables 7, 13)", 5, 20,
        _of_cold_starts("contradicted"),
    ),
    Quantity(
        "answers that correct themselves", "self-reflection (Figures 5, 6)", 3, 10,
        _of_cold_starts("corrected"),
    ),
    Quantity(
        "length of answers, 95th over 5th percentile", "shorter answers (Figures 2, 4)", 2, 100,
        _of_cold_starts("length_spread", factor=1), "times",
    ),
    Quantity("weak annotator: cold start lower by", "Table 10", 1, 6, _weaker, "points"),
    Quantity("Reinforce++: steps with under 10 % wrong", "advantage filter (§3.1)", 20, 100, _nearly_right),
    Quantity(
        "Reinforce++: right answers that are contradicted", "consistency reward (Tables 7, 13)", 1, 100,
        _contradicted,
    ),
    Quantity(
        "Reinforce++ off policy: ratio above 1,000 and advantage negative", "Pre-CLIP (§3.1)", 1, 100,
        _far_and_negative, "tokens a million",
    ),
    Quantity("Reinforce++: runs that collapse", "stability (Figure 4)", 0, 0, _collapsed),
)  # fmt: skip


def instrument(records: Records) -> pd.DataFrame:
    """For each mechanism what has to vary, the target, and what this run's baselines did."""
    rows = [_row(quantity, quantity.measure(records), records) for quantity in QUANTITIES]
    return titled(pd.DataFrame(rows).fillna(""), "extra_instrument", records=records)


def _row(quantity: Quantity, values: Sequence[float], records: Records) -> dict[str, str]:
    about = {"quantity": quantity.name, "shows in": quantity.shows, "target": _target(quantity)}
    if not values:
        return {**about, "measured": NOT_RUN, "met": "", "source": NOT_RUN}
    middle = mean(values)
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    met = "yes" if quantity.low <= middle <= quantity.high else "no"
    source = "scripted" if quantity.annotated and records.scripted("sft") else "measured"
    seeds = {"source": source, "profile": records.profile, "seeds": str(len(values))}
    return {**about, "measured": f"{middle:.1f}{spread} {quantity.unit}", "met": met, **seeds}


def _target(quantity: Quantity) -> str:
    low, high, unit = quantity.low, quantity.high, quantity.unit
    if low == high:
        return f"{low:g} {unit}"
    if high == 100:
        return f"at least {low:g} {unit}"
    return f"at most {high:g} {unit}" if low == 0 else f"{low:g} to {high:g} {unit}"
