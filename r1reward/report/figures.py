"""Figures 1 and 2 of the paper, as far as printed numbers and this run's records go.

The paper's own figures are pictures whose curves are not printed: none of them is drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from r1reward.report.cells import SHORT_DAGGER_NOTE, display_name
from r1reward.report.paper import PAPER_FOLDER, paper_table, paper_values
from r1reward.report.records import MODEL_NAMES, REFERENCE, VARIANT_NAMES, Records
from r1reward.report.scores import score
from r1reward.report.style import (
    COLOURS,
    LINES,
    MARKERS,
    add_note,
    new_figure,
    say_not_run,
    set_log_scale,
    styled,
)
from r1reward.report.tables import read_tables
from r1reward.stats import Interval

_PRINTED_ROWS = ("Best other model", "R1-Reward", "Voting@5", "Voting@15")
_BENCHMARKS = (
    ("VL-RewardBench", "overall accuracy", 3, "overall_acc"),
    ("Multimodal RewardBench", "overall accuracy", 4, "overall"),
    ("MM-RLHF-RewardBench", "Acc", 8, "acc"),
)
_RL_VARIANTS = ("stable_reinforce", "reinforce_pp")
_PRE_CLIP = tuple(f"pre_clip_{side}_{sign}" for side in ("high", "low") for sign in ("positive", "negative"))
_FILTERED = ("filtered_positive", "filtered_negative")
_CURVES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("(a) Policy loss", ("policy_loss",), "loss"),
    ("(b) Response length", ("response_length",), "tokens"),
    ("(c) Accuracy of rollouts", ("accuracy",), "share right"),
    ("(d) Reward", ("reward",), "mean reward"),
    ("(e) Gradient norm", ("grad_norm",), "norm before scaling"),
    ("(f) Pre-CLIP hits", _PRE_CLIP, "share of tokens"),
    ("(g) Filtered advantages", _FILTERED, "share of tokens"),
    ('(h) Answer "1"', ("answer_one_share",), "share of answers"),
)


_LOSS_NOTE = "Policy loss: about minus the mean advantage, so 0 unless the filter takes negative ones out."
_WITHOUT = {"wo_filter": "no filter", "wo_pre_clip": "no Pre-CLIP"}
_OTHER_SETTINGS = (
    ("(a) Contradicted right answers", "contradicted_share", "share", "weight_0.0"),
    ("(b) Accuracy of rollouts", "accuracy", "share right", "no_cold_start"),
    ("(c) Answers without a verdict", "unparsed_share", "share", "no_cold_start"),
    ("(d) Reward", "reward", "mean reward", "easy_pairs"),
)
_FIGURE_4 = ((("a", 0), ("b", 1)), (("c", 0), ("d", 1)))


def figure_1(records: Records, *, paper: Path = PAPER_FOLDER) -> Figure:
    """R1-Reward on three benchmarks: printed numbers (hollow) beside this run's (filled, with intervals)."""
    with styled():
        figure = new_figure(10.5, 4.0)
        panels = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (name, metric, number, column) in zip(panels, _BENCHMARKS, strict=True):
            axes.set_title(name)
            axes.set_xlabel(f"{metric} (%)")
            _draw_printed(axes, _printed_scores(number, column, paper))
            _draw_measured(axes, _measured(records, number, column))
            _arrange_rows(axes)
        panels[0].set_xlim(_lowest(records), 102)
        labels = [f"{row} (paper)" for row in _PRINTED_ROWS]
        labels += [f"{display_name(records, model)}" for model in MODEL_NAMES]
        panels[0].set_yticks(_row_positions(), labels)
        _legend_1(figure)
        add_note(figure, _figure_1_note(records))
        return figure


def figure_2(records: Records) -> Figure:
    """Training curves of StableReinforce and Reinforce++ over rollout steps."""
    with styled():
        figure = new_figure(11.5, 5.2)
        runs = {variant: records.training(variant) for variant in _RL_VARIANTS}
        for axes, (title, columns, unit) in zip(figure.subplots(2, 4).flat, _CURVES, strict=True):
            axes.set_title(title)
            drawn = [
                draw_curve(axes, frame, variant, columns)
                for variant, frame in runs.items()
                if frame is not None
            ]
            if not any(drawn):
                say_not_run(axes)
                continue
            axes.set_xlabel("rollout step")
            axes.set_ylabel(unit)
            _widen_scale(axes)
            if columns == ("answer_one_share",):
                axes.axhline(0.5, color=COLOURS["quiet"], lw=0.8, linestyle=":")
        _legend_2(figure, records, runs)
        note = _figure_2_note(records, [frame for frame in runs.values() if frame is not None])
        add_note(figure, f"{note}\n{_LOSS_NOTE}")
        return figure


def figure_4(records: Records) -> Figure:
    """Policy loss and response length of StableReinforce beside the same without one of its parts."""
    with styled():
        figure = new_figure(11.5, 2.9)
        reference = records.training(REFERENCE)
        panels = figure.subplots(1, 4)
        for index, (variant, part) in enumerate(_WITHOUT.items()):
            frame = records.training(variant)
            for axes, (letter, what) in zip(panels[2 * index :], _FIGURE_4[index], strict=False):
                title, columns, unit = _CURVES[what]
                axes.set_title(f"({letter}) {title[4:]}, {part}")
                shown = {REFERENCE: reference, variant: frame}
                drawn = [draw_curve(axes, f, name, columns) for name, f in shown.items() if f is not None]
                if len(drawn) < 2 or not any(drawn):
                    say_not_run(axes)
                    continue
                axes.set_xlabel("rollout step")
                axes.set_ylabel(unit)
                _widen_scale(axes)
        _legend_2(figure, records, {REFERENCE: reference} | {v: records.training(v) for v in _WITHOUT})
        note = _figure_2_note(records, [] if reference is None else [reference])
        same = [f"{VARIANT_NAMES[v]}: the runs of {MODEL_NAMES[other]}; what tells the two apart never acted"
                for v in _WITHOUT if (other := records.same_as(v))]  # fmt: skip
        add_note(figure, "\n".join([note, *(["; ".join(same)] if same else []), _LOSS_NOTE]))
        return figure


def figure_training_extras(records: Records) -> Figure:
    """StableReinforce beside no consistency reward, no cold start, and easy pairs, over rollout steps."""
    with styled():
        figure = new_figure(11.5, 2.9)
        reference = records.training(REFERENCE)
        for axes, (title, column, unit, variant) in zip(figure.subplots(1, 4), _OTHER_SETTINGS, strict=True):
            axes.set_title(title)
            shown = {REFERENCE: reference, variant: records.training(variant)}
            there = {name: frame for name, frame in shown.items() if frame is not None}
            if len(there) < 2 or not all(draw_curve(axes, f, name, [column]) for name, f in there.items()):
                say_not_run(axes)
                continue
            axes.set_xlabel("rollout step")
            axes.set_ylabel(unit)
        names = {REFERENCE: "StableReinforce", "weight_0.0": "without consistency reward"}
        names |= {"no_cold_start": "without cold start", "easy_pairs": "on easy pairs"}
        handles = [
            Line2D([], [], color=COLOURS[name], linestyle=LINES[name], label=label)
            for name, label in names.items()
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=4)
        add_note(
            figure,
            f"Measured, profile {records.profile}. Line: mean over seeds, band: smallest to largest. All: "
            f"{SHORT_DAGGER_NOTE}",
        )
        return figure


def draw_curve(axes: Axes, frame: pd.DataFrame, variant: str, columns: Sequence[str]) -> bool:
    """One variant's curve (the sum of `columns`); False if the records lack a column."""
    if not set(columns) <= set(frame.columns):
        return False
    values = frame.assign(value=frame[list(columns)].sum(axis=1, skipna=False))
    by_step = values.pivot(index="step", columns="seed", values="value").sort_index()
    steps, grid = by_step.index.to_numpy(), by_step.to_numpy(dtype=float)
    finite = np.isfinite(grid).any(axis=1)
    grid = np.where(np.isfinite(grid), grid, np.nan)[finite]
    if not len(grid):
        return False
    look = {"color": COLOURS[variant], "linestyle": LINES[variant]}
    if grid.shape[1] > 1:
        axes.fill_between(
            steps[finite], np.nanmin(grid, 1), np.nanmax(grid, 1), color=COLOURS[variant], alpha=0.18, lw=0
        )
    axes.plot(steps[finite], np.nanmean(grid, axis=1), lw=1.3 if grid.shape[1] > 1 else 0.9, **look)
    return True


def _figure_2_note(records: Records, frames: Sequence[pd.DataFrame]) -> str:
    text = f"The paper's curves are not printed, so none is drawn. {SHORT_DAGGER_NOTE}"
    if not frames:
        return text
    seeds = max(len(set(frame["seed"])) for frame in frames)
    if seeds > 1:
        text = f"Line: mean over {seeds} seeds, band: smallest to largest. {text}"
    drawn = {column for _, columns, _ in _CURVES for column in columns}
    values = [frame[list(drawn & set(frame))].to_numpy(dtype=float) for frame in frames]
    if not all(np.isfinite(array).all() for array in values):
        text = f"Where a line stops or has a gap, the value was not finite. {text}"
    return f"Measured, profile {records.profile}. {text}"


def _widen_scale(axes: Axes) -> None:
    """A symmetric logarithmic axis where an explosion would flatten all other values."""
    heights = np.concatenate([np.abs(np.asarray(line.get_ydata(), dtype=float)) for line in axes.lines])
    typical, largest = np.median(heights), heights.max()
    if largest > max(1.0, 100 * typical) and typical > 0:
        set_log_scale(axes, linear_up_to=10 * float(typical))
    elif largest == 0:
        axes.set_ylim(-0.001, 0.02)


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


def _printed_scores(number: int, column: str, paper: Path) -> dict[str, tuple[float, str]]:
    """Printed accuracy (percent) of each paper row that has one, and whose it is if not R1-Reward's."""
    table = paper_table(number, folder=paper).to_dict("records")
    others = [(float(row[column]), row["model"].split(" (")[0]) for row in table if row["group"] != "Ours"]
    best = max(others)
    tied = ", tied" if [value for value, _ in others].count(best[0]) > 1 else ""
    rows = {_PRINTED_ROWS[0]: (best[0], best[1] + tied)}
    rows |= {row["model"]: (float(row[column]), "") for row in table if row["group"] == "Ours"}
    if number == 8:
        rows["Voting@5"] = (paper_values(folder=paper)["mm_rlhf_voting_5"].value, "")
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
    table, found = read_tables()[f"table_{number:02d}"], {}
    for model in MODEL_NAMES:
        scores = score(records, model, "greedy", benchmark=table.benchmark)
        found[model] = scores and getattr(scores, table.columns[column])
    return found


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
    found = [score(records, REFERENCE, "greedy", benchmark=table.benchmark) for table in tables]
    sizes = [str(scores.num_pairs) for scores in found if scores]
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


def _legend_2(figure: Figure, records: Records, runs: dict[str, pd.DataFrame | None]) -> None:
    handles = []
    for variant, frame in runs.items():
        name = display_name(records, variant) + ("" if frame is not None else " (not run)")
        handles.append(Line2D([], [], color=COLOURS[variant], linestyle=LINES[variant], label=name))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
