"""Table 11: a policy before and after R1-Reward trained it, and the tournaments that reward it (C.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau

from r1reward.benchmarks import DOWNSTREAM_COLUMNS, units_of
from r1reward.report.layout import (
    DAGGER,
    NOT_RUN,
    interval_cells,
    join_tables,
    not_run,
    run_cells,
    share_cells,
)
from r1reward.report.paper import paper_difference, paper_table
from r1reward.report.records import MODES, Records
from r1reward.report.tables import titled
from r1reward.stats import Interval, mean_interval, paired_interval

# Records of the policy before and after, by how it answered.
POLICIES = {"greedy": ("start", "trained"), "sampled": ("start_sampled", "trained_sampled")}
# Measured rows of Table 11: the records' name, what it shows, and how it answered.
_ROWS = [
    (policy, title, MODES[mode])
    for mode, policies in POLICIES.items()
    for policy, title in zip(policies, ("Policy before", f"Policy trained by R1-Reward{DAGGER}"), strict=True)
]
SCRIPTED = " ◐"
MATH_VISTA = "mathvista"
_MEANS = {"measured": "mean of the columns without a script", "mean": "mean of the ten columns"}


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Points (S, U) of the units of a column for the seeds of a policy.

    `groups` (U,) names the units that depend on each other, which count as one item: the questions about the
    figures of a set of HallusionBench, else each unit by itself. `scripted`: a script gave the points.
    """

    seeds: tuple[int, ...]
    values: NDArray[np.float64]
    groups: NDArray[np.str_]
    scripted: bool

    def of_seeds(self, seeds: Sequence[int]) -> Column:
        """The same for some of the seeds."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return Column(tuple(seeds), self.values[rows], self.groups, self.scripted)


def read_columns(records: Records, policy: str) -> dict[str, Column]:
    """The columns of a policy in the order of Table 11; those without records are left out.

    Seeds that did not answer the same questions are a ValueError.
    """
    runs = records.downstream(policy)
    units = {seed: units_of(lines) for seed, lines in runs.items()}
    groups, scripted = _about_units(runs)
    read = {}
    for name in DOWNSTREAM_COLUMNS:
        points = {seed: columns[name] for seed, columns in units.items() if name in columns}
        if not points:
            continue
        order = sorted(next(iter(points.values())))
        if any(sorted(one) != order for one in points.values()):
            raise ValueError(f"{policy}, {name}: the seeds did not answer the same questions")
        values = np.array([[one[unit] for unit in order] for one in points.values()])
        names = np.array([groups[name, unit] for unit in order])
        read[name] = Column(tuple(points), values, names, name in scripted)
    return read


def _about_units(
    runs: Mapping[int, Sequence[Mapping[str, Any]]],
) -> tuple[dict[tuple[str, str], str], set[str]]:
    """The group of each unit by column and unit, and the columns that a script scored."""
    groups, scripted = dict[tuple[str, str], str](), set[str]()
    for line in (line for lines in runs.values() for line in lines):
        for column, unit in line["units"].items():
            groups[column, unit] = line.get("group") or f"{column} {unit}"
            if line.get("scripted"):
                scripted.add(column)
    return groups, scripted


def linearised(columns: Sequence[Column]) -> NDArray[np.float64]:
    """Values (S, G) of the groups whose plain mean is the mean of the columns' means.

    Linearisation of a mean of ratios, as in `scoring.macro_values`: a group counts by the deviations of
    its units from the means of their columns.
    """
    names = np.unique(np.concatenate([column.groups for column in columns]))
    total = float(np.mean([column.values.mean() for column in columns]))
    values = np.full((len(names), len(columns[0].seeds)), total)
    for column in columns:
        weight = len(names) / (len(columns) * column.values.shape[1])
        deviations = weight * (column.values - column.values.mean())
        np.add.at(values, np.searchsorted(names, column.groups), deviations.T)
    return values.T


def differences(records: Records, *, mode: str = "greedy", confidence: float = 0.95) -> dict[str, Interval]:
    """Paired difference of each column, trained minus start, over the seeds that both have.

    Under "measured" and "mean" that of the mean of the columns that no script scored, and of all ten, where
    all ten are there. Policies that did not answer the same questions are a ValueError.
    """
    start, trained = (read_columns(records, policy) for policy in POLICIES[mode])
    pairs = {}
    for name in (name for name in start if name in trained):
        seeds = [seed for seed in start[name].seeds if seed in trained[name].seeds]
        if seeds:
            pairs[name] = (start[name].of_seeds(seeds), trained[name].of_seeds(seeds))
            if not np.array_equal(*(column.groups for column in pairs[name])):
                raise ValueError(f"{name}: the two policies did not answer the same questions")
    chosen = {name: [pair] for name, pair in pairs.items()}
    if len(pairs) == len(DOWNSTREAM_COLUMNS):
        chosen["measured"] = [pair for pair in pairs.values() if not pair[1].scripted]
        chosen["mean"] = list(pairs.values())
    return {name: _difference(some, confidence) for name, some in chosen.items() if some}


def paper_gains() -> dict[str, float]:
    """The paper's gain in each column of its Table 11, in points."""
    of, minus = {"model": "Ours"}, {"model": "Qwen-2.5-VL-3B"}
    return {name: paper_difference(11, of, minus, columns=[name]) for name in DOWNSTREAM_COLUMNS}


def _difference(pairs: Sequence[tuple[Column, Column]], confidence: float) -> Interval:
    start, trained = (linearised(columns) for columns in zip(*pairs, strict=True))
    return paired_interval(start, trained, confidence=confidence)


def table_11(records: Records) -> pd.DataFrame:
    """Table 11: the policy before and after, all ten columns."""
    printed = paper_table(11).assign(source="paper")
    printed[MATH_VISTA] = "not printed"
    printed.insert(1, "decoding", "")
    rows = [_row(records, policy, title) | {"decoding": decoding} for policy, title, decoding in _ROWS]
    frame = join_tables(printed, rows, intervals=list(DOWNSTREAM_COLUMNS))
    return titled(frame, "table_11", records=records, values={"left_out": _left_out(records)})


def _left_out(records: Records) -> str:
    """What faulty rows of the benchmarks' files are missing, by the columns they would count in."""
    lines = [line for policy, *_ in _ROWS for run in records.downstream(policy).values() for line in run]
    notes = {
        (" and ".join(DOWNSTREAM_COLUMNS[name] for name in line["units"]), line["left_out"])
        for line in lines
        if "left_out" in line
    }
    return "\n".join(f"{columns}: {said}." for columns, said in sorted(notes))


def row_titles() -> dict[str, str]:
    """What the measured rows of Table 11 show, by the name of their records."""
    return {policy: f"{title}, {decoding}" for policy, title, decoding in _ROWS}


def _row(records: Records, policy: str, title: str) -> dict[str, str]:
    columns = read_columns(records, policy)
    row = {"model": title, MATH_VISTA: NOT_RUN}
    if not columns:
        return row | not_run(records, *DOWNSTREAM_COLUMNS)
    for name in DOWNSTREAM_COLUMNS:
        interval = mean_interval(linearised([columns[name]])) if name in columns else None
        row |= interval_cells(name, interval)
        if name in columns and columns[name].scripted:
            row[name] += SCRIPTED
    seeds, units = len(next(iter(columns.values())).seeds), sum(c.values.shape[1] for c in columns.values())
    return row | run_cells(records, (seeds, units))


def downstream_differences(records: Records) -> pd.DataFrame:
    """What training changed in each column, beside what it changed in the paper; percentage points."""
    gains_by_mode = {mode: differences(records, mode=mode) for mode in POLICIES}
    columns = {**read_columns(records, "trained_sampled"), **read_columns(records, "trained")}
    scripted = {name for name, column in columns.items() if column.scripted}
    gains = paper_gains()
    gains["measured"] = float(np.mean([gain for name, gain in gains.items() if name not in scripted]))
    gains["mean"] = float(np.mean([gains[name] for name in DOWNSTREAM_COLUMNS]))
    rows = []
    for name, title in {**DOWNSTREAM_COLUMNS, **_MEANS}.items():
        by_script = name in scripted or (name == "mean" and scripted)
        row = {"column": title, "paper": f"{gains[name]:+.2f}", "profile": records.profile}
        row |= {
            "source": ("scripted" if by_script else "measured")
            if name in gains_by_mode["greedy"]
            else NOT_RUN
        }
        for mode, gained in gains_by_mode.items():
            row |= interval_cells(mode, gained.get(name))
        rows.append(row)
    return titled(
        join_tables(pd.DataFrame(), rows, intervals=[*POLICIES]), "extra_downstream", records=records
    )


_PAIRINGS = {"all": "all meet all (paper)", "random": "random opponents", "swiss": "Swiss"}
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
    rows = [_tournament_row(records, kind, [run[kind] for run in runs]) for kind in (runs[0] if runs else ())]
    if runs:
        rows.append(_tournament_row(records, ("none", 0), [_nothing_asked(run["all", 1]) for run in runs]))
    else:
        why = "no prompt with six different answers" if seeds else NOT_RUN
        rows.append({"tournament": _PAIRINGS["all"], "comparisons": why, "source": NOT_RUN})
    frame = join_tables(pd.DataFrame(), rows, intervals=["tau", "same_best"])
    return titled(frame, "extra_tournaments", records=records)


def _by_tournament(lines: Sequence[Line]) -> dict[Kind, list[tuple[Line, Line]]]:
    """Each line with that of the full tournament about the same prompt, by pairing and rounds."""
    asked = FEWEST_DIFFERENT * (FEWEST_DIFFERENT - 1)
    full = {
        line["question"]: line for line in lines if line["pairing"] == "all" and line["comparisons"] >= asked
    }
    pairs: dict[Kind, list[tuple[Line, Line]]] = {}
    for line in (line for line in lines if line["question"] in full):
        pairs.setdefault((line["pairing"], line["rounds"]), []).append((line, full[line["question"]]))
    return pairs


def _nothing_asked(pairs: Sequence[tuple[Line, Line]]) -> list[tuple[Line, Line]]:
    return [({"comparisons": 0, "scores": [0.0] * len(full["scores"])}, full) for _, full in pairs]


def _tournament_row(
    records: Records, kind: Kind, seeds: Sequence[Sequence[tuple[Line, Line]]]
) -> dict[str, str]:
    pairing, rounds = kind
    prompts = min(map(len, seeds))
    pairs = [seed[:prompts] for seed in seeds]
    cost, full_cost = (np.mean([pair[of]["comparisons"] for seed in pairs for pair in seed]) for of in (0, 1))
    row = {
        "tournament": _PAIRINGS.get(pairing, "none (chance)"),
        "rounds": str(rounds),
        "comparisons": f"{cost:.1f}",
        "share_of_full": f"{100 * cost / full_cost:.0f}",
    }
    for name, agreement, lowest in (("tau", _tau, -1.0), ("same_best", _same_best, 0.0)):
        values = [[agreement(one["scores"], full["scores"]) for one, full in seed] for seed in pairs]
        # The full tournament agrees with itself, and a tau with equal scores is 0: nothing is estimated.
        by_rule = pairing == "all" or (name == "tau" and pairing == "none")
        row |= (
            share_cells(name, float(np.mean(values)), None)
            if by_rule
            else interval_cells(name, mean_interval(values, within=(lowest, 1.0)))
        )
    return row | run_cells(records, (len(seeds), prompts))


def _tau(scores: Sequence[float], full: Sequence[float]) -> float:
    tau: Any = kendalltau(scores, full)
    return 0.0 if np.isnan(tau.statistic) else float(tau.statistic)


def _same_best(scores: Sequence[float], full: Sequence[float]) -> float:
    best = np.isclose(scores, max(scores))
    return float(np.isclose(full, max(full))[best].mean())
