"""The checkable sentences of the paper, about training here, each with the quantity that decides it."""

from __future__ import annotations

from functools import partial

from r1reward.report.annotators import model_of
from r1reward.report.claims import LATER_NOTE, Claim
from r1reward.report.measures import (
    change,
    collapses,
    contradictions,
    difference,
    held_where,
    lasts_longer,
    loss_spread,
)
from r1reward.report.paper import paper_difference
from r1reward.report.quality_claims import QUALITY_CLAIMS
from r1reward.report.records import REFERENCE
from r1reward.report.scaling_claims import SCALING_CLAIMS

# Drops that the paper itself calls slight or minor: in Tables 10, 6 and 13.
SLIGHT = 2.24
MINOR = 1.29
MINOR_JUDGE = 0.55
CONTROL_NOTE = "matched by processor time, not by data; in mini the control's rate falls and that of RL stays"
# Rows of the paper's Tables 5 and 7 with which others are compared.
STABLE, LONG_COT = {"model": "StableReinforce"}, {"model": "Only Long-Cot SFT"}
HALF = {"consistency_weight": "0.50"}

CLAIMS = (
    Claim(
        "rl_above_sft",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities",
        "StableReinforce - cold start, greedy",
        "above",
        difference(REFERENCE, "sft"),
        printed=partial(paper_difference, 5, STABLE, LONG_COT),
    ),
    Claim(
        "rl_above_sft_sampled",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities",
        "StableReinforce - cold start, sampled at temperature 1",
        "above",
        difference(REFERENCE, "sft", mode="sampled"),
        printed=partial(paper_difference, 5, STABLE, LONG_COT),
    ),
    Claim(
        "rl_above_continued_sft",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities, "
        "even with the same amount of data",
        "StableReinforce - SFT continued for the same time, greedy",
        "above",
        difference(REFERENCE, "sft_continued"),
        note=CONTROL_NOTE,
    ),
    Claim(
        "rl_above_continued_sft_sampled",
        "4.2",
        "the reinforcement learning-based approach significantly enhances the reward modeling capabilities, "
        "even with the same amount of data",
        "StableReinforce - SFT continued for the same time, sampled at temperature 1",
        "above",
        difference(REFERENCE, "sft_continued", mode="sampled"),
        note=f"{CONTROL_NOTE}; {LATER_NOTE}",
    ),
    Claim(
        "sft_above_reward_model",
        "4.2",
        "our SFT approach shows advantages over both the traditional reward model and MM-RLHF-Reward",
        "cold start - scalar reward model, greedy",
        "above",
        difference("sft", "scalar"),
        printed=partial(paper_difference, 5, LONG_COT, {"model": "Reward Model"}),
    ),
    Claim(
        "sft_above_critique",
        "4.2",
        "our SFT approach shows advantages over both the traditional reward model and MM-RLHF-Reward",
        "cold start - critique-then-score, greedy",
        "above",
        difference("sft", "critique"),
        printed=partial(paper_difference, 5, LONG_COT, {"model": "MM-RLHF-Reward", "data": "R1-Reward-200K"}),
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
        loss_spread,
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
        lasts_longer,
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
        printed=partial(paper_difference, 5, {"model": "wo advantage"}, STABLE),
    ),
    Claim(
        "pre_clip_needed",
        "C.1",
        "Removing any of these components results in decreased final accuracy",
        "without Pre-CLIP - StableReinforce, greedy",
        "below",
        difference("wo_pre_clip", REFERENCE),
        printed=partial(paper_difference, 5, {"model": "wo pre-clip"}, STABLE),
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
        printed=partial(paper_difference, 7, {"consistency_weight": "0.00"}, HALF),
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
        printed=partial(paper_difference, 7, {"consistency_weight": "external"}, HALF),
    ),
    Claim(
        "large_weight_harms",
        "C.3",
        "A too large weight (1.0) unduly reduces the importance of accuracy reward.",
        "weight 1.0 - weight 0.5, greedy",
        "below",
        difference("weight_1.0", REFERENCE),
        printed=partial(paper_difference, 7, {"consistency_weight": "1.00"}, HALF),
    ),
    Claim(
        "weaker_annotator",
        "C.8",
        "we observe only a slight performance drop when using the weaker annotator",
        "cold start from the weak annotator - from the strong one, greedy",
        "within",
        difference(model_of("weak"), model_of("strong")),
        bound=SLIGHT,
        printed=partial(paper_difference, 10, {"annotator": "Qwen2.5-VL-7B"}, {"annotator": "GPT-4o"}),
        note="the paper's weak annotator is a 7B model, this one a tiny model without one of its layers",
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
        printed=partial(
            paper_difference,
            13,
            {"judge": "Weaker Judge (Qwen2.5-VL-3B, clean)"},
            {"judge": "Strong Judge (Qwen2.5-VL-7B, clean)"},
        ),
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
