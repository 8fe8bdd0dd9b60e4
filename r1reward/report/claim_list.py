"""The checkable sentences of the paper, about training here, each with the quantity that decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from r1reward.report.annotators import model_of
from r1reward.report.claims import IDENTICAL_NOTE, Claim, Measured
from r1reward.report.quality_claims import QUALITY_CLAIMS
from r1reward.report.records import MODEL_NAMES, REFERENCE, Records
from r1reward.report.scaling_claims import SCALING_CLAIMS
from r1reward.report.scores import compare, paired_values
from r1reward.stats import Interval, exact_interval, t_interval

# Drops that the paper itself calls slight or minor: in Tables 10, 6 and 13.
SLIGHT = 2.24
MINOR = 1.29
MINOR_JUDGE = 0.55
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
    note = "" if one == model else f"the runs are those of {MODEL_NAMES[one]}: what differs never acted"
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


def _loss_spread(records: Records) -> Measured | None:
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


def _lasts_longer(records: Records) -> Measured | None:
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
    return f"{', '.join(counts)}; stress setting {found['chosen']}, {told}"


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


CLAIMS = (
    Claim(
        "rl_above_sft",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities",
        "StableReinforce - cold start, greedy",
        "above",
        difference(REFERENCE, "sft"),
    ),
    Claim(
        "rl_above_sft_sampled",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities",
        "StableReinforce - cold start, sampled at temperature 1",
        "above",
        difference(REFERENCE, "sft", mode="sampled"),
    ),
    Claim(
        "rl_above_continued_sft",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities, "
        "even with the same amount of data",
        "StableReinforce - SFT continued for the same time, greedy",
        "above",
        difference(REFERENCE, "sft_continued"),
    ),
    Claim(
        "sft_above_reward_model",
        "4.2",
        "our SFT approach shows advantages over both the traditional reward model and MM-RLHF-Reward",
        "cold start - scalar reward model, greedy",
        "above",
        difference("sft", "scalar"),
    ),
    Claim(
        "sft_above_critique",
        "4.2",
        "our SFT approach shows advantages over both the traditional reward model and MM-RLHF-Reward",
        "cold start - critique-then-score, greedy",
        "above",
        difference("sft", "critique"),
    ),
    Claim(
        "stable_above_reinforce_pp",
        "Abstract",
        "These refinements result in more stable training dynamics and superior performance.",
        "StableReinforce - Reinforce++, greedy",
        "above",
        difference(REFERENCE, "reinforce_pp"),
    ),
    Claim(
        "stable_loss",
        "Figure 2",
        "StableReinforce exhibits faster and more stable convergence of the policy loss during training.",
        "standard deviation of the policy loss over steps",
        "below",
        _loss_spread,
    ),
    Claim(
        "shorter_answers",
        "Figure 2",
        "after RL training with StableReinforce, the average response length is reduced by approximately 15%",
        "change of the response length from the first to the last five steps, percent",
        "below",
        change(REFERENCE, "response_length"),
        bound=-5.0,
    ),
    Claim(
        "reinforce_pp_collapses",
        "C.1",
        "directly applying the Reinforce++ algorithm causes the model to crash",
        "share of runs of Reinforce++ that collapse in the stress setting",
        "above",
        collapses("reinforce_pp"),
        bound=0.2,
    ),
    Claim(
        "stable_does_not_collapse",
        "Figure 2",
        "Reinforce++ collapses around step 150, whereas StableReinforce remains stable",
        "of the stress runs in which Reinforce++ collapses, share in which StableReinforce holds",
        "above",
        held_where("reinforce_pp"),
        bound=0.5,
    ),
    Claim(
        "lasts_longer",
        "Abstract",
        "These refinements result in more stable training dynamics and superior performance.",
        "steps that StableReinforce lasts beyond Reinforce++ in the stress setting, same fresh seeds",
        "above",
        _lasts_longer,
    ),
    Claim(
        "cold_start_needed",
        "3.2",
        "directly using MLLMs for reinforcement learning training yields poor and unstable results",
        "RL without a cold start - with it, greedy",
        "below",
        difference("no_cold_start", REFERENCE),
    ),
    Claim(
        "filter_needed",
        "C.1",
        "Removing any of these components results in decreased final accuracy",
        "without the advantage filter - StableReinforce, greedy",
        "below",
        difference("wo_filter", REFERENCE),
    ),
    Claim(
        "pre_clip_needed",
        "C.1",
        "Removing any of these components results in decreased final accuracy",
        "without Pre-CLIP - StableReinforce, greedy",
        "below",
        difference("wo_pre_clip", REFERENCE),
    ),
    Claim(
        "pre_clip_bound_minor",
        "C.2",
        "setting pre-clip between 5-10 results in minor impact",
        "|log-ratio| <= 5 - default, greedy",
        "within",
        difference("log_bound_5", REFERENCE),
        bound=MINOR,
    ),
    Claim(
        "pre_clip_bound_large",
        "C.2",
        "if set very large (e.g., 100), performance degenerates to nearly the same as without pre-clip",
        "|log-ratio| <= 100 - default, greedy",
        "below",
        difference("log_bound_100", REFERENCE),
    ),
    Claim(
        "consistency_needed",
        "C.3",
        "We observe that removing this reward leads to a marked performance drop.",
        "weight 0 - weight 0.5, greedy",
        "below",
        difference("weight_0.0", REFERENCE),
    ),
    Claim(
        "consistency_contradictions",
        "3.2",
        "This addition helps ensure that the reasoning process and output align well",
        "contradicted right answers in the last ten steps, weight 0.5 - weight 0, points",
        "below",
        contradictions(REFERENCE, "weight_0.0"),
    ),
    Claim(
        "external_harms",
        "C.3",
        "which misguides optimization and harms performance",
        "external - gated consistency reward, greedy",
        "below",
        difference("external", REFERENCE),
    ),
    Claim(
        "large_weight_harms",
        "C.3",
        "A too large weight (1.0) unduly reduces the importance of accuracy reward.",
        "weight 1.0 - weight 0.5, greedy",
        "below",
        difference("weight_1.0", REFERENCE),
    ),
    Claim(
        "weaker_annotator",
        "C.8",
        "we observe only a slight performance drop when using the weaker annotator",
        "cold start from the weak annotator - from the strong one, greedy",
        "within",
        difference(model_of("weak"), model_of("strong")),
        bound=SLIGHT,
    ),
    Claim(
        "annotator_temperature",
        "C.8",
        "modifications to temperature and prompt settings do not significantly impact SFT results",
        "weak annotator at temperature 1 - greedy first, greedy",
        "within",
        difference(model_of("weak_sampled"), model_of("weak")),
        bound=SLIGHT,
    ),
    Claim(
        "annotator_prompt",
        "C.8",
        "modifications to temperature and prompt settings do not significantly impact SFT results",
        "weak annotator asked in other words - as always, greedy",
        "within",
        difference(model_of("weak_reworded"), model_of("weak")),
        bound=SLIGHT,
    ),
    Claim(
        "weaker_judge",
        "C.11",
        "even the weaker judge provides a high-quality signal, resulting in only a minor performance drop",
        "weaker - strong consistency judge, greedy",
        "above",
        difference("judge_weak", REFERENCE),
        bound=-MINOR_JUDGE,
    ),
    Claim(
        "noisy_judge",
        "C.11",
        "as explicit noise is introduced, the optimal weighting for the consistency reward decreases",
        "25 % flipped: weight 0.25 - weight 0.5, greedy",
        "above",
        difference("judge_noisy", "judge_noisy_0.5"),
    ),
    Claim(
        "random_judge",
        "C.11",
        "any non-zero weight becomes detrimental to performance",
        "random judge at weight 0.5 - weight 0, greedy",
        "below",
        difference("judge_random", "weight_0.0"),
    ),
    *SCALING_CLAIMS,
    *QUALITY_CLAIMS,
)
