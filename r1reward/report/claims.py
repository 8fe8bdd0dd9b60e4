"""The claims ledger: sentences of the paper, what was measured about each, and whether it holds at this size.

The sentences stand in `claims.toml`; a verdict is computed, never typed. A claim is about a quantity with an
interval (over seeds and pairs, see `stats`, unless said otherwise). An interval wholly on the claimed side of
the bound: *holds*; wholly on the other side: *does not hold*; else *undecided*. Without records: *not run*.
Where there is nothing to compare, as with a variant that is identical to its reference by construction: *not
testable*. A number that the paper prints may be the `centre` from which the bound is measured, or stand
beside ours.
"""

from __future__ import annotations

import inspect
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any, Literal, get_args

import pandas as pd

from r1reward.report.layout import NOT_RUN
from r1reward.report.measures import MEASURES, Measured
from r1reward.report.paper import paper_difference
from r1reward.report.records import Records
from r1reward.stats import Interval

Direction = Literal["above", "below", "within"]
Verdict = Literal["holds", "does not hold", "undecided", "not testable", "not run"]
LATER_NOTE = "this check was added when the result was known"


@dataclass(frozen=True, slots=True)
class Claim:
    """One checkable sentence. `measure` returns None without records.

    `bound` has the quantity's unit and is measured from `centre`. `printed` is the paper's own number for the
    quantity, where it prints one, and `note` what a reader has to know of the claim itself. `rests_on` names
    the table or figure that shows the records it is checked on.
    """

    name: str
    section: str
    quote: str
    statistic: str
    direction: Direction
    measure: Callable[[Records], Measured | None]
    rests_on: str = ""
    bound: float = 0.0
    centre: float = 0.0
    printed: float | None = None
    note: str = ""

    @property
    def claimed(self) -> str:
        """For example "above 0.5" or "within ±5 of 35"."""
        sign = "±" if self.direction == "within" else ""
        return f"{self.direction} {sign}{self.bound:g}" + (f" of {self.centre:g}" if self.centre else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: the 95 % interval from `low` to `high`, and the `printed` number of the paper.

    `detectable` says how far beyond the bound the truth must lie to be found with 80 % power.
    """

    name: str
    section: str
    quote: str
    statistic: str
    direction: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    printed: float | None = None
    seeds: int = 0
    rests_on: str = ""
    verdict: Verdict = "not run"
    note: str = ""


@cache
def read_claims() -> tuple[Claim, ...]:
    """The claims of `claims.toml`, in its order."""
    return parse_claims(_text())


def parse_claims(text: str) -> tuple[Claim, ...]:
    """The claims of a TOML text; a fault of one is a ValueError that names it.

    A fault is an unknown measure, argument, direction or key, and a row that the paper's table does not have.
    """
    content = tomllib.loads(text)
    differences, claims = _differences(content), []
    for row in content["claim"]:
        try:
            claims.append(_claim(row, differences))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing or unknown" if isinstance(error, KeyError) else error
            raise ValueError(f"claims.toml, claim {row.get('name', '?')}: {reason}") from error
    return tuple(claims)


@cache
def named_differences() -> dict[str, float]:
    """The named differences between rows of the paper's tables, in points."""
    return _differences(tomllib.loads(_text()))


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
    entry = Entry(
        claim.name,
        claim.section,
        claim.quote,
        claim.statistic,
        claim.claimed,
        printed=claim.printed,
        rests_on=claim.rests_on,
    )
    measured = claim.measure(records)
    if measured is None:
        return entry
    notes, interval = [measured.note, claim.note], measured.interval
    if interval is None:
        note = "; ".join(filter(None, notes))
        return replace(entry, seeds=measured.seeds, verdict="not testable", note=note)
    if claim.printed is not None and not interval.low <= claim.printed <= interval.high:
        notes.append("the paper's number lies outside")
    numbers = (interval.estimate, interval.low, interval.high)
    return replace(
        entry,
        **{name: round(x, 6) for name, x in zip(("measured", "low", "high"), numbers, strict=True)},
        detectable=None if interval.detectable is None else round(interval.detectable, 6),
        seeds=measured.seeds,
        verdict=judge_interval(Interval(*(x - claim.centre for x in numbers)), claim.direction, claim.bound),
        note="; ".join(filter(None, notes)),
    )


def ledger(records: Records, claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """The entries of claims as JSON objects."""
    return [asdict(check(claim, records)) for claim in claims]


def claim_cells(entry: Mapping[str, Any]) -> dict[str, str]:
    """An entry of a ledger as a row of the table of claims; the quote is the paper's."""
    measured = "" if entry["measured"] is None else f"{entry['measured']:.2f}"
    bounds = "" if entry["low"] is None else f" [{entry['low']:.2f}, {entry['high']:.2f}]"
    sign = "" if entry["section"][:3] in ("Abs", "Fig") else "§"
    return {
        "claim": f"{sign}{entry['section']}: “{entry['quote']}”",
        "statistic": f"{entry['statistic']}; claimed {entry['direction']}",
        "paper": "" if entry["printed"] is None else f"{entry['printed']:.2f}",
        "measured": "; ".join(filter(None, (measured + bounds, entry["note"]))) or NOT_RUN,
        "detectable": "" if entry["detectable"] is None else f"{entry['detectable']:.2f}",
        "seeds": str(entry["seeds"] or ""),
        "verdict": entry["verdict"],
    }


def claims_table(entries: Sequence[Mapping[str, Any]], *, profile: str) -> pd.DataFrame:
    """Entries of a ledger as a table; the quotes are the paper's, everything else is this run's."""
    about = tomllib.loads(_text())["table"]
    frame = pd.DataFrame(map(claim_cells, entries)).astype(str)
    notes = [note.format(**named_differences(), shared=_shared()) for note in about["notes"]]
    frame.attrs = {"caption": about["caption"].format(profile=profile), "notes": notes}
    return frame


def _shared() -> str:
    """For example "9 on Table 5, 4 on Table 10": how many claims rest on a table that several rest on."""
    counts = Counter(claim.rests_on for claim in read_claims())
    return ", ".join(f"{count} on {name}" for name, count in counts.most_common() if count > 1)


def _text() -> str:
    return files("r1reward.report").joinpath("claims.toml").read_text(encoding="utf-8")


def _differences(content: Mapping[str, Any]) -> dict[str, float]:
    return {name: _difference(about) for name, about in content["differences"].items()}


def _difference(about: Mapping[str, Any]) -> float:
    columns = about.get("columns", ("overall_acc",))
    return paper_difference(about["table"], about["of"], about["minus"], columns=columns)


def _claim(row: Mapping[str, Any], differences: Mapping[str, float]) -> Claim:
    given = dict(row)
    measure, arguments = MEASURES[given.pop("measure")], given.pop("arguments", {})
    inspect.signature(measure).bind(None, **arguments)
    if given["direction"] not in get_args(Direction):
        raise ValueError(f"no claim can have the direction {given['direction']}")
    notes = [given.pop("note", ""), LATER_NOTE if given.pop("later", False) else ""]
    bound = round(_number(given.pop("bound", 0.0), differences), 2)
    printed = round(_number(given.pop("printed"), differences), 6) if "printed" in given else None
    note = "; ".join(filter(None, notes))
    if "rests_on" not in given:
        raise KeyError("rests_on")
    return Claim(**given, measure=partial(measure, **arguments), bound=bound, printed=printed, note=note)


def _number(given: Any, differences: Mapping[str, float]) -> float:
    """A number, the name of a difference with or without a minus, or a difference itself."""
    if isinstance(given, str):
        return (-1 if given.startswith("-") else 1) * differences[given.removeprefix("-")]
    return _difference(given) if isinstance(given, Mapping) else float(given)
