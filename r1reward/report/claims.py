"""The claims ledger: sentences of the paper, what was measured about each, and whether it holds at this size.

A verdict is computed, never typed. A claim is about a quantity with an interval (bootstrap over seeds, then
pairs, unless said otherwise). "above" claims that the quantity is above its bound, "below" that it is below,
"within" that it lies within the bound on both sides of zero. An interval wholly on the claimed side: *holds*;
wholly on the other side: *does not hold*; else *undecided*. Without records: *not run*. Where there is
nothing to compare, as with a variant that is identical to its reference by construction: *not testable*. A
number that the paper prints may be the `centre` from which the bound is measured, or stand beside ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pandas as pd

from r1reward.report.drops import minor_drop, minor_judge_drop, slight_drop
from r1reward.report.records import Records
from r1reward.report.tables import NOT_RUN, titled
from r1reward.stats import Interval

Direction = Literal["above", "below", "within"]
Verdict = Literal["holds", "does not hold", "undecided", "not testable", "not run"]
LATER_NOTE = "this check was added when the result was known"
IDENTICAL_NOTE = "the same runs as its reference: the part that tells them apart never acted"


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity with its interval and the number of seeds; `note` says what a reader has to know.

    `interval` is None where there is nothing to compare, which the note explains.
    """

    interval: Interval | None
    seeds: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One checkable sentence. `measure` returns None without records.

    `bound` has the quantity's unit and is measured from `centre`; one that follows from the paper's numbers
    is a function. `printed` gives the paper's own number for
    the quantity, where it prints one, and `note` is what a reader has to know of the claim itself.
    """

    name: str
    section: str
    quote: str
    statistic: str
    direction: Direction
    measure: Callable[[Records], Measured | None]
    bound: float | Callable[[], float] = 0.0
    centre: float = 0.0
    printed: Callable[[], float] | None = None
    note: str = ""

    @property
    def limit(self) -> float:
        """The bound as a number, to two digits where it follows from the paper's."""
        return round(self.bound(), 2) if callable(self.bound) else self.bound

    @property
    def claimed(self) -> str:
        """For example "above 0.5" or "within ±5 of 35"."""
        sign = "±" if self.direction == "within" else ""
        return f"{self.direction} {sign}{self.limit:g}" + (f" of {self.centre:g}" if self.centre else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: the 95 % interval from `low` to `high`, and the `printed` number of the paper."""

    name: str
    section: str
    quote: str
    statistic: str
    direction: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    printed: float | None = None
    seeds: int = 0
    verdict: Verdict = "not run"
    note: str = ""


def judge_interval(interval: Interval, direction: Direction, bound: float) -> Verdict:
    """The verdict of an interval, see the module."""
    low, high = interval.low, interval.high
    if direction == "within":
        if -bound <= low and high <= bound:
            return "holds"
        return "does not hold" if high < -bound or low > bound else "undecided"
    if direction == "below":
        low, high, bound = -high, -low, -bound
    if low > bound:
        return "holds"
    return "does not hold" if high < bound else "undecided"


def check(claim: Claim, records: Records) -> Entry:
    """The entry of a claim for the records of a run."""
    printed = round(claim.printed(), 6) if claim.printed else None
    entry = Entry(claim.name, claim.section, claim.quote, claim.statistic, claim.claimed, printed=printed)
    found = claim.measure(records)
    if found is None:
        return entry
    notes = [found.note, claim.note]
    if found.interval is None:
        note = "; ".join(filter(None, notes))
        return replace(entry, seeds=found.seeds, verdict="not testable", note=note)
    if printed is not None and not found.interval.low <= printed <= found.interval.high:
        notes.append("the paper's number lies outside")
    return replace(
        entry,
        measured=round(found.interval.estimate, 6),
        low=round(found.interval.low, 6),
        high=round(found.interval.high, 6),
        seeds=found.seeds,
        verdict=judge_interval(_shifted(found.interval, claim.centre), claim.direction, claim.limit),
        note="; ".join(filter(None, notes)),
    )


def _shifted(interval: Interval, centre: float) -> Interval:
    return Interval(interval.estimate - centre, interval.low - centre, interval.high - centre)


def ledger(records: Records, claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """The entries of claims as JSON objects."""
    return [asdict(check(claim, records)) for claim in claims]


def claims_table(entries: Sequence[Mapping[str, Any]], *, profile: str) -> pd.DataFrame:
    """Entries of a ledger as a table; the quotes are the paper's, everything else is this run's."""
    rows = []
    for entry in entries:
        measured = "" if entry["measured"] is None else f"{entry['measured']:.2f}"
        bounds = "" if entry["low"] is None else f" [{entry['low']:.2f}, {entry['high']:.2f}]"
        printed = "" if entry["printed"] is None else f"{entry['printed']:.2f}"
        sign = "" if entry["section"][:3] in ("Abs", "Fig") else "§"
        rows.append(
            {
                "claim": f"{sign}{entry['section']}: “{entry['quote']}”",
                "statistic": f"{entry['statistic']}; claimed {entry['direction']}",
                "paper": printed,
                "measured": "; ".join(filter(None, (measured + bounds, entry["note"]))) or NOT_RUN,
                "seeds": str(entry["seeds"] or ""),
                "verdict": entry["verdict"],
            }
        )
    notes = [
        "Differences are in points of accuracy on VL-RewardBench unless said otherwise; 95 % intervals.",
        f"A bound of 0 asks for the sign alone. ±{slight_drop():.2f}, ±{minor_drop():.2f} and "
        f"{-minor_judge_drop():.2f} are drops that the paper itself calls slight or minor (Tables 10, 6 and "
        "13), between means of the printed groups, as overall accuracies of Tables 6 and 10 follow by "
        "different rules; the other bounds are ours.",
        "Undecided: the interval has both. Not testable: nothing to compare, which the note explains.",
        "A claim about a 7B model is checked on this profile's model: it can hold or fail for other reasons.",
    ]
    return titled(pd.DataFrame(rows), f"Claims of the paper, profile {profile}.", notes)
