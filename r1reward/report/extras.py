"""What the base model sees, whether training made a difference, and what a policy gained from R1-Reward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from r1reward.benchmarks import DOWNSTREAM_COLUMNS
from r1reward.report.cells import NOT_RUN, SHORT_DAGGER_NOTE, display_name, percent
from r1reward.report.downstream import POLICIES, differences, paper_gains
from r1reward.report.figures import draw_curve
from r1reward.report.records import MODEL_NAMES, MODES, Records
from r1reward.report.scores import compare
from r1reward.report.style import COLOURS, MARKERS, add_note, new_figure, say_not_run, styled
from r1reward.report.tables import read_tables, titled
from r1reward.scoring import behaviour
from r1reward.stats import Interval

_CONFUSED_SKILLS = ("digits", "counts", "attributes")
_SHOW_NUMBERS_UP_TO = 14


def base_model(records: Records) -> pd.DataFrame:
    """Perception of the base model on held-out scenes, one row a skill."""
    rows = [
        {
            "skill": skill.replace("_", " "),
            "accuracy": percent(entry["accuracy"]),
            **dict(zip(("accuracy_low", "accuracy_high"), map(percent, entry["interval"]), strict=True)),
            "source": "measured",
            "profile": records.profile,
            "n": f"{entry['n']:,}",
        }
        for skill, entry in (records.base() or {}).items()
        if isinstance(entry, dict) and "accuracy" in entry
    ]
    frame = pd.DataFrame(rows or [{"skill": "all", "accuracy": NOT_RUN}])
    return titled(frame, "extra_base_model", records=records)


def figure_base_model(records: Records) -> Figure:
    """Confusion matrices of the base model on held-out scenes, each row summing to 100 %."""
    base = records.base() or {}
    with styled():
        figure = new_figure(12.0, 4.3)
        for axes, skill in zip(figure.subplots(1, 3), _CONFUSED_SKILLS, strict=True):
            entry = base.get(skill)
            axes.set_title(skill.capitalize())
            if isinstance(entry, dict) and "confusion" in entry:
                _draw_confusion(axes, entry)
                axes.set_title(f"{skill.capitalize()}: {_accuracy(entry)}")
            else:
                say_not_run(axes)
        add_note(
            figure,
            f"Measured, profile {records.profile}; percent of each true label, empty below 0.5.",
        )
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


def _draw_confusion(axes: Axes, entry: dict[str, Any]) -> None:
    counts = np.asarray(entry["confusion"], dtype=float)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    labels = [str(label) for label in entry["labels"]]
    long = max(len(label) for label in labels) > 3
    axes.set_yticks(range(counts.shape[0]), labels[: counts.shape[0]])
    columns = labels + ["other"] * (counts.shape[1] - len(labels))
    axes.set_xticks(range(counts.shape[1]), columns, rotation=90 if long else 0)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    if len(labels) > _SHOW_NUMBERS_UP_TO:
        return
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 55 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)


def _accuracy(entry: dict[str, Any]) -> str:
    low, high = entry["interval"]
    return f"{100 * entry['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {entry['n']}"


def _draw_differences(axes: Axes, records: Records) -> None:
    axes.set_title("(a) Paired difference in accuracy, with 95 % interval")
    compared = [(row.minus, row.record) for row in read_tables()["extra_paired_differences"].rows]
    found = {(a, b, mode): compare(records, a, b, mode) for a, b in compared for mode in MODES}
    if not any(found.values()):
        say_not_run(axes)
        return
    for position, (a, b) in enumerate(compared):
        for mode, shift in zip(MODES, (0.16, -0.16), strict=True):
            interval, y = found[a, b, mode], -position + shift
            if interval is None:
                _say_missing(axes, y, f"{MODES[mode]}: not run")
                continue
            filled = COLOURS[b] if mode == "greedy" else "white"
            points = [100 * interval.low, 100 * interval.high]
            axes.plot(
                points, [y, y], color=COLOURS[b], lw=1.8, linestyle="-" if mode == "greedy" else (0, (2, 1))
            )
            axes.plot(
                100 * interval.estimate,
                y,
                marker=MARKERS[b],
                ms=6,
                color=COLOURS[b],
                mfc=filled,
                linestyle="none",
            )
    axes.axvline(0, color="black", lw=1)
    names = [f"{display_name(records, b)}\n\N{MINUS SIGN} {display_name(records, a)}" for a, b in compared]
    axes.set_yticks([-float(i) for i in range(len(names))], names)
    axes.set_ylim(-len(names) - 0.1, 0.6)
    axes.set_xlabel("percentage points")
    axes.grid(visible=False, axis="y")
    axes.legend(
        handles=_mode_handles(),
        loc="lower right",
        ncols=2,
        fontsize=8,
        frameon=True,
        edgecolor="none",
        framealpha=1,
    )


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
