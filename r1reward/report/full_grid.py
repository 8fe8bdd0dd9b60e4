"""What the full grid adds: the setting that breaks training, and variants that no table of the paper has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from r1reward.report.ablations import DIFFERENCE_NOTE, IDENTICAL, cell_title, collapsed_cell, stress_notes
from r1reward.report.figures import draw_curve
from r1reward.report.records import MODES, REFERENCE, Records, same_as
from r1reward.report.style import COLOURS, LINES, add_note, new_figure, say_not_run, styled
from r1reward.report.tables import (
    DAGGER_NOTE,
    NOT_RUN,
    SHORT_DAGGER_NOTE,
    difference_cells,
    display_name,
    interval_note,
    join_tables,
    left_out_notes,
    percent,
    score_cells,
    titled,
)
from r1reward.stats import exact_interval

COMPARED = {
    REFERENCE: "StableReinforce",
    "reinforce_pp": "Reinforce++",
    "wo_filter": "without the advantage filter",
    "wo_pre_clip": "without Pre-CLIP",
    "log_bound_5": "|log ratio| <= 5",
    "log_bound_100": "|log ratio| <= 100",
    "ratio_bound_5": "ratio <= 5",
    "ratio_bound_100": "ratio <= 100",
}
OTHERS = {
    "no_cold_start": "StableReinforce without a cold start",
    "easy_pairs": "StableReinforce on pairs that were right at once",
    **{
        f"judge_{judge}_{weight}": f"{judge} judge, weight {weight:g}"
        for judge, weights in {"weak": (0.1, 1.0), "noisy": (0.1, 0.5, 1.0), "random": (0.1, 1.0)}.items()
        for weight in weights
    },
}
_PANELS = (
    ("(a) Contradicted right answers", "contradicted_share", "share", "weight_0.0"),
    ("(b) Accuracy of rollouts", "accuracy", "share right", "no_cold_start"),
    ("(c) Answers without a verdict", "unparsed_share", "share", "no_cold_start"),
    ("(d) Reward", "reward", "mean reward", "easy_pairs"),
)


_STRESS_NOTES = (
    "In the search StableReinforce runs where Reinforce++ collapsed on at least three fifths of the seeds.",
    "Steps: how long each run lasted, seed by seed, the same seeds in all rows.",
    "Passes over each rollout. Hard pairs: those that the annotator did not get right at once, as everywhere "
    "in RL. Sure pairs: those that the cold start gets right eight times of eight.",
    "Repeated: runs that would repeat Reinforce++ or StableReinforce step by step, because the part that "
    "differs never acted; they count as those. Share: exact (Clopper-Pearson) 95 % interval.",
    "Bound passed: steps of the other runs in which a ratio passed Pre-CLIP's bound (1e3 where it is off). "
    "Harmful: too high with a negative advantage, which alone PPO's own clipping leaves unbounded (§2.1).",
)


def stress_table(records: Records) -> pd.DataFrame:
    """How often each variant collapsed in the stress setting: on the tuning seeds, then on fresh ones."""
    found = records.stress()
    caption = "Collapsed runs in the stress setting."
    if found is None:
        return titled(pd.DataFrame([{"variant": "all", "collapsed": NOT_RUN}]), caption, [])
    parts = [("tuning", row["cell"], row["ended"]) for row in found["tried"]]
    parts.append(("fresh", found["chosen"], found["fresh"]))
    rows = [
        _stress_row(records, name, ended, cell, seeds)
        for seeds, cell, part in parts
        for name, ended in part.items()
    ]
    frame = join_tables(pd.DataFrame(), rows, intervals=["share"])
    return titled(frame, caption, [*stress_notes(records), *_STRESS_NOTES])


def other_variants(records: Records) -> pd.DataFrame:
    """Benchmark accuracy of the variants that stand in no table of the paper, beside StableReinforce."""
    rows = []
    for variant, name in OTHERS.items():
        for mode, decoding in MODES.items():
            row = {"variant": display_name(records, variant, fallback=name), "decoding": decoding}
            row |= score_cells(records, variant, mode=mode, columns={"overall_acc": "overall"})
            if row["source"] == "measured":
                row |= difference_cells(records, REFERENCE, variant, mode=mode)
                row["collapsed"] = collapsed_cell(records, variant)
                row["note"] = IDENTICAL.get(records.same_as(variant), "")
            rows.append(row)
    frame = join_tables(pd.DataFrame(), rows, intervals=["overall_acc", "difference"])
    notes = [interval_note(records), *left_out_notes(records)]
    notes += [*([DIFFERENCE_NOTE] if "difference" in frame else []), DAGGER_NOTE]
    return titled(frame, "Further variants on VL-RewardBench, accuracy in percent.", notes)


def figure_training_extras(records: Records) -> Figure:
    """StableReinforce beside no consistency reward, no cold start, and easy pairs, over rollout steps."""
    with styled():
        figure = new_figure(11.5, 2.9)
        reference = records.training(REFERENCE)
        for axes, (title, column, unit, variant) in zip(figure.subplots(1, 4), _PANELS, strict=True):
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


def _stress_row(
    records: Records, name: str, ended: Mapping[str, Any], cell: str, seeds: str
) -> dict[str, Any]:
    count, total = sum(ended["collapsed"]), len(ended["collapsed"])
    runs = records.stress_runs(cell, name)
    row = {"cell": cell_title(cell), "seeds_used": f"{seeds} ({total})", "variant": COMPARED[name]}
    row |= {"collapsed": f"{count} of {total}", "source": "measured", "profile": records.profile}
    which = slice(total) if seeds == "tuning" else slice(-total, None)
    row["steps"] = ", ".join(map(str, [*records.stress_steps(cell, name).values()][which]))
    row |= _about_runs(runs[which])
    row["note"] = IDENTICAL.get(ended["same_as"], "")
    if ended["same_as"]:
        return row
    numbers = zip(("", "_low", "_high"), (count / total, *exact_interval(count, total)), strict=True)
    return row | {f"share{end}": percent(number) for end, number in numbers}


def _about_runs(runs: Sequence[tuple[dict[str, Any], pd.DataFrame]]) -> dict[str, str]:
    """How many repeat others, how often Pre-CLIP's bound was passed in the rest, and what they ran on."""
    own = [(about, rows) for about, rows in runs if not same_as(about) and len(rows)]
    if not own:
        return {}
    steps = pd.concat([rows for _, rows in own])
    hits = steps[[column for column in steps if column.startswith("pre_clip_")]].sum(axis=1).gt(0)
    harmful = steps["pre_clip_high_negative"].gt(0)
    return {
        "repeated": str(len(runs) - len(own)),
        "bound_passed": f"{hits.sum()} of {len(steps)} steps, {harmful.sum()} harmful",
        "device": ", ".join(sorted({about.get("device", "") for about, _ in own})),
    }
