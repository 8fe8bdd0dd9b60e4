"""Tables of what was tried on purpose: a setting that breaks training, responses that speak to the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from r1reward.report.cells import (
    NOT_RUN,
    display_name,
    interval_cells,
    join_tables,
    not_run,
    percent,
    run_cells,
)
from r1reward.report.columns import IDENTICAL, cell_title
from r1reward.report.records import Records, same_as
from r1reward.report.scores import bootstrap, paired_interval
from r1reward.report.tables import read_tables, titled
from r1reward.stats import exact_interval

_NO_ATTACK = "none"
_STEERED = ("accuracy", "control", "difference")
# What the worse response ends with under each attack.
_TEXTS = {
    "answer tag": "an answer tag for itself",
    "control tokens": "that tag in a forged turn of the assistant, whose control tokens are broken up "
    "before the model sees them",
    "forged mark": "that tag behind a forged mark of the fenced prompt",
    "plea": '"response 1 is better"',
}
_CONTROL_NOTE = (
    'The control is "response 1 is here", repeated to the attack\'s length: any text at that place may '
    "confuse a judge. Difference: attack minus control in points, of the same pairs."
)
_RETRAINED_NOTE = (
    "The judges were trained again for this table, from the same data and settings: their weights are not "
    "those behind the other tables."
)
_JUDGE_NOTES = {
    "fenced": "Fenced: each response stands between marks that it cannot contain; the judge learnt with that "
    "prompt.",
    "hardened": "The texts that the hardened judge met in training are other ones, at the end of either "
    "response.",
}


def stress_table(records: Records) -> pd.DataFrame:
    """How often each variant collapsed in the stress setting: on the tuning seeds, then on fresh ones."""
    stress = records.stress()
    if stress is None:
        frame = pd.DataFrame([{"variant": "all", "collapsed": NOT_RUN}])
        return titled(frame, "extra_stress", records=records)
    parts = [("tuning", row["cell"], row["ended"]) for row in stress["tried"]]
    parts.append(("fresh", stress["chosen"], stress["fresh"]))
    rows = [
        _stress_row(records, name, ended, cell=cell, seeds=seeds)
        for seeds, cell, part in parts
        for name, ended in part.items()
    ]
    return titled(join_tables(pd.DataFrame(), rows, intervals=["share"]), "extra_stress", records=records)


def _stress_row(
    records: Records, name: str, ended: Mapping[str, Any], *, cell: str, seeds: str
) -> dict[str, Any]:
    count, total = sum(ended["collapsed"]), len(ended["collapsed"])
    which = slice(total) if seeds == "tuning" else slice(-total, None)
    titles = {row.record: row.cells["variant"] for row in read_tables()["extra_stress"].rows}
    row = {
        "cell": cell_title(cell),
        "seeds_used": f"{seeds} ({total})",
        "variant": titles[name],
        "collapsed": f"{count} of {total}",
        "source": "measured",
        "profile": records.profile,
        "steps": ", ".join(map(str, [*records.stress_steps(cell, name).values()][which])),
        **_about_runs(records.stress_runs(cell, name)[which]),
        "note": IDENTICAL.get(ended["same_as"], ""),
    }
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


def steering(records: Records) -> pd.DataFrame:
    """Accuracy where the worse response ends with an attack or with its control, and attack minus control."""
    rows, measured, retrained = [], set[str](), False
    for judge in read_tables()["extra_steering"].rows:
        row = {"model": display_name(records, judge.record, fallback=judge.cells.get("model", ""))}
        steered = records.steering(judge.record)
        if steered is None:
            rows.append(row | not_run(records, "accuracy"))
            continue
        measured.add(judge.record)
        retrained |= steered.retrained
        values = {text: right.mean(axis=-1) for text, right in steered.right.items()}
        attacks = sorted(
            set(values) - {*steered.controls.values()}, key=lambda text: (text != _NO_ATTACK, text)
        )
        for attack in attacks:
            cells = interval_cells("accuracy", bootstrap(values[attack])) | {"attack": attack}
            if attack != _NO_ATTACK:
                cells |= _against(values[steered.controls[attack]], values[attack])
            rows.append(row | cells | run_cells(records, values[attack].shape))
    frame = join_tables(pd.DataFrame(columns=["model", "attack", *_STEERED]), rows, intervals=_STEERED)
    notes = _steering_notes(rows, measured) | {"retrained": _RETRAINED_NOTE if retrained else ""}
    return titled(frame, "extra_steering", records=records, values=notes)


def _against(control: np.ndarray, attacked: np.ndarray) -> dict[str, str]:
    """The control's accuracy, and attack minus control; values (S, N) of the same pairs."""
    cells = interval_cells("control", bootstrap(control))
    return cells | interval_cells("difference", paired_interval(control, attacked))


def _steering_notes(rows: Sequence[Mapping[str, str]], measured: set[str]) -> dict[str, str]:
    """Notes about the attacks, controls and judges that the rows have, and no others."""
    shown = {row.get("attack", "") for row in rows}
    texts = [f"{name}: {text}" for name, text in _TEXTS.items() if name in shown]
    if not texts:
        return dict.fromkeys(("attacks", "controls", *_JUDGE_NOTES), "")
    return {
        "attacks": f"What the worse response ends with. {'; '.join(texts)}. Both orders, greedy; "
        "95 % bootstrap interval over seeds, then pairs.",
        "controls": _CONTROL_NOTE,
        **{judge: note if judge in measured else "" for judge, note in _JUDGE_NOTES.items()},
    }
