"""What decides the claims about training: differences, trends and collapses, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from r1reward.report.ablations import cell_title
from r1reward.report.claims import IDENTICAL_NOTE, Measured
from r1reward.report.records import MODEL_NAMES, REFERENCE, Records
from r1reward.report.scores import compare, paired_values
from r1reward.stats import Interval, exact_interval, t_interval

# At a ratio of 1 the loss is minus the mean advantage, and that is 0 once advantages are standardised.
LOSS_NOTE = (
    "not comparable: close to the sampling policy the loss is minus the mean advantage, which is 0 by "
    "construction until the filter takes negative advantages out"
)
Measure = Callable[[Records], Measured | None]


def difference(model: str, minus: str, *, mode: str = "greedy") -> Measure:
    """Accuracy of one model minus another's, in points."""
    return partial(_difference, model=model, minus=minus, mode=mode)


def _difference(records: Records, *, model: str, minus: str, mode: str) -> Measured | None:
    values = paired_values(records, minus, model, mode=mode)
    if values is None:
        return None
    seeds = values[0].shape[0]
    one, other = (records.same_as(name) or name for name in (model, minus))
    if one == other:
        return Measured(None, seeds, IDENTICAL_NOTE)
    note = (
        ""
        if one == model
        else f"the runs are those of {MODEL_NAMES[one]}, as the part that tells the two apart never acted"
    )
    found = compare(records, minus, model, mode)
    assert found is not None
    return Measured(Interval(100 * found.estimate, 100 * found.low, 100 * found.high), seeds, note)


def change(variant: str, column: str, *, last: int = 5) -> Measure:
    """Relative change of a training metric from the first steps of RL to the last, in percent."""
    return partial(_change, variant=variant, column=column, last=last)


def _change(records: Records, *, variant: str, column: str, last: int) -> Measured | None:
    series = _series(records, variant, column)
    if series is None:
        return None
    relative = 100 * (series[:, -last:].mean(axis=1) / series[:, :last].mean(axis=1) - 1)
    return _over_seeds(relative)


def loss_spread(records: Records) -> Measured | None:
    """How much the policy losses vary over the steps, which compares nothing: see LOSS_NOTE."""
    found = {name: _series(records, name, "policy_loss") for name in (REFERENCE, "reinforce_pp")}
    one, other = found.values()
    if one is None or other is None:
        return None
    spreads = ", ".join(
        f"{MODEL_NAMES[name]} {series.std(axis=1).mean():.3f}"
        for name, series in found.items()
        if series is not None
    )
    return Measured(None, min(len(one), len(other)), f"{spreads}; {LOSS_NOTE}")


def contradictions(variant: str, minus: str, *, last: int = 10) -> Measure:
    """Share of contradicted right answers in the last steps, one variant minus another, in points."""
    return partial(_contradictions, variant=variant, minus=minus, last=last)


def _contradictions(records: Records, *, variant: str, minus: str, last: int) -> Measured | None:
    frames = [records.training(name) for name in (variant, minus)]
    if any(frame is None or "contradicted_share" not in frame for frame in frames):
        return None
    ends = [
        {seed: run["contradicted_share"].iloc[-last:].mean() for seed, run in frame.groupby("seed")}
        for frame in frames
        if frame is not None
    ]
    seeds = [seed for seed in ends[0] if seed in ends[1]]
    return _over_seeds(np.array([100 * (ends[0][seed] - ends[1][seed]) for seed in seeds])) if seeds else None


def collapses(variant: str) -> Measure:
    """Share of the fresh seeds on which a variant collapsed in the stress setting, with an exact interval.

    Nothing to compare where no cell separates the algorithms: the setting was searched for collapses.
    """
    return partial(_collapses, variant=variant)


def _collapses(records: Records, *, variant: str) -> Measured | None:
    found = records.stress()
    if found is None:
        return None
    ended = found["fresh"][variant]["collapsed"]
    if not found["separates"]:
        return Measured(None, len(ended), _about_stress(found))
    low, high = exact_interval(sum(ended), len(ended))
    return Measured(Interval(fmean(ended), low, high), len(ended), _about_stress(found))


def held_where(other: str) -> Measure:
    """Of the fresh seeds on which `other` collapsed under stress, the share on which StableReinforce held."""
    return partial(_held_where, other=other)


def _held_where(records: Records, *, other: str) -> Measured | None:
    found = records.stress()
    if found is None:
        return None
    fresh = found["fresh"]
    pairs = zip(fresh[other]["collapsed"], fresh[REFERENCE]["collapsed"], strict=True)
    held = [not ours for theirs, ours in pairs if theirs]
    if not held:
        return Measured(None, len(fresh[other]["collapsed"]), _about_stress(found))
    low, high = exact_interval(sum(held), len(held))
    return Measured(Interval(fmean(held), low, high), len(held), _about_stress(found))


def lasts_longer(records: Records) -> Measured | None:
    """Steps that StableReinforce lasts beyond Reinforce++ in the stress setting, on the same fresh seeds."""
    found = records.stress()
    if found is None or not records.stress_runs(found["chosen"], REFERENCE):
        return None
    ours, theirs = (
        [*records.stress_steps(found["chosen"], name).values()][-found["fresh_seeds"] :]
        for name in (REFERENCE, "reinforce_pp")
    )
    measured = _over_seeds(np.subtract(ours, theirs))
    return replace(measured, note=f"{measured.note}; {_about_stress(found)}")


def _about_stress(found: Mapping[str, Any]) -> str:
    """Where it was measured, how often both algorithms collapsed there, and what that can say."""
    counts = [
        f"{MODEL_NAMES[name]} collapsed on {sum(ended)} of {len(ended)} fresh seeds"
        for name in ("reinforce_pp", REFERENCE)
        for ended in [found["fresh"][name]["collapsed"]]
    ]
    told = "exact interval" if found["separates"] else "searched for collapses, no cell separates the two"
    return f"{', '.join(counts)}; stress setting ({cell_title(found['chosen'])}), {told}"


def _series(records: Records, variant: str, column: str) -> np.ndarray | None:
    """A metric (seeds, steps), cut to the shortest run; None without it."""
    frame = records.training(variant)
    if frame is None or column not in frame:
        return None
    runs = [group[column].to_numpy(dtype=float) for _, group in frame.groupby("seed")]
    return np.stack([run[: min(map(len, runs))] for run in runs])


def _over_seeds(values: np.ndarray) -> Measured:
    """Student's interval over seeds; one seed has none, so it is undecided."""
    if len(values) < 2:
        return Measured(None, len(values), f"{values.mean():.3g} on one seed: no interval over seeds")
    return Measured(t_interval(values), len(values), "Student's interval over seeds")
