"""What cheaper tournaments save, and how well they agree with the one of the paper (C.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from r1reward.report.cells import NOT_RUN, interval_cells, join_tables, run_cells
from r1reward.report.records import Records
from r1reward.report.scores import bootstrap
from r1reward.report.tables import titled

_TITLES = {"all": "all meet all (paper)", "random": "random opponents", "swiss": "Swiss"}
# With fewer different answers some of the cheaper tournaments would be the full one.
FEWEST_DIFFERENT = 6
Line = Mapping[str, Any]
Kind = tuple[str, int]


def tournaments_table(records: Records) -> pd.DataFrame:
    """Cost and agreement of each tournament: comparisons a prompt, Kendall's tau, same best answer.

    The last row is chance: all answers equal.
    """
    seeds = records.tournaments()
    runs = [run for run in map(_by_tournament, seeds) if run]
    rows = [_row(records, kind, [run[kind] for run in runs]) for kind in (runs[0] if runs else ())]
    if runs:
        rows.append(_row(records, ("none", 0), [_nothing_asked(run["all", 1]) for run in runs]))
    else:
        why = "no prompt with six different answers" if seeds else NOT_RUN
        rows.append({"tournament": _TITLES["all"], "comparisons": why, "source": NOT_RUN})
    frame = join_tables(pd.DataFrame(), rows, intervals=["tau", "same_best"])
    return titled(frame, "extra_tournaments", records=records)


def _by_tournament(lines: Sequence[Line]) -> dict[Kind, list[tuple[Line, Line]]]:
    """Each line with that of the full tournament about the same prompt, by pairing and rounds."""
    asked = FEWEST_DIFFERENT * (FEWEST_DIFFERENT - 1)
    full = {
        line["question"]: line for line in lines if line["pairing"] == "all" and line["comparisons"] >= asked
    }
    found: dict[Kind, list[tuple[Line, Line]]] = {}
    for line in (line for line in lines if line["question"] in full):
        found.setdefault((line["pairing"], line["rounds"]), []).append((line, full[line["question"]]))
    return found


def _nothing_asked(pairs: Sequence[tuple[Line, Line]]) -> list[tuple[Line, Line]]:
    return [({"comparisons": 0, "scores": [0.0] * len(full["scores"])}, full) for _, full in pairs]


def _row(records: Records, kind: Kind, seeds: Sequence[Sequence[tuple[Line, Line]]]) -> dict[str, str]:
    pairing, rounds = kind
    prompts = min(map(len, seeds))
    pairs = [seed[:prompts] for seed in seeds]
    cost, full_cost = (np.mean([pair[of]["comparisons"] for seed in pairs for pair in seed]) for of in (0, 1))
    row = {
        "tournament": _TITLES.get(pairing, "none (chance)"),
        "rounds": str(rounds),
        "comparisons": f"{cost:.1f}",
        "share_of_full": f"{100 * cost / full_cost:.0f}",
    }
    for name, agreement in (("tau", _tau), ("same_best", _same_best)):
        values = [[agreement(one["scores"], full["scores"]) for one, full in seed] for seed in pairs]
        row |= interval_cells(name, bootstrap(np.array(values)))
    return row | run_cells(records, (len(seeds), prompts))


def _tau(scores: Sequence[float], full: Sequence[float]) -> float:
    found: Any = kendalltau(scores, full)
    return 0.0 if np.isnan(found.statistic) else float(found.statistic)


def _same_best(scores: Sequence[float], full: Sequence[float]) -> float:
    best = np.isclose(scores, max(scores))
    return float(np.isclose(full, max(full))[best].mean())
