"""Cells of tables: text that says what was measured, how surely, and on what.

Every row says where it comes from: `source` is `paper`, `measured` or `scripted`; a measured row names its
profile, seeds and number of items, and `…_low`/`…_high` hold its 95 % interval. A row without a record says
"not run". A † marks a model with scripted inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from r1reward.report.records import HEAD_NAMES, MODEL_NAMES, VARIANT_NAMES, Records
from r1reward.stats import Interval

NOT_RUN = "not run"
DAGGER = "†"
SHORT_DAGGER_NOTE = f"{DAGGER} something in the training was scripted."
_SOURCE_COLUMNS = ("source", "profile", "seeds", "n")
_ENDS = ("", "_low", "_high")


def display_name(records: Records, model: str, *, fallback: str = "") -> str:
    """A model's name in tables and figures, with a dagger if a script stands behind its training."""
    name = fallback or (MODEL_NAMES | HEAD_NAMES | VARIANT_NAMES)[model]
    return name + DAGGER if records.scripted(model) else name


def percent(share: float | None) -> str:
    """A share as percent with two decimals; nothing for None and NaN."""
    return "" if share is None or share != share else f"{100 * share + 0.0:.2f}"


def interval_cells(column: str, interval: Interval | None) -> dict[str, str]:
    """A share in percent with the bounds of its interval, or "not run"."""
    if interval is None:
        return {column: NOT_RUN}
    numbers = (interval.estimate, interval.low, interval.high)
    return {column + end: percent(number) for end, number in zip(_ENDS, numbers, strict=True)}


def run_cells(records: Records, shape: Sequence[int]) -> dict[str, str]:
    """Whose numbers a measured row has: profile, and seeds and items by the `shape` (S, N) of its values."""
    return {"source": "measured", "profile": records.profile, "seeds": str(shape[0]), "n": str(shape[1])}


def not_run(records: Records, *columns: str) -> dict[str, str]:
    """The cells of a row without records, which says so in some columns."""
    return dict.fromkeys(columns, NOT_RUN) | {"source": NOT_RUN, "profile": records.profile}


def join_tables(
    printed: pd.DataFrame, rows: Sequence[dict[str, str]], *, intervals: Sequence[str] = ()
) -> pd.DataFrame:
    """The printed rows, then ours; a column of `intervals` is followed by its bounds."""
    columns = list(_columns(printed, rows, intervals))
    everything: list[dict[Any, str]] = [*printed.to_dict("records"), *rows]
    return pd.DataFrame(
        [{name: row.get(name, "") for name in columns} for row in everything], columns=columns
    )


def _columns(
    printed: pd.DataFrame, rows: Sequence[dict[str, str]], intervals: Sequence[str]
) -> Iterator[str]:
    known = list(dict.fromkeys([*printed.columns, *(key for row in rows for key in row)]))
    for column in known:
        if column in intervals:
            yield from (column + end for end in _ENDS)
        elif column not in _SOURCE_COLUMNS and not column.endswith(("_low", "_high")):
            yield column
    yield from (column for column in _SOURCE_COLUMNS if column in known or intervals)
