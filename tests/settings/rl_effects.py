"""What each setting of `rl` does to the smallest real run of `train_rl`."""

from __future__ import annotations

import pytest
import torch
from helpers import score_by_tokens
from studio import Changes, Studio, Trained, differ, effect, watch_engine

from r1reward.engines.log_probs import policy_forward
from r1reward.files import read_jsonl
from r1reward.train import rl
from r1reward.train.learner import Learner
from r1reward.types import Completion

TWICE = {"rl.inner_epochs": 2}
GROUPS = {"rl.algorithm": "grpo", "rl.samples_per_prompt": 3}


def clipped(trained: Trained) -> float:
    """Shares of tokens whose ratio Pre-CLIP bounded, all four kinds together."""
    return sum(value for row in trained.rows for name, value in row.items() if name.startswith("pre_clip_"))


def first_update(studio: Studio, changes: Changes) -> tuple[Learner, dict[str, float]]:
    """A learner after its first update, with that update's metrics."""
    learner, pairs = studio.learner(changes), studio.pairs()[:4]
    trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
    minibatches = rl.prepare(learner, trajectories, 1)
    chunks = [chunk for minibatch in minibatches for chunk in minibatch]
    rl.advantages(chunks, trajectories, settings=learner.settings)
    return learner, rl.update(learner, minibatches[0])


@effect("rl.algorithm")
def each_algorithm_leads_to_other_weights(studio: Studio) -> None:
    """REINFORCE, Reinforce++ and GRPO from the same answers; PPO's surrogate is that of Reinforce++."""
    names = ("reinforce", "reinforce_pp", "grpo", "ppo")
    one, other, third, ppo = (
        studio.rl({**TWICE, "rl.samples_per_prompt": 3, "rl.algorithm": name}) for name in names
    )
    assert differ(one, other) and differ(other, third) and differ(one, third) and not differ(other, ppo)


@effect("rl.learning_rate")
def the_first_adam_step_moves_weights_by_the_rate(studio: Studio) -> None:
    """A single update changes the weight with a clear gradient by the rate itself."""
    for rate in (1e-3, 2e-4):
        trained = studio.rl({"rl.train_batch_size": 4, "rl.learning_rate": rate})
        assert trained.moved(studio.start) == pytest.approx(rate, rel=0.02)
        assert [row["learning_rate"] for row in trained.rows] == [rate]


@effect("rl.rollout_batch_size", "rl.samples_per_prompt", "rl.max_steps")
def so_many_prompts_are_answered_so_often_in_so_many_rollouts(studio: Studio) -> None:
    """Counted where answers are generated: (prompts, answers) of each rollout."""
    for size, samples, steps in ((4, 1, 1), (2, 3, 2)):
        sizes = {"rl.rollout_batch_size": size, "rl.samples_per_prompt": samples, "rl.max_steps": steps}
        # Another seed: a run that was made before would generate nothing.
        with watch_engine() as calls:
            studio.rl(sizes, seed=11)
        asked = [(len(call.requests), {len(answers) for answers in call.completions}) for call in calls]
        assert asked == [(size, {samples})] * steps


@effect("rl.train_batch_size", "rl.inner_epochs")
def a_rollout_is_updated_on_in_parts_and_passes(studio: Studio) -> None:
    """Rollouts of four samples: parts of two are two updates, two passes are four."""
    updates = {
        (size, passes): studio.rl({"rl.train_batch_size": size, "rl.inner_epochs": passes}).updates()
        for size in (2, 4)
        for passes in (1, 2)
    }
    assert updates == {(2, 1): 2, (2, 2): 4, (4, 1): 1, (4, 2): 2}


@effect("rl.micro_batch_size")
def a_forward_pass_takes_so_many_samples(studio: Studio) -> None:
    """Seen in the parts that the updates go through."""
    for size in (1, 2):
        learner, pairs = studio.learner({"rl.micro_batch_size": size}), studio.pairs()[:4]
        trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
        minibatches = rl.prepare(learner, trajectories, 1)
        assert [[len(chunk.rows) for chunk in part] for part in minibatches] == [[size] * (2 // size)] * 2


@effect("rl.epochs")
def so_many_passes_over_the_pairs(studio: Studio) -> None:
    """Eight pairs in rollouts of four."""
    steps = {n: studio.rl({"rl.epochs": n, "rl.max_steps": None}).status["step"] for n in (1, 2)}
    assert steps == {1: 2, 2: 4}


@effect("rl.temperature")
def rollout_old_and_new_log_probs_are_at_the_temperature(studio: Studio) -> None:
    """Against the model's own forward at that temperature, and the ratio of the first update is 1."""
    kept = {}
    for temperature in (1.0, 0.25):
        # A KL penalty, so that old log-probs have a forward of their own.
        changes = {"rl.temperature": temperature, "rl.kl_coef": 0.1, "rl.train_batch_size": 4}
        learner, pairs = studio.learner(changes), studio.pairs()[:4]
        trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
        ((chunk, *others),) = rl.prepare(learner, trajectories, 1)
        with torch.no_grad():
            own = policy_forward(
                learner.model,
                chunk.batch,
                responses=chunk.responses,
                mask=chunk.mask,
                temperature=temperature,
            ).log_probs
        sampled = torch.tensor([trajectories[row].completion.log_probs for row in chunk.rows])
        torch.testing.assert_close(sampled, own[chunk.mask].view_as(sampled), atol=1e-4, rtol=0)
        torch.testing.assert_close(chunk.old.log_probs, own, atol=1e-5, rtol=0)
        rl.advantages([chunk, *others], trajectories, settings=learner.settings)
        assert rl.update(learner, [chunk, *others])["approx_kl"] == pytest.approx(0, abs=1e-7)
        kept[temperature] = sampled
    assert float(kept[0.25].mean()) > float(kept[1.0].mean()) + 0.5, "a low temperature picks likely tokens"


@effect("rl.rollout_lag", "rl.rollout_precision")
def answers_come_from_older_or_rounded_weights(studio: Studio) -> None:
    """Of the second rollout: sampled by the start's weights under lag, and by rounded ones."""
    start = studio.learner().model.state_dict()
    for changes in ({"rl.rollout_lag": 1}, {"rl.rollout_precision": "bfloat16"}):
        learner, _ = first_update(studio, changes)
        rl.rollout(learner, studio.pairs()[:4], 2)
        policy = learner.model.state_dict()
        lagged = "rl.rollout_lag" in changes
        expected = {name: start[name] if lagged else policy[name].bfloat16().float() for name in start}
        sampled = learner.engine.model.state_dict()
        assert all(torch.equal(sampled[name], expected[name]) for name in start)
        assert any(not torch.equal(policy[name], expected[name]) for name in start)


@effect("rl.clip_eps")
def ratios_are_clipped_at_the_range(studio: Studio) -> None:
    """In a second pass ratios have moved: many leave a range of 1e-6, few one of 0.99."""
    slow = {**TWICE, "rl.learning_rate": 1e-4}
    narrow, wide = (studio.rl({**slow, "rl.clip_eps": value}) for value in (1e-6, 0.99))
    assert narrow.rows[0]["clip_share"] > 3 * wide.rows[0]["clip_share"]
    assert differ(narrow, wide)


@effect("rl.pre_clip")
def ratios_are_bounded_before_the_exponential(studio: Studio) -> None:
    """A bound of 1 + 1e-6 acts, 1e3 does not, and "off" takes the same steps as one that never acts."""
    tight, loose, off = (studio.rl({**TWICE, "rl.pre_clip": value}) for value in (1 + 1e-6, "default", "off"))
    assert clipped(tight) > 0 and clipped(loose) == 0
    assert differ(tight, loose) and not differ(loose, off)


@effect("rl.advantage_limit")
def advantages_beyond_the_limit_count_nothing(studio: Studio) -> None:
    """The filter's shares are recorded, and the steps are others."""
    tight, loose = (studio.rl({"rl.advantage_limit": value}) for value in (0.9, "off"))
    row = tight.rows[0]
    assert row["filtered_positive"] + row["filtered_negative"] > 0
    assert loose.rows[0]["filtered_positive"] == loose.rows[0]["filtered_negative"] == 0
    assert differ(tight, loose)


@effect("rl.kl_coef")
def a_penalty_holds_the_policy_at_its_start(studio: Studio) -> None:
    """In GRPO's loss and, from the second rollout on, in the reward of the others."""
    for algorithm in ("grpo", "reinforce_pp"):
        base = {"rl.max_steps": 2, "rl.samples_per_prompt": 2, "rl.algorithm": algorithm}
        weak, strong = (studio.rl({**base, "rl.kl_coef": value}) for value in (0.1, 50.0))
        assert differ(weak, strong), algorithm
    assert studio.learner({"rl.kl_coef": 0.0}).reference is None


@effect("rl.normalize_groups")
def grpo_divides_by_the_deviation_of_a_group_or_not(studio: Studio) -> None:
    """Undivided advantages are differences of rewards, which are at most 1.5."""
    one, other = (studio.rl({**GROUPS, "rl.normalize_groups": value}) for value in (True, False))
    assert one.rows[0]["z_max"] != other.rows[0]["z_max"] and differ(one, other)


RIGHT = "<think>response {0} is better .</think><answer>{0}</answer>"
CONTRADICTED = "<think>response {1} is better .</think><answer>{0}</answer>"
WRONG = "<think>response {1} is better .</think><answer>{1}</answer>"
LONG = "<think>hm hm hm hm . response {1} is better .</think><answer>{1}</answer>"


def row_of_scripted_answers(studio: Studio, changes: Changes) -> dict[str, float]:
    """The record of a rollout whose four answers are right, contradicted, and wrong twice, once at length."""
    profile = studio.profile(changes)

    def answer(learner: Learner, items: list, step: int) -> list[tuple[Completion, ...]]:
        texts = [RIGHT, CONTRADICTED, WRONG, LONG]
        said = [
            text.format(item.preferred, 3 - item.preferred) for text, item in zip(texts, items, strict=True)
        ]
        ids = [tuple(learner.processor.tokenizer(text)["input_ids"]) for text in said]
        return [(Completion(t, i, (0.0,) * len(i), "stop"),) for t, i in zip(said, ids, strict=True)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl, "rollout", answer)
        sections = {"model_settings": profile.model, "engine_settings": profile.engine}
        known = {"settings": profile.rl, **sections, "seed": 1}
        out = studio.fresh()
        rl.train_rl(studio.world.model, studio.world.pairs, out=out, **known)
    (row,) = read_jsonl(out / "metrics.jsonl")
    return row


@effect("rl.consistency_weight", "rl.external_consistency", "rl.contradicted_reward")
def consistency_is_worth_its_weight_inside_or_outside_the_gate(studio: Studio) -> None:
    """Right and consistent 1 + w, contradicted 1 + w c, wrong and consistent 0 or, outside, w; format 0.5."""
    for weight, external, lost in (
        (0.5, False, 0.0),
        (0.125, False, 0.0),
        (0.5, True, 0.0),
        (0.5, False, -1.0),
    ):
        changes = {
            "rl.consistency_weight": weight,
            "rl.external_consistency": external,
            "rl.contradicted_reward": lost,
        }
        mean = row_of_scripted_answers(studio, changes)["reward"]
        by_hand = (1 + weight + 1 + weight * lost + 2 * (weight if external else 0)) / 4 + 0.5
        assert mean == pytest.approx(by_hand)


@effect("rl.loss_reduction")
def long_answers_weigh_more_or_as_much_as_others(studio: Studio) -> None:
    """One of four answers is longer: another gradient."""
    sizes = {"rl.train_batch_size": 4, "rl.micro_batch_size": 4}
    norms = [
        row_of_scripted_answers(studio, {**sizes, "rl.loss_reduction": how})["grad_norm"]
        for how in ("token", "response")
    ]
    assert norms[0] != pytest.approx(norms[1], rel=1e-3)


@effect("rl.collapse_patience")
def a_run_of_fallen_answers_ends_or_goes_on(studio: Studio) -> None:
    """No answer of the untrained model comes to an end."""
    ended, whole = (studio.rl({"rl.collapse_patience": value, "rl.max_steps": 2}) for value in (1, 0))
    assert (ended.status["status"], ended.status["step"]) == ("collapsed", 1)
    assert (whole.status["status"], whole.status["step"]) == ("finished", 2)


@effect("rl.max_grad_norm")
def gradients_are_scaled_down_to_the_norm(studio: Studio) -> None:
    """The optimizer saw gradients of this norm; the record holds that before."""
    for limit in (1e-3, 1e6):
        learner, row = first_update(studio, {"rl.max_grad_norm": limit})
        seen = [parameter.grad for parameter in learner.model.parameters() if parameter.grad is not None]
        norm = float(torch.stack([gradient.norm() for gradient in seen]).norm())
        assert norm == pytest.approx(min(limit, row["grad_norm"]), rel=1e-3) and row["grad_norm"] > 1e-3


@effect("rl.warmup_ratio", "rl.schedule")
def the_rate_of_the_optimizer_rises_then_stays_or_falls(studio: Studio) -> None:
    """Four updates, two a step, the last of each recorded; a cosine from 1 to 0.1 is at 0.1 + 0.9 * 3/4 after
    a third of the way."""
    sizes = {"rl.max_steps": 2, "rl.train_batch_size": 2}
    rates = {
        (warmup, schedule): [
            row["learning_rate"] / 1e-3
            for row in studio.rl({**sizes, "rl.warmup_ratio": warmup, "rl.schedule": schedule}).rows
        ]
        for warmup, schedule in ((0.0, "constant"), (1.0, "constant"), (0.25, "cosine"))
    }
    assert rates[0.0, "constant"] == pytest.approx([1, 1])
    assert rates[1.0, "constant"] == pytest.approx([0.5, 1])
    # One update of warm-up; the fourth is two thirds of the way down.
    assert rates[0.25, "cosine"] == pytest.approx([1, 0.1 + 0.9 * 0.25])
    learner, row = first_update(studio, {"rl.warmup_ratio": 1.0})
    assert {group["lr"] for group in learner.optimizer.param_groups} == {row["learning_rate"]} == {0.5e-3}


@effect("rl.save_steps")
def a_checkpoint_after_so_many_rollouts(studio: Studio) -> None:
    """Of three rollouts; the last is always saved."""
    saved = {
        n: studio.rl({"rl.epochs": 2, "rl.max_steps": 3, "rl.save_steps": n}).checkpoints() for n in (2, 9)
    }
    assert saved == {2: ["step_000002", "step_000003"], 9: ["step_000003"]}
