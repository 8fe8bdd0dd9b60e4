"""Tables 5, 6, 7 and 13: the paper's ablations with the runs of this profile's grid below them.

A row says how often Pre-CLIP and the filter acted and how its accuracy differs from StableReinforce. A
variant whose part never acted is the reference run itself and gets no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.report.paper import PAPER_FOLDER, paper_table
from r1reward.report.records import HEAD_NAMES, MODES, REFERENCE, Records
from r1reward.report.tables import (
    DAGGER,
    DAGGER_NOTE,
    GROUPING_NOTE,
    NOT_RUN,
    VL_COLUMNS,
    WORLD_NOTE,
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

IDENTICAL = {
    REFERENCE: "the same runs as StableReinforce: the part that differs never acted",
    "reinforce_pp": "the same runs as Reinforce++: the part that differs never acted",
}
GRID_NOTE = (
    "Acted: steps in which the filter changed anything, and in which Pre-CLIP did or, where it is off, would "
    "have at 1e3. Collapsed: runs at the profile's own settings. No setting was tuned for a variant."
)
DIFFERENCE_NOTE = "Difference: accuracy minus that of StableReinforce on the same seeds and pairs, in points."
REWARD_NOTE = (
    "But for the row without it, Reinforce++, REINFORCE, PPO-clip and GRPO have the rewards of "
    "StableReinforce, that of consistency included, which the paper counts as a part of StableReinforce (§1, "
    "§3.1): what differs is the loss and the advantages."
)
BOUND_NOTE = (
    "The paper prints 10.00 as its default and 1e3 in its text and code, so a number may bound the log-ratio "
    "or the ratio: both are here, beside the 1e3 that this run uses. Where no run met a bound, the row "
    "repeats StableReinforce by construction."
)
STRESS_NOTE = (
    "Stress: collapsed runs on fresh seeds in the setting that was searched for on others (make grid), with "
    "the exact 95 % interval."
)
COLLAPSE_NOTE = (
    "Collapsed: a loss or gradient that is not finite, or for five steps running more than half of the "
    "answers cut off or the reward 0.3 below that of the first rollout."
)
WEIGHT_NOTE = (
    "Weight of a measured row: the one that the paper found best for such a judge, and 0.5 for the random "
    "judge, whose best is 0, to see what it does; others are in the table of further variants. None was "
    "chosen here."
)


@dataclass(frozen=True, slots=True)
class Ablation:
    """A table of the paper: its caption, the columns that name a row, and our variants by those names."""

    caption: str
    labels: tuple[str, ...]
    rows: Mapping[tuple[str, ...], str]
    columns: tuple[str, ...]
    group: str = ""
    stress: bool = False


ABLATIONS = {
    5: Ablation(
        "Table 5. Training set-ups on VL-RewardBench, accuracy in percent.",
        ("model",),
        {
            ("Reward Model",): "scalar",
            ("MM-RLHF-Reward",): "critique",
            ("Only Long-Cot SFT",): "sft",
            ("StableReinforce",): REFERENCE,
            ("wo advantage",): "wo_filter",
            ("wo pre-clip",): "wo_pre_clip",
            ("Reinforce++",): "reinforce_pp",
            ("Reinforce++ wo consistency reward",): "reinforce_pp_plain",
            ("SFT continued (control)",): "sft_continued",
            ("REINFORCE",): "reinforce",
            ("PPO-clip without a critic",): "ppo",
            ("GRPO",): "grpo",
        },
        (*GROUP_COUNTS[VL], "overall_acc"),
        group="This run",
        stress=True,
    ),
    6: Ablation(
        "Table 6. The bound of Pre-CLIP, in the two readings of its numbers, accuracy in percent.",
        ("clip_ratio", "model"),
        {
            ("ratio <= 1000", "StableReinforce"): REFERENCE,
            ("|log ratio| <= 10", "StableReinforce"): "log_bound_10",
            ("|log ratio| <= 5", "StableReinforce"): "log_bound_5",
            ("|log ratio| <= 100", "StableReinforce"): "log_bound_100",
            ("ratio <= 10", "StableReinforce"): "ratio_bound_10",
            ("ratio <= 5", "StableReinforce"): "ratio_bound_5",
            ("ratio <= 100", "StableReinforce"): "ratio_bound_100",
            ("-", "w/o pre-clip"): "wo_pre_clip",
        },
        (*GROUP_COUNTS[VL], "overall_acc"),
        stress=True,
    ),
    7: Ablation(
        "Table 7. The weight of the consistency reward, accuracy in percent.",
        ("consistency_weight",),
        {
            ("1.00",): "weight_1.0",
            ("0.50",): REFERENCE,
            ("0.10",): "weight_0.1",
            ("external",): "external",
            ("0.00",): "weight_0.0",
        },
        (*GROUP_COUNTS[VL], "overall_acc"),
    ),
    13: Ablation(
        "Table 13. The consistency judge, accuracy in percent.",
        ("judge", "best_weight"),
        {
            ("Strong judge", "0.5"): REFERENCE,
            ("Weaker judge", "0.5"): "judge_weak",
            ("Strong judge + 25% flipped", "0.25"): "judge_noisy",
            ("Random judge", "0.5"): "judge_random",
            ("Any judge", "0.0"): "weight_0.0",
        },
        ("overall_acc",),
    ),
}


def ablation_table(records: Records, number: int, *, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """One of the tables of `ABLATIONS`, the printed rows first."""
    ablation = ABLATIONS[number]
    printed = paper_table(number, folder=paper).assign(source="paper")
    rows = [
        _row(records, ablation, labels, variant, mode)
        for labels, variant in ablation.rows.items()
        for mode in (MODES if variant not in HEAD_NAMES else ["greedy"])
    ]
    frame = join_tables(printed, rows, intervals=[*ablation.columns, "difference"])
    notes = [GROUPING_NOTE, WORLD_NOTE, interval_note(records), *left_out_notes(records), GRID_NOTE]
    notes += [DIFFERENCE_NOTE] if "difference" in frame else []
    notes += [DAGGER_NOTE]
    notes += {5: [REWARD_NOTE], 6: [BOUND_NOTE], 13: [WEIGHT_NOTE]}.get(number, [])
    notes += [STRESS_NOTE, *stress_notes(records)] if ablation.stress else []
    return titled(frame, ablation.caption, notes)


def cell_title(cell: str) -> str:
    """A cell of the stress grid in words; a name of another form stays as it is."""
    found = re.fullmatch(r"rate_(?P<rate>[^_]+)_epochs_(?P<passes>\d+)_(?P<pairs>\w+)", cell)
    return "rate {rate}, passes {passes}, {pairs} pairs".format(**found.groupdict()) if found else cell


def stress_notes(records: Records) -> list[str]:
    """What a reader of the stress setting's collapses has to know; nothing where it has not run."""
    found = records.stress()
    if found is None:
        return []
    chosen = cell_title(found["chosen"])
    alone = (
        "Reinforce++ collapsed on at least three fifths of the tuning seeds and StableReinforce on at most "
        "one fifth"
    )
    if found["separates"]:
        told = f"{chosen}: the first cell, mildest first, in which {alone}; it was frozen before "
        return [COLLAPSE_NOTE, told + "the fresh seeds ran."]
    both = sum(
        all(all(ended["collapsed"]) for ended in row["ended"].values()) and len(row["ended"]) > 1
        for row in found["tried"]
    )
    return [
        COLLAPSE_NOTE,
        f"There is no cell in which {alone}: in {both} of {len(found['tried'])} cells both collapsed on "
        f"every one. So the stress setting ranks nothing; shown is {chosen}, the first of those in "
        "which Reinforce++ collapsed most often.",
    ]


def consistency_judges(records: Records) -> pd.DataFrame:
    """How often the trained consistency judges are right about held-out answers of the policy."""
    rows = []
    for name, entry in (records.consistency_judges() or {}).items():
        row = {"judge": name, "source": "measured", "profile": records.profile, "n": f"{entry['n']:,}"}
        low, high = entry["interval"] or (None, None)
        numbers = zip(("", "_low", "_high"), (entry["accuracy"], low, high), strict=True)
        rows.append(row | {f"accuracy{suffix}": percent(number) for suffix, number in numbers})
    frame = join_tables(
        pd.DataFrame(), rows or [{"judge": "all", "accuracy": NOT_RUN}], intervals=["accuracy"]
    )
    notes = [
        "Half of the answers are contradicted on purpose; an unknown opinion is wrong. They learnt from "
        "answers of the annotator and of the judge that it taught, so a script may stand behind both."
    ]
    return titled(frame, "Consistency judges on held-out answers, accuracy in percent.", notes)


def _row(
    records: Records, ablation: Ablation, labels: Sequence[str], variant: str, mode: str
) -> dict[str, Any]:
    row = dict(zip(ablation.labels, labels, strict=True))
    row["decoding"] = "scores" if variant in HEAD_NAMES else MODES[mode]
    if ablation.group:
        row |= {"group": ablation.group, "data": f"this run's ({records.profile})"}
    if "model" in row:
        row["model"] = display_name(records, variant, fallback=row["model"])
    elif records.scripted(variant):
        row[ablation.labels[0]] += DAGGER
    if ablation.stress and mode == "greedy":
        row["stress"] = _stress(records, variant)
    row |= score_cells(
        records, variant, mode=mode, columns={name: VL_COLUMNS[name] for name in ablation.columns}
    )
    if row["source"] == "measured" and variant not in (REFERENCE, "sft", *HEAD_NAMES):
        other = records.same_as(variant)
        if other != REFERENCE:
            row |= difference_cells(records, REFERENCE, variant, mode=mode)
        if other:
            return row | {"acted": IDENTICAL[other], "collapsed": collapsed_cell(records, variant)}
    return row | {"acted": _acted(records, variant), "collapsed": collapsed_cell(records, variant)}


def _stress(records: Records, variant: str) -> str:
    """For example "3 of 5 collapsed, 15 to 95 %", on the fresh seeds of the stress setting."""
    found = records.stress()
    if found is None:
        return NOT_RUN
    if variant not in found["fresh"]:
        return ""
    ended = found["fresh"][variant]
    count, total = sum(ended["collapsed"]), len(ended["collapsed"])
    low, high = exact_interval(count, total)
    told = f"{count} of {total} collapsed, {100 * low:.0f} to {100 * high:.0f} %"
    return ", ".join([told, *filter(None, [IDENTICAL.get(ended["same_as"])])])


def _acted(records: Records, variant: str) -> str:
    """For example "Pre-CLIP 0, filter 12 of 180 steps", over all seeds."""
    frame = records.training(variant)
    if frame is None or "log_ratio_max" not in frame:
        return ""
    hits = frame[[name for name in frame if name.startswith("pre_clip_")]].sum(axis=1) > 0
    filtered = frame["filtered_positive"] + frame["filtered_negative"] > 0
    return f"Pre-CLIP {hits.sum()}, filter {filtered.sum()} of {len(frame)} steps"


def collapsed_cell(records: Records, variant: str) -> str:
    """For example "0 of 3", at the profile's own settings; "" for what is not trained by RL."""
    ended = records.statuses(variant) if "sft" not in variant else []
    return f"{ended.count('collapsed')} of {len(ended)}" if ended and variant not in HEAD_NAMES else ""
