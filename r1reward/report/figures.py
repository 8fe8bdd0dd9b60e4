"""Accuracies as figures: Figure 1 of the paper, what RL changed, and what a policy gained from R1-Reward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from r1reward.benchmarks import DOWNSTREAM_COLUMNS
from r1reward.report.columns import compare, score
from r1reward.report.downstream import POLICIES, differences, paper_gains
from r1reward.report.layout import SHORT_DAGGER_NOTE, display_name
from r1reward.report.paper import paper_table, paper_values
from r1reward.report.records import MODEL_NAMES, MODES, REFERENCE, Records
from r1reward.report.style import COLOURS, MARKERS, add_note, new_figure, say_not_run, styled
from r1reward.report.tables import read_tables
from r1reward.scoring import behaviour
from r1reward.stats import Interval

_PRINTED_ROWS = ("Best other model", "R1-Reward", "Voting@5", "Voting@15")
_BENCHMARKS = (
    ("VL-RewardBench", "overall accuracy", 3, "overall_acc"),
    ("Multimodal RewardBench", "overall accuracy", 4, "overall"),
    ("MM-RLHF-RewardBench", "Acc", 8, "acc"),
)


def figure_1(records: Records) -> Figure:
    """R1-Reward on three benchmarks: printed numbers (hollow) beside this run's (filled, with intervals)."""
    with styled():
        figure = new_figure(10.5, 4.0)
        panels = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (name, metric, number, column) in zip(panels, _BENCHMARKS, strict=True):
            axes.set_title(name)
            axes.set_xlabel(f"{metric} (%)")
            _draw_printed(axes, _printed_scores(number, column))
            _draw_measured(axes, _measured(records, number, column))
            _arrange_rows(axes)
        panels[0].set_xlim(_lowest(records), 102)
        labels = [f"{row} (paper)" for row in _PRINTED_ROWS]
        labels += [f"{display_name(records, model)}" for model in MODEL_NAMES]
        panels[0].set_yticks(_row_positions(), labels)
        _legend_1(figure)
        add_note(figure, _figure_1_note(records))
        return figure


def figure_comparison(records: Records) -> Figure:
    """Paired differences in accuracy with intervals, and accuracy by the preferred response's position."""
    with styled():
        figure = new_figure(11.5, 4.2)
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        _draw_differences(left, records)
        _draw_positions(right, records)
        note = (
            f"Measured on VL-RewardBench, profile {records.profile}; 95 % intervals over seeds, then pairs. "
            'Says "1": share of its verdicts. '
        )
        note += SHORT_DAGGER_NOTE
        add_note(figure, note)
        return figure


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
        gains = {mode: differences(records, mode=mode) for mode in POLICIES}
        for (mode, gained), shift in zip(gains.items(), (0.0, 0.25), strict=True):
            for place, name in zip(places, names, strict=True):
                if name in gained:
                    _draw_gain(axes, place - shift, gained[name], mode)
        if not any(gains.values()):
            say_not_run(figure.add_axes((0.6, 0.4, 0.2, 0.2)))
        axes.axvline(0, color=COLOURS["quiet"], lw=0.8)
        axes.set_yticks(places, [DOWNSTREAM_COLUMNS[name] for name in names])
        axes.set_xlabel("trained minus start (percentage points)")
        paper = Line2D([], [], marker="o", mfc="white", mec=COLOURS["paper"], ls="none", label="paper, 3B")
        measured = [
            Line2D([], [], label=f"{records.profile}, {MODES[mode]}", **_look(mode))
            for mode, gained in gains.items()
            if gained
        ]
        figure.legend(handles=[paper, *measured], loc="outside upper right", ncols=3)
        add_note(
            figure,
            "95 % over seeds and units. A judge scores the last two, a script in the mini world.",
        )
        return figure


def _row_positions() -> list[float]:
    printed, measured = len(_PRINTED_ROWS), len(MODEL_NAMES)
    return [-float(i) for i in range(printed)] + [-float(printed + i) - 0.6 for i in range(measured)]


def _arrange_rows(axes: Axes) -> None:
    positions = _row_positions()
    axes.set_ylim(positions[-1] - 0.6, 0.6)
    axes.axvline(50, color=COLOURS["quiet"], lw=0.8, linestyle=":")
    axes.axhspan(positions[-1] - 0.6, positions[len(_PRINTED_ROWS)] + 0.8, color="#F3F6F9", zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _lowest(records: Records) -> float:
    """Left end of the accuracy axis: 38, or lower if an interval needs it."""
    shown = [_measured(records, number, column) for *_, number, column in _BENCHMARKS]
    lows = [100 * interval.low - 3 for panel in shown for interval in panel.values() if interval]
    return min([38.0, *lows])


def _printed_scores(number: int, column: str) -> dict[str, tuple[float, str]]:
    """Printed accuracy (percent) of each paper row that has one, and whose it is if not R1-Reward's."""
    table = paper_table(number).to_dict("records")
    others = [(float(row[column]), row["model"].split(" (")[0]) for row in table if row["group"] != "Ours"]
    best = max(others)
    tied = ", tied" if [value for value, _ in others].count(best[0]) > 1 else ""
    rows = {_PRINTED_ROWS[0]: (best[0], best[1] + tied)}
    rows |= {row["model"]: (float(row[column]), "") for row in table if row["group"] == "Ours"}
    if number == 8:
        rows["Voting@5"] = (paper_values()["mm_rlhf_voting_5"].value, "")
    return rows


def _draw_printed(axes: Axes, printed: dict[str, tuple[float, str]]) -> None:
    for position, name in zip(_row_positions(), _PRINTED_ROWS, strict=False):
        if name not in printed:
            _quiet(axes, position, "not printed")
            continue
        value, owner = printed[name]
        colour = COLOURS["paper"] if not owner else COLOURS["quiet"]
        axes.plot(value, position, marker="o", ms=7, mfc="white", mec=colour, mew=1.4, linestyle="none")
        _label(axes, value, position, text=f"{value:g}")
        _label(axes, value, position, text=owner, left=True)


def _measured(records: Records, number: int, column: str) -> dict[str, Interval | None]:
    """What a column of Table 3, 4 or 8 says about each of our models, greedy."""
    table, accuracies = read_tables()[f"table_{number:02d}"], {}
    for model in MODEL_NAMES:
        scores = score(records, model, "greedy", benchmark=table.benchmark)
        accuracies[model] = scores and getattr(scores, table.columns[column])
    return accuracies


def _draw_measured(axes: Axes, measured: dict[str, Interval | None]) -> None:
    positions = _row_positions()[len(_PRINTED_ROWS) :]
    for position, (model, interval) in zip(positions, measured.items(), strict=True):
        if interval is None:
            _quiet(axes, position, "not run yet")
            continue
        low, value, high = (100 * x for x in (interval.low, interval.estimate, interval.high))
        axes.plot([low, high], [position, position], color=COLOURS[model], lw=2.2, solid_capstyle="butt")
        axes.plot(value, position, marker=MARKERS[model], ms=6.5, color=COLOURS[model], linestyle="none")
        _label(axes, low if high > 92 else high, position, text=f"{value:.1f}", left=high > 92)


def _label(axes: Axes, x: float, y: float, *, text: str, left: bool = False) -> None:
    offset = (-7, 0) if left else (7, 0)
    axes.annotate(
        text,
        (x, y),
        offset,
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8,
    )


def _quiet(axes: Axes, position: float, text: str) -> None:
    axes.text(
        70, position, text, ha="center", va="center", fontsize=8, style="italic", color=COLOURS["quiet"]
    )


def _figure_1_note(records: Records) -> str:
    tables = [read_tables()[f"table_{number:02d}"] for *_, number, _ in _BENCHMARKS]
    measured = [score(records, REFERENCE, "greedy", benchmark=table.benchmark) for table in tables]
    sizes = [str(scores.num_pairs) for scores in measured if scores]
    size = f" and {' / '.join(sizes)} pairs" if sizes else ""
    return (
        "Upper block: numbers printed in the paper (7B models, real benchmarks). "
        f"Shaded block: profile {records.profile}, its own model{size}, greedy, both orders; "
        "compare within a block.\nThe base model gives no verdict, which counts as wrong. "
        f"{SHORT_DAGGER_NOTE} "
        "Figure 1's bars are not printed; the numbers are those of Tables 3, 4 and 8 and appendix C.4."
    )


def _legend_1(figure: Figure) -> None:
    hollow = {"marker": "o", "mfc": "white", "linestyle": "none", "mew": 1.4, "ms": 7}
    handles = [
        Line2D([], [], mec=COLOURS["paper"], label="printed in the paper", **hollow),
        Line2D(
            [],
            [],
            color=COLOURS["stable_reinforce"],
            marker="D",
            lw=2.2,
            label="measured here (a marker each model), 95 % interval",
        ),
        Line2D([], [], color=COLOURS["quiet"], lw=0.8, linestyle=":", label="chance"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3)


def _draw_differences(axes: Axes, records: Records) -> None:
    axes.set_title("(a) Paired difference in accuracy, with 95 % interval")
    compared = [(row.minus, row.record) for row in read_tables()["extra_paired_differences"].rows]
    intervals = {(a, b, mode): compare(records, a, b, mode) for a, b in compared for mode in MODES}
    if not any(intervals.values()):
        say_not_run(axes)
        return
    for position, (a, b) in enumerate(compared):
        for mode, shift in zip(MODES, (0.16, -0.16), strict=True):
            interval, y = intervals[a, b, mode], -position + shift
            if interval is None:
                _say_missing(axes, y, f"{MODES[mode]}: not run")
                continue
            filled, line = (COLOURS[b], "-") if mode == "greedy" else ("white", (0, (2, 1)))
            points = [100 * interval.low, 100 * interval.high]
            axes.plot(points, [y, y], color=COLOURS[b], lw=1.8, linestyle=line)
            marker = {"marker": MARKERS[b], "ms": 6, "color": COLOURS[b], "mfc": filled, "linestyle": "none"}
            axes.plot(100 * interval.estimate, y, **marker)
    axes.axvline(0, color="black", lw=1)
    names = [f"{display_name(records, b)}\n\N{MINUS SIGN} {display_name(records, a)}" for a, b in compared]
    axes.set_yticks([-float(i) for i in range(len(names))], names)
    axes.set_ylim(-len(names) - 0.1, 0.6)
    axes.set_xlabel("percentage points")
    axes.grid(visible=False, axis="y")
    look: dict[str, Any] = {"fontsize": 8, "frameon": True, "edgecolor": "none", "framealpha": 1}
    axes.legend(handles=_mode_handles(), loc="lower right", ncols=2, **look)


def _say_missing(axes: Axes, y: float, text: str) -> None:
    look = {"va": "center", "fontsize": 7.5, "style": "italic", "color": COLOURS["quiet"]}
    axes.annotate(text, (0, y), (5, 0), textcoords="offset points", **look)


def _mode_handles() -> list[Line2D]:
    look = {"color": COLOURS["paper"], "marker": "o", "lw": 1.8}
    return [
        Line2D([], [], label=MODES["greedy"], **look),
        Line2D([], [], label=MODES["sampled"], linestyle=(0, (2, 1)), mfc="white", **look),
    ]


def _draw_positions(axes: Axes, records: Records) -> None:
    axes.set_title("(b) Accuracy by position of the better response")
    runs = {model: records.bench(model, "greedy") for model in MODEL_NAMES}
    if not any(runs.values()):
        say_not_run(axes)
        return
    names: list[str] = []
    quiet: dict[str, Any] = {"fontsize": 8, "color": COLOURS["quiet"]}
    for position, (model, run) in enumerate(runs.items()):
        names.append(display_name(records, model))
        shown = None if run is None else behaviour(run)
        if shown is None or math.isnan(shown.answer_one):
            said = "not run" if shown is None else "no verdicts"
            axes.text(75, -position, said, ha="center", va="center", style="italic", **quiet)
            continue
        first, second = 100 * shown.accuracy_first, 100 * shown.accuracy_second
        axes.plot(
            [first, second], [0.17 - position, -0.17 - position], color=COLOURS[model], lw=1.8, zorder=1
        )
        for x, y, number in ((first, 0.17 - position, "1"), (second, -0.17 - position, "2")):
            axes.plot(x, y, marker="o", ms=10, mfc="white", mec=COLOURS[model], mew=1.5)
            axes.annotate(number, (x, y), ha="center", va="center_baseline", fontsize=7)
        text = f"{100 * shown.answer_one:.0f} %"
        axes.annotate(text, (1.01, -position), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.set_yticks([-float(i) for i in range(len(names))], names)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(max(min(low, 45) - 2, -3), min(max(high, 80) + 2, 103))
    axes.annotate('says "1"', (1.01, 0.5), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.axvline(50, color=COLOURS["quiet"], lw=0.8, linestyle=":")
    axes.text(50.5, 0.5 - len(names), "chance", **quiet)
    axes.set_xlabel("accuracy (%) where it is Response 1 or Response 2, greedy")
    axes.grid(visible=False, axis="y")


def _look(mode: str) -> dict[str, Any]:
    """Greedy answers filled and solid, sampled ones hollow and dashed, as in the figure of comparisons."""
    look = {"color": COLOURS["stable_reinforce"], "marker": "D", "ms": 5, "lw": 1.5}
    return look if mode == "greedy" else look | {"mfc": "white", "ls": (0, (2, 1))}


def _draw_gain(axes: Axes, place: float, gain: Interval, mode: str) -> None:
    points = [100 * number for number in (gain.low, gain.estimate, gain.high)]
    axes.plot(points, [place] * 3, markevery=[1], **_look(mode))
