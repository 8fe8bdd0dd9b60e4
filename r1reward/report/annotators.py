"""Table 10: what the cold start loses with a weaker annotator, and with other ways of asking it (C.8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.report import tables
from r1reward.report.paper import PAPER_FOLDER, paper_table
from r1reward.report.records import Records

ARMS = {
    "strong": "strong",
    "weak": "weak",
    "weak_sampled": "weak, every attempt at temperature 1",
    "weak_reworded": "weak, asked in other words",
}
_COMPARISONS = (("strong", "weak"), ("weak", "weak_sampled"), ("weak", "weak_reworded"))
_COLUMNS = {**{group: group for group in GROUP_COUNTS[VL]}, "overall_acc": "overall"}
_NOTE = (
    "Every annotator of this run was asked about the same pairs; only right answers were kept, and the base "
    "model learnt from them with the same settings. These are fewer pairs than the cold start of Table 3 "
    "learns from, which is why the strong annotator's row is lower here."
)
_ONCE_NOTE = "Right at once: share of the pairs whose first answer was right."
_WEAK_NOTE = (
    "The weak annotator is a real model: the base model cut down by its last decoder layers (by one in the "
    "profile mini), after a short lesson on other pairs. Its lesson was scripted, so its rows have a dagger "
    "as well."
)


def table_10(records: Records, *, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """Table 10: the annotator of the cold start; VL-RewardBench, greedy."""
    printed = paper_table(10, folder=paper).assign(source="paper")
    printed.insert(2, "right_at_once", "")
    printed.insert(3, "examples", "")
    rows = [_row(records, arm, title) for arm, title in ARMS.items()]
    notes = [
        _NOTE,
        _ONCE_NOTE,
        _WEAK_NOTE,
        tables.WORLD_NOTE,
        tables.interval_note(records),
        *tables.left_out_notes(records),
        tables.DAGGER_NOTE,
    ]
    caption = "Table 10. Annotator of the cold start, VL-RewardBench, accuracy in percent, greedy."
    return tables.titled(tables.join_tables(printed, rows, intervals=list(_COLUMNS)), caption, notes)


def annotator_differences(records: Records) -> pd.DataFrame:
    """Paired differences between the cold starts of Table 10, in percentage points."""
    rows = [
        {"annotator": _marked(records, b), "minus": _marked(records, a)}
        | tables.difference_cells(records, model_of(a), model_of(b), mode="greedy")
        for a, b in _COMPARISONS
    ]
    caption = "Paired differences between annotators, VL-RewardBench, greedy."
    return tables.titled(
        tables.join_tables(pd.DataFrame(), rows, intervals=("difference",)),
        caption,
        [_NOTE, tables.DAGGER_NOTE],
    )


def _marked(records: Records, arm: str) -> str:
    return ARMS[arm] + (tables.DAGGER if records.scripted(model_of(arm)) else "")


def model_of(arm: str) -> str:
    """The name under which an arm's cold start is benchmarked."""
    return f"annotator_{arm}"


def _row(records: Records, arm: str, title: str) -> dict[str, str]:
    found = records.annotator(arm)
    row = {"data": f"subset ({records.profile})"}
    row |= tables.score_cells(records, model_of(arm), mode="greedy", columns=_COLUMNS)
    if found is None:
        return row | {"annotator": title}
    by = found["annotator"].iloc[0]
    row["annotator"] = f"{title} ({by})" + (tables.DAGGER if records.scripted(model_of(arm)) else "")
    row["right_at_once"] = f"{100 * found['first_attempt_accuracy'].mean():.2f}"
    row["examples"] = f"{round(float(np.mean(found['examples']))):,}"
    return row
