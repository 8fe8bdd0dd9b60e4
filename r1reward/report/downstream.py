"""Table 11: a policy before and after R1-Reward trained it, on the downstream benchmarks (C.9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from r1reward.benchmarks import DOWNSTREAM_COLUMNS
from r1reward.report.downstream_scores import POLICIES, differences, paper_gains, read_columns, resampled
from r1reward.report.figures import draw_curve
from r1reward.report.paper import PAPER_FOLDER, paper_table
from r1reward.report.records import MODES, Records
from r1reward.report.scores import bootstrap
from r1reward.report.style import COLOURS, add_note, new_figure, say_not_run, styled
from r1reward.report.tables import (
    DAGGER,
    NOT_RUN,
    WORLD_NOTE,
    interval_cells,
    join_tables,
    titled,
)
from r1reward.stats import Interval

# Measured rows of Table 11: the records' name, what it shows, and how it answered.
_ROWS = [
    (policy, title, MODES[mode])
    for mode, policies in POLICIES.items()
    for policy, title in zip(policies, ("Policy before", f"Policy trained by R1-Reward{DAGGER}"), strict=True)
]
SCRIPTED = " ◐"
_MEANS = {"measured": "mean of the columns without a script", "mean": "mean of the ten columns"}
MATH_VISTA = "mathvista"
_OPEN_NOTE = (
    f"{SCRIPTED.strip()} Scored by a scripted judge, which knows the mini world's truth. LLaVA-Wild is "
    "relative to the reference answers; WildVision is the share of wins over another model's answers, in the "
    "mini world wrong half of the time."
)
_UNIT_NOTE = (
    "A figure or question of HallusionBench counts if all its rows are right, a question of MMBench if every "
    "rotation is; sampled answers are several a row, and a unit is worth its mean over them. 95 % bootstrap "
    "interval over seeds, then units, sets of HallusionBench as a whole."
)
_MATH_NOTE = "MathVista is named in the text of C.9 and not printed in the table; it was not run here."
_DAGGER_NOTE = (
    f"{DAGGER} R1-Reward's own training has scripted inputs, and with it this policy's reward. No reward "
    "sees a reference, but downstream.right_answers, set in mini, chooses prompts by how many of eight "
    "answers of the start are the reference's."
)


def table_11(records: Records, *, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """Table 11: the policy before and after, all ten columns."""
    printed = paper_table(11, folder=paper).assign(source="paper")
    printed[MATH_VISTA] = "not printed"
    printed.insert(1, "decoding", "")
    rows = [_row(records, policy, title) | {"decoding": decoding} for policy, title, decoding in _ROWS]
    notes = [_UNIT_NOTE, _OPEN_NOTE, _MATH_NOTE, WORLD_NOTE, *_left_out_notes(records), _DAGGER_NOTE]
    caption = "Table 11. A policy trained with R1-Reward as its only reward, downstream benchmarks, percent."
    return titled(join_tables(printed, rows, intervals=list(DOWNSTREAM_COLUMNS)), caption, notes)


def _left_out_notes(records: Records) -> list[str]:
    """What faulty rows of the benchmarks' files are missing, by the columns they would count in."""
    lines = [line for policy, *_ in _ROWS for run in records.downstream(policy).values() for line in run]
    found = {(" and ".join(line["units"]), line["left_out"]) for line in lines if "left_out" in line}
    return [
        f"{' and '.join(DOWNSTREAM_COLUMNS[name] for name in columns.split(' and '))}: {said}."
        for columns, said in sorted(found)
    ]


def row_titles() -> dict[str, str]:
    """What the measured rows of Table 11 show, by the name of their records."""
    return {policy: f"{title}, {decoding}" for policy, title, decoding in _ROWS}


def _row(records: Records, policy: str, title: str) -> dict[str, str]:
    columns = read_columns(records, policy)
    row = {"model": title, "profile": records.profile, MATH_VISTA: NOT_RUN}
    if not columns:
        return row | {name: NOT_RUN for name in DOWNSTREAM_COLUMNS} | {"source": NOT_RUN}
    for name in DOWNSTREAM_COLUMNS:
        row |= interval_cells(name, bootstrap(resampled([columns[name]])) if name in columns else None)
        if name in columns and columns[name].scripted:
            row[name] += SCRIPTED
    seeds, units = len(next(iter(columns.values())).seeds), sum(c.values.shape[1] for c in columns.values())
    return row | {"source": "measured", "seeds": str(seeds), "n": str(units)}


def downstream_differences(records: Records) -> pd.DataFrame:
    """What training changed in each column, beside what it changed in the paper; percentage points."""
    found = {mode: differences(records, mode=mode) for mode in POLICIES}
    columns = {**read_columns(records, "trained_sampled"), **read_columns(records, "trained")}
    scripted = {name for name, column in columns.items() if column.scripted}
    gains = paper_gains()
    gains["measured"] = float(np.mean([gain for name, gain in gains.items() if name not in scripted]))
    gains["mean"] = float(np.mean([gains[name] for name in DOWNSTREAM_COLUMNS]))
    rows = []
    for name, title in {**DOWNSTREAM_COLUMNS, **_MEANS}.items():
        by_script = name in scripted or (name == "mean" and scripted)
        row = {"column": title, "paper": f"{gains[name]:+.2f}", "profile": records.profile}
        row |= {"source": ("scripted" if by_script else "measured") if name in found["greedy"] else NOT_RUN}
        for mode, gained in found.items():
            row |= interval_cells(mode, gained.get(name))
        rows.append(row)
    caption = "What R1-Reward's training changed, trained policy minus start, percentage points."
    notes = [
        _UNIT_NOTE,
        "The paper prints one run without intervals. Sampled: the mean of several answers at temperature 1.",
        _DAGGER_NOTE.removeprefix(f"{DAGGER} "),
    ]
    return titled(join_tables(pd.DataFrame(), rows, intervals=tuple(found)), caption, notes)


def figure_downstream(records: Records) -> Figure:
    """Gain of each column: the paper's a circle, this run's diamonds with intervals, by decoding."""
    with styled():
        figure = new_figure(7.5, 4.4)
        axes = figure.subplots()
        names = [*DOWNSTREAM_COLUMNS]
        places = np.arange(len(names))[::-1]
        axes.plot(
            [*paper_gains().values()],
            places + 0.25,
            "o",
            mfc="white",
            mec=COLOURS["paper"],
            label="paper",
            ls="none",
        )
        found = {mode: differences(records, mode=mode) for mode in POLICIES}
        for (mode, gained), shift in zip(found.items(), (0.0, 0.25), strict=True):
            for place, name in zip(places, names, strict=True):
                if name in gained:
                    _draw_gain(axes, place - shift, gained[name], mode)
        if not any(found.values()):
            say_not_run(figure.add_axes((0.6, 0.4, 0.2, 0.2)))
        axes.axvline(0, color=COLOURS["quiet"], lw=0.8)
        axes.set_yticks(places, [DOWNSTREAM_COLUMNS[name] for name in names])
        axes.set_xlabel("trained minus start (percentage points)")
        paper = Line2D([], [], marker="o", mfc="white", mec=COLOURS["paper"], ls="none", label="paper, 3B")
        measured = [
            Line2D([], [], label=f"{records.profile}, {MODES[mode]}", **_look(mode))
            for mode, gained in found.items()
            if gained
        ]
        figure.legend(handles=[paper, *measured], loc="outside upper right", ncols=3)
        add_note(
            figure,
            "95 % bootstrap over seeds, then units. A judge scores the last two, a script in the mini world.",
        )
        return figure


def _look(mode: str) -> dict[str, Any]:
    """Greedy answers filled and solid, sampled ones hollow and dashed, as in the figure of comparisons."""
    look = {"color": COLOURS["stable_reinforce"], "marker": "D", "ms": 5, "lw": 1.5}
    return look if mode == "greedy" else look | {"mfc": "white", "ls": (0, (2, 1))}


def _draw_gain(axes: Axes, place: float, gain: Interval, mode: str) -> None:
    points = [100 * number for number in (gain.low, gain.estimate, gain.high)]
    axes.plot(points, [place] * 3, markevery=[1], **_look(mode))


_TRAINING_CURVES = (
    ("(a) Different answers", "distinct_share", "share of eight"),
    ("(b) Length", "response_length", "tokens"),
    ("(c) Answers equal to the reference", "reference_share", "share of answers"),
    ("(d) R1-Reward ranks them higher", "reference_above_share", "share of pairs"),
)


def figure_downstream_training(records: Records) -> Figure:
    """How the answers to a prompt change while the policy learns; the mean over seeds and their range."""
    frame = records.downstream_training()
    with styled():
        figure = new_figure(11.5, 2.9)
        for axes, (title, column, unit) in zip(figure.subplots(1, 4), _TRAINING_CURVES, strict=True):
            axes.set_title(title)
            if frame is None or not draw_curve(axes, frame, "stable_reinforce", (column,)):
                say_not_run(axes)
                continue
            axes.set_xlabel("rollout step")
            axes.set_ylabel(unit)
            if column == "reference_above_share":
                axes.axhline(0.5, color=COLOURS["quiet"], lw=0.8, linestyle=":")
        seeds = 0 if frame is None else frame["seed"].nunique()
        add_note(
            figure,
            f"Measured, profile {records.profile}, {seeds} seeds: mean and range. (d): how often R1-Reward, "
            "which never sees a reference, gives an answer equal to it the higher reward; dotted: chance.",
        )
        return figure
