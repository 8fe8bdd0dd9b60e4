"""What cheaper tournaments save, and how well they agree with the one of the paper (C.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from r1reward.report.records import Records
from r1reward.report.scores import bootstrap
from r1reward.report.tables import NOT_RUN, interval_cells, join_tables, run_cells, titled

_TITLES = {"all": "all meet all (paper)", "random": "random opponents", "swiss": "Swiss"}
_NOTES = (
    "Answers to a prompt, sampled from the policy before training and judged by R1-Reward; those that meet "
    "are judged in both orders, equal ones not at all. Prompts where the full tournament's scores are all "
    "equal are left out.",
    "Tau: Kendall's tau-b, times 100, of the scores with the full tournament's, averaged over prompts; 0 "
    "where the cheaper one's are all equal. Same best: how often what the cheaper tournament puts first is "
    "first in the full one, ties shared. 95 % bootstrap interval over seeds, then prompts.",
)
Line = Mapping[str, Any]


def tournaments_table(records: Records) -> pd.DataFrame:
    """Cost and agreement of each tournament: comparisons a prompt, Kendall's tau, same best answer."""
    runs = [_by_tournament(lines) for lines in records.tournaments()]
    rows = [_row(records, kind, [run[kind] for run in runs]) for kind in (runs[0] if runs else [])]
    rows = rows or [{"tournament": _TITLES["all"], "comparisons": NOT_RUN, "source": NOT_RUN}]
    caption = "Cheaper tournaments beside the full one: what they ask and how well they agree."
    return titled(join_tables(pd.DataFrame(), rows, intervals=["tau", "same_best"]), caption, _NOTES)


def _by_tournament(lines: Sequence[Line]) -> dict[tuple[str, int], list[tuple[Line, Line]]]:
    """Each line with that of the full tournament about the same prompt, by pairing and rounds."""
    full = {line["question"]: line for line in lines if line["pairing"] == "all" and _tells_apart(line)}
    found: dict[tuple[str, int], list[tuple[Line, Line]]] = {}
    for line in (line for line in lines if line["question"] in full):
        found.setdefault((line["pairing"], line["rounds"]), []).append((line, full[line["question"]]))
    return found


def _row(
    records: Records, kind: tuple[str, int], seeds: Sequence[Sequence[tuple[Line, Line]]]
) -> dict[str, str]:
    pairing, rounds = kind
    prompts = min(map(len, seeds))
    cost, full_cost = (np.mean([pair[of]["comparisons"] for seed in seeds for pair in seed]) for of in (0, 1))
    row = {
        "tournament": _TITLES[pairing],
        "rounds": str(rounds),
        "comparisons": f"{cost:.1f}",
        "share_of_full": f"{100 * cost / full_cost:.0f}",
    }
    for name, agreement in (("tau", _tau), ("same_best", _same_best)):
        values = [
            [agreement(one["scores"], full["scores"]) for one, full in seed[:prompts]] for seed in seeds
        ]
        row |= interval_cells(name, bootstrap(np.array(values)))
    return row | {"source": "measured"} | run_cells(records, len(seeds), prompts)


def _tells_apart(line: Line) -> bool:
    return max(line["scores"]) - min(line["scores"]) > 1e-6


def _tau(scores: Sequence[float], full: Sequence[float]) -> float:
    found: Any = kendalltau(scores, full)
    return 0.0 if np.isnan(found.statistic) else float(found.statistic)


def _same_best(scores: Sequence[float], full: Sequence[float]) -> float:
    best = np.isclose(scores, max(scores))
    return float(np.isclose(full, max(full))[best].mean())
