"""Rows one by one: a faulty row costs itself, is counted by its reason and named in a warning."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from r1reward.files import RefusedRow, Row

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
SHOWN_REASON = 80


@dataclass(frozen=True, slots=True)
class Sifted(Generic[T]):
    """What was made of the sound rows, in their order, and how many rows were left out for which reason."""

    kept: list[T]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The rows left out in words, such as "2 of 9 rows left out: not JSON 2"; empty if there are none."""
        if not self.left_out:
            return ""
        lost = sum(self.left_out.values())
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.left_out.items()))
        return f"{lost:,} of {lost + len(self.kept):,} rows left out: {reasons}"


def sift(rows: Iterable[Row], parse: Callable[[int, dict[str, Any], str], T]) -> Sifted[T]:
    """What `parse(number, row, origin)` makes of each row, numbered from 0 with the faulty ones.

    A row that is refused, or of which `parse` raises a ValueError, is left out with a warning. Raises the
    fault where all rows have one, and that of a file whose rows nobody can count.
    """
    kept: list[T] = []
    faults: list[RefusedRow] = []
    number = 0
    for origin, row in rows:
        here = number
        number += row.rows if isinstance(row, RefusedRow) else 1
        try:
            if isinstance(row, RefusedRow):
                raise row
            kept.append(parse(here, row, origin))
        except ValueError as error:
            fault = error if isinstance(error, RefusedRow) else _named(origin, str(error))
            if not fault.rows:
                raise fault from error
            faults.append(fault)
    return Sifted(kept, _counted(faults, number, nothing_left=not kept))


def _named(origin: str, message: str) -> RefusedRow:
    return RefusedRow(origin, message.partition(": ")[0], message)


def _counted(faults: list[RefusedRow], total: int, *, nothing_left: bool) -> dict[str, int]:
    if not faults:
        return {}
    lost = sum(fault.rows for fault in faults)
    if nothing_left:
        raise ValueError(f"all {lost} rows are faulty, the first: {faults[0]}")
    _LOG.warning("%d of %d rows are faulty and left out, the first: %s", lost, total, faults[0])
    reasons: Counter[str] = Counter()
    for fault in faults:
        reasons[fault.reason[:SHOWN_REASON]] += fault.rows
    return dict(reasons)
