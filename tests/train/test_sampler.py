"""Rollouts by an older policy, and by rounded weights: which weights sampled, against a loop by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, World, new_learner, score_by_tokens
from safetensors.torch import load_file
from torch import Tensor

from r1reward.data.storage import read_pairs
from r1reward.engines.loading import load_model
from r1reward.engines.log_probs import PolicyOutput, policy_forward
from r1reward.files import read_jsonl
from r1reward.settings import LoraSettings
from r1reward.train import rl
from r1reward.train.checkpoint import load_policy
from r1reward.train.learner import UNKNOWN, Learner, choose_prompts
from r1reward.train.sampler import EARLIER, Sampler

Weights = dict[str, Tensor]


def weights_of(model: Any) -> Weights:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def lagged(world: World, **changes: Any) -> Learner:
    return new_learner(world, RL.model_copy(update=changes))


def begin_step(learner: Learner, world: World, step: int) -> tuple[list[list[rl.Chunk]], list[Any]]:
    """Mini-batches, ready for their updates, and trajectories of a step."""
    items = choose_prompts(read_pairs(world.pairs), learner, step)
    trajectories = score_by_tokens(items, rl.rollout(learner, items, step))
    minibatches = rl.prepare(learner, trajectories, step)
    chunks = [chunk for minibatch in minibatches for chunk in minibatch]
    rl.advantages(chunks, trajectories, settings=learner.settings)
    return minibatches, trajectories


def forward(model: Any, chunk: rl.Chunk) -> PolicyOutput:
    with torch.no_grad():
        return policy_forward(model, chunk.batch, responses=chunk.responses, mask=chunk.mask)


@pytest.mark.parametrize("lag", [1, 2])
def test_a_rollout_is_sampled_and_weighed_by_the_policy_of_so_many_rollouts_ago(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    """Four steps of `train_rl` against a loop with a second model that is given its weights by hand."""
    monkeypatch.setattr(rl.JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
    settings = RL.model_copy(update={"rollout_lag": lag, "epochs": 2, "inner_epochs": 2})
    known = {"settings": settings, "model_settings": MODEL, "engine_settings": ENGINE, "seed": 1}
    model = rl.train_rl(world.model, world.pairs, out=tmp_path, **known).model
    rows = read_jsonl(tmp_path / "metrics.jsonl")

    learner, behaviour = (lagged(world, epochs=2, inner_epochs=2) for _ in range(2))
    learner.engine = behaviour.engine
    after = [weights_of(learner.model)]
    for step, row in enumerate(rows, start=1):
        behaviour.model.load_state_dict(after[max(0, step - 1 - lag)], strict=False)
        minibatches, trajectories = begin_step(learner, world, step)
        for chunk in (chunk for minibatch in minibatches for chunk in minibatch):
            chunk.old = forward(behaviour.model, chunk)
        updates = [rl.update(learner, part) for _ in range(2) for part in minibatches]
        after.append(weights_of(learner.model))
        assert row["reward"] == sum(one.reward for one in trajectories) / len(trajectories)
        assert row["log_ratio_max"] == max(one["log_ratio_max"] for one in updates)
    assert len(rows) == 4 and same(weights_of(load_model(model)[0]), after[-1])


def test_what_is_recorded_of_ratios_counts_the_distance_to_the_older_policy(world: World) -> None:
    """Before the first update of the third step, against shares that are counted here."""
    sizes = {"train_batch_size": 8, "micro_batch_size": 8, "learning_rate": 0.01, "warmup_ratio": 0.0}
    learner = lagged(world, rollout_lag=2, pre_clip=1.5, **sizes)
    for step in (1, 2):
        for minibatch in begin_step(learner, world, step)[0]:
            rl.update(learner, minibatch)
    (((chunk,),), _) = begin_step(learner, world, 3)
    assert chunk.old is not UNKNOWN
    log_ratio = (forward(learner.model, chunk).log_probs - chunk.old.log_probs)[chunk.mask]
    bad = chunk.advantages[chunk.mask] < 0
    row, tokens = rl.update(learner, [chunk]), len(log_ratio)
    assert row["log_ratio_max"] == pytest.approx(float(log_ratio.abs().max()), abs=1e-4)
    for name, bound in {"high_negative_share": 1.2, "pre_clip_high_negative": 1.5}.items():
        share = int((bad & (log_ratio.exp() > bound)).sum()) / tokens
        assert row[name] == pytest.approx(share) and share > 0, name


def test_without_lag_and_rounding_the_policy_samples_itself(world: World, tmp_path: Path) -> None:
    learner = lagged(world)
    assert learner.engine.model is learner.model and not learner.sampler.apart
    learner.sampler.save(tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("lag", [0, 2])
def test_a_checkpoint_holds_the_weights_that_are_still_needed(world: World, tmp_path: Path, lag: int) -> None:
    """After three steps of lag 2: those before the second and the third, as the policy's own are the next."""
    learner = lagged(world, rollout_lag=lag, rollout_precision="float16")
    before = []
    for step in (1, 2, 3):
        before.append(weights_of(learner.model))
        for minibatch in begin_step(learner, world, step)[0]:
            rl.update(learner, minibatch)
    learner.sampler.save(tmp_path)
    if lag == 0:
        assert not any(tmp_path.iterdir())
        return
    saved = load_file(tmp_path / EARLIER)
    expected = {f"{place}.{name}": v for place, one in enumerate(before[1:]) for name, v in one.items()}
    assert saved.keys() == expected.keys() and same(saved, expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_rounded_weights_sample_and_the_policy_keeps_its_own(world: World, precision: Any) -> None:
    learner, dtype = lagged(world, rollout_precision=precision), getattr(torch, precision)
    for step in (1, 2):
        own = weights_of(learner.model)
        minibatches, trajectories = begin_step(learner, world, step)
        rounded = {name: value.to(dtype).float() for name, value in own.items()}
        assert same(weights_of(learner.engine.model), rounded) and not same(rounded, own)
        assert same(weights_of(learner.model), own)
        for chunk in (chunk for minibatch in minibatches for chunk in minibatch):
            mismatch = (forward(learner.model, chunk).log_probs - chunk.old.log_probs).abs().max()
            assert 1e-5 < float(mismatch) < 0.5
            for place, row in enumerate(chunk.rows):
                said = torch.tensor(trajectories[row].completion.log_probs)
                torch.testing.assert_close(
                    chunk.old.log_probs[place, chunk.mask[place]], said, atol=1e-4, rtol=0
                )
        assert rl.update(learner, minibatches[0])["log_ratio_max"] > 1e-5
    assert not same(weights_of(learner.model), own)
    assert {value.dtype for value in learner.model.parameters()} == {torch.float32}


def test_adapters_alone_are_remembered(world: World, tmp_path: Path) -> None:
    """The frozen weights below them are the same ones, rounded once."""
    pytest.importorskip("peft")
    settings = RL.model_copy(update={"rollout_lag": 1, "rollout_precision": "bfloat16"})
    model_settings = MODEL.model_copy(update={"lora": LoraSettings(rank=2)})
    model, _ = load_policy(world.model, checkpoint=None, settings=model_settings, seed=1)
    sampler = Sampler(model, settings)
    for _ in range(2):
        sampler.follow()
    sampler.save(tmp_path)
    adapters = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {key.partition(".")[2] for key in load_file(tmp_path / EARLIER)} == adapters != set()
    rounded = {name: value.bfloat16().to(value.dtype) for name, value in model.named_parameters()}
    assert same(weights_of(sampler.model), rounded)
    assert not any(value.requires_grad for value in sampler.model.parameters())
