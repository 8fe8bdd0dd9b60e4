"""Curves: Figures 2 and 4 of the paper, other settings, the downstream policy, and what the parts do alone.

The paper's own figures are pictures whose curves are not printed: none of them is drawn here. No model stands
behind `figure_mechanisms`, which shows Pre-CLIP and the advantage filter each alone (paper §2.1, §3.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from r1reward.report.layout import SHORT_DAGGER_NOTE, display_name
from r1reward.report.records import MODEL_NAMES, REFERENCE, VARIANT_NAMES, Records
from r1reward.report.style import COLOURS, LINES, add_note, new_figure, say_not_run, set_log_scale, styled

Frames = Mapping[str, pd.DataFrame | None]
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
_TRAINING_CURVES = (
    ("(a) Different answers", "distinct_share", "share of eight"),
    ("(b) Length", "response_length", "tokens"),
    ("(c) Answers equal to the reference", "reference_share", "share of answers"),
    ("(d) R1-Reward ranks them higher", "reference_above_share", "share of pairs"),
)


def figure_2(records: Records) -> Figure:
    """Training curves of StableReinforce and Reinforce++ over rollout steps."""
    with styled():
        figure = new_figure(11.5, 5.2)
        runs = {variant: records.training(variant) for variant in _RL_VARIANTS}
        for axes, (title, columns, unit) in zip(figure.subplots(2, 4).flat, _CURVES, strict=True):
            if _panel(axes, title, columns, unit=unit, frames=runs, least=1):
                _widen_scale(axes)
                if columns == ("answer_one_share",):
                    _draw_half(axes)
        _legend(figure, records, runs)
        note = _note(records, [frame for frame in runs.values() if frame is not None])
        add_note(figure, f"{note}\n{_LOSS_NOTE}")
        return figure


def figure_4(records: Records) -> Figure:
    """Policy loss and response length of StableReinforce beside the same without one of its parts."""
    with styled():
        figure = new_figure(11.5, 2.9)
        runs = {variant: records.training(variant) for variant in (REFERENCE, *_WITHOUT)}
        panels = [(variant, curve) for variant in _WITHOUT for curve in _CURVES[:2]]
        for letter, axes, (variant, (title, columns, unit)) in zip(
            "abcd", figure.subplots(1, 4), panels, strict=True
        ):
            shown = {REFERENCE: runs[REFERENCE], variant: runs[variant]}
            title = f"({letter}) {title[4:]}, {_WITHOUT[variant]}"
            if _panel(axes, title, columns, unit=unit, frames=shown):
                _widen_scale(axes)
        _legend(figure, records, runs)
        reference = runs[REFERENCE]
        same = [f"{VARIANT_NAMES[v]}: the runs of {MODEL_NAMES[other]}; what tells the two apart never acted"
                for v in _WITHOUT if (other := records.same_as(v))]  # fmt: skip
        notes = [_note(records, [] if reference is None else [reference]), "; ".join(same), _LOSS_NOTE]
        add_note(figure, "\n".join(filter(None, notes)))
        return figure


def figure_training_extras(records: Records) -> Figure:
    """StableReinforce beside no consistency reward, no cold start, and easy pairs, over rollout steps."""
    with styled():
        figure = new_figure(11.5, 2.9)
        reference = records.training(REFERENCE)
        for axes, (title, column, unit, variant) in zip(figure.subplots(1, 4), _OTHER_SETTINGS, strict=True):
            shown = {REFERENCE: reference, variant: records.training(variant)}
            _panel(axes, title, [column], unit=unit, frames=shown)
        names = {REFERENCE: "StableReinforce", "weight_0.0": "without consistency reward"}
        names |= {"no_cold_start": "without cold start", "easy_pairs": "on easy pairs"}
        looks = [(COLOURS[name], LINES[name], label) for name, label in names.items()]
        handles = [Line2D([], [], color=c, linestyle=line, label=label) for c, line, label in looks]
        figure.legend(handles=handles, loc="outside upper right", ncols=4)
        add_note(
            figure,
            f"Measured, profile {records.profile}. Line: mean over seeds, band: smallest to largest. All: "
            f"{SHORT_DAGGER_NOTE}",
        )
        return figure


def figure_downstream_training(records: Records) -> Figure:
    """How the answers to a prompt change while the policy learns; the mean over seeds and their range."""
    frame = records.downstream_training()
    with styled():
        figure = new_figure(11.5, 2.9)
        for axes, (title, column, unit) in zip(figure.subplots(1, 4), _TRAINING_CURVES, strict=True):
            drawn = _panel(axes, title, [column], unit=unit, frames={REFERENCE: frame}, least=1)
            if drawn and column == "reference_above_share":
                _draw_half(axes)
        seeds = 0 if frame is None else frame["seed"].nunique()
        add_note(
            figure,
            f"Measured, profile {records.profile}, {seeds} seeds: mean and range. (d): how often R1-Reward, "
            "which never sees a reference, gives an answer equal to it the higher reward; dotted: chance.",
        )
        return figure


def _panel(
    axes: Axes, title: str, columns: Sequence[str], *, unit: str, frames: Frames, least: int = 2
) -> bool:
    """A panel with a curve of each variant; fewer than `least` of them are "not run", which is False."""
    axes.set_title(title)
    there = {name: frame for name, frame in frames.items() if frame is not None}
    if len(there) < least or sum(draw_curve(axes, f, name, columns) for name, f in there.items()) < least:
        say_not_run(axes)
        return False
    axes.set_xlabel("rollout step")
    axes.set_ylabel(unit)
    return True


def _draw_half(axes: Axes) -> None:
    axes.axhline(0.5, color=COLOURS["quiet"], lw=0.8, linestyle=":")


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


def _note(records: Records, frames: Sequence[pd.DataFrame]) -> str:
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


def _legend(figure: Figure, records: Records, runs: Frames) -> None:
    handles = []
    for variant, frame in runs.items():
        name = display_name(records, variant) + ("" if frame is not None else " (not run)")
        handles.append(Line2D([], [], color=COLOURS[variant], linestyle=LINES[variant], label=name))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))


# With a part on it is StableReinforce, without it Reinforce++.
_VARIANTS = {"without": "reinforce_pp", "with": "stable_reinforce"}
# Gradients reach from 0 to exp(10), so beyond this the scale is logarithmic.
_LINEAR_UP_TO = 1.0


def figure_mechanisms(records: Records) -> Figure:
    """A token's gradient over its log-ratio by sign of the advantage, and what few wrong answers weigh."""
    record = records.mechanisms()
    with styled():
        figure = new_figure(11.5, 6.2)
        panels = figure.subplots(2, 2)
        if record is None:
            for axes in panels.flat:
                say_not_run(axes)
            return figure
        _draw_gradient(panels[0, 0], record, "negative", "(a) One token, advantage -1")
        _draw_gradient(panels[0, 1], record, "positive", "(b) One token, advantage +1")
        _draw_wrong(panels[1, 0], record, "wrong_advantages", "(c) Advantage of a wrong answer")
        _draw_wrong(panels[1, 1], record, "wrong_shares", "(d) Wrong answers in the gradient")
        add_note(figure, _mechanisms_note(record))
        return figure


def _draw_gradient(axes: Axes, record: dict[str, Any], sign: str, title: str) -> None:
    axes.set_title(title)
    bound = math.log(record["pre_clip"])
    for x in (-bound, bound):
        axes.axvline(x, color=COLOURS["quiet"], lw=0.8, linestyle=":")
    for name, variant in _VARIANTS.items():
        curve = record["gradients"][sign][name]
        axes.plot(record["log_ratios"], curve, **_look(variant), label=f"{name} Pre-CLIP")
    if sign == "negative":
        set_log_scale(axes, linear_up_to=_LINEAR_UP_TO)
    axes.set_xlabel("log-ratio of new and old policy (nats)")
    axes.set_ylabel("gradient by the log-prob")
    axes.legend(loc="upper left" if sign == "negative" else "lower right")


def _draw_wrong(axes: Axes, record: dict[str, Any], key: str, title: str) -> None:
    axes.set_title(title)
    shares = [100 * count / record["batch"] for count in record["wrong_counts"]]
    scale = 100 if key == "wrong_shares" else 1
    for name, variant in _VARIANTS.items():
        curve = [scale * value for value in record[key][name]]
        axes.plot(shares, curve, **_look(variant), label=f"{name} the {record['limit']:g}-sigma filter")
    if key == "wrong_advantages":
        axes.axhline(-record["limit"], color=COLOURS["quiet"], lw=0.8, linestyle=":")
        axes.set_ylabel("advantage (standard deviations)")
    else:
        axes.set_ylim(-4, 104)
        axes.set_ylabel("share of the squared norm (%)")
    axes.set_xlim(0, shares[-1])
    axes.set_xlabel(f"wrong answers of {record['batch']} (%)")
    axes.legend(loc="lower right")


def _look(variant: str) -> dict[str, Any]:
    # The dashed line is the wider one, so that it shows on both sides where the two coincide.
    width = 3.0 if variant == "reinforce_pp" else 1.3
    return {"color": COLOURS[variant], "linestyle": LINES[variant], "lw": width}


def _mechanisms_note(record: dict[str, Any]) -> str:
    return (
        f"Computed from the losses and advantages of this code, no model: PPO clips at 1 ± "
        f"{record['clip_eps']:g}, Pre-CLIP at log-ratios of ± log {record['pre_clip']:g} (dotted); "
        "rewards are 0 and 1.\n(d) holds on the first update if the gradients of all answers' log-probs "
        "have one length and are orthogonal."
    )
