import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from helpers import ENGINE, MODEL, RL, World, new_learner, score_by_tokens, without_time
from PIL import Image
from safetensors.torch import load_file

from r1reward.algo.losses import LOSSES
from r1reward.data.storage import read_pairs
from r1reward.engines.inputs import encode
from r1reward.engines.loading import load_model
from r1reward.engines.log_probs import policy_forward
from r1reward.files import read_json, read_jsonl, write_json
from r1reward.judge.consistency_judges import RandomConsistencyJudge
from r1reward.train import monitor, rl
from r1reward.train.learner import UNKNOWN, Learner, choose_prompts
from r1reward.types import PreferencePair

GOLDEN = Path(__file__).parent.parent / "golden/rl_trajectory.json"
UPDATE_GOLDEN = "R1REWARD_UPDATE_GOLDEN"
SPEC_KEYS = {
    "step", "reward", "reward_result", "reward_format", "reward_consistency", "accuracy", "response_length",
    "truncated_share", "policy_loss", "policy_loss_max", "grad_norm", "entropy", "approx_kl", "clip_share",
    "pre_clip_high_positive", "pre_clip_high_negative", "pre_clip_low_positive", "pre_clip_low_negative",
    "high_negative_share",
    "filtered_positive", "filtered_negative", "z_min", "z_max", "answer_one_share", "unparsed_share",
    "judge_unknown", "learning_rate", "log_ratio_max", "tokens_per_second", "rollout_seconds",
    "update_seconds", "seconds", "cpu_seconds",
}  # fmt: skip


def train(world: World, out: Path, **changes: Any) -> rl.RLResult:
    settings = RL.model_copy(update=changes)
    return rl.train_rl(
        world.model,
        world.pairs,
        out=out,
        settings=settings,
        model_settings=MODEL,
        engine_settings=ENGINE,
        seed=1,
    )


@pytest.fixture
def easy_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl.JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))


def log_ratios(learner: Learner, chunks: Sequence[rl.Chunk]) -> torch.Tensor:
    parts = []
    with torch.no_grad():
        for chunk in chunks:
            new = policy_forward(learner.model, chunk.batch, responses=chunk.responses, mask=chunk.mask)
            parts.append((new.log_probs - chunk.old.log_probs)[chunk.mask])
    return torch.cat(parts)


def test_ratio_is_one_on_the_first_minibatch_and_not_on_the_second(world: World) -> None:
    learner = new_learner(world)
    pairs = choose_prompts(read_pairs(world.pairs), learner, 1)
    trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
    first, second = rl.prepare(learner, trajectories, 1)
    rl.advantages([*first, *second], trajectories, settings=RL)
    row = rl.update(learner, first)
    assert row["approx_kl"] == 0.0 and row["clip_share"] == 0.0
    assert float(log_ratios(learner, first).abs().max()) > 1e-3
    assert float(log_ratios(learner, second).abs().max()) > 1e-3
    assert rl.update(learner, second)["approx_kl"] > 1e-6


def test_old_log_probs_of_the_first_minibatch_are_those_before_its_update(world: World) -> None:
    """A KL penalty needs them beforehand; without one they come with the update, and are the same."""
    pairs = read_pairs(world.pairs)[:8]
    olds = []
    for kl_coef in (0.0, 0.1):
        learner = new_learner(world, RL.model_copy(update={"kl_coef": kl_coef}))
        trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
        first, second = rl.prepare(learner, trajectories, 1)
        assert all((chunk.old is UNKNOWN) == (kl_coef == 0) for chunk in first)
        assert not any(chunk.old is UNKNOWN for chunk in second)
        rl.advantages([*first, *second], trajectories, settings=learner.settings)
        for chunk in first:
            chunk.advantages = chunk.mask.float()
        rl.update(learner, first)
        olds.append([chunk.old for chunk in first])
    for now, before in zip(*olds, strict=True):
        torch.testing.assert_close(now.log_probs, before.log_probs, atol=1e-6, rtol=0)
        torch.testing.assert_close(now.entropy, before.entropy, atol=1e-6, rtol=0)
        assert not now.log_probs.requires_grad


def test_old_log_probs_are_those_of_the_engine(world: World) -> None:
    learner = new_learner(world, RL.model_copy(update={"kl_coef": 0.1}))
    pairs = read_pairs(world.pairs)[:8]
    trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 3))
    for chunk in (chunk for minibatch in rl.prepare(learner, trajectories, 3) for chunk in minibatch):
        for place, row in enumerate(chunk.rows):
            sampled = torch.tensor(trajectories[row].completion.log_probs)
            torch.testing.assert_close(
                chunk.old.log_probs[place, chunk.mask[place]].cpu(), sampled, atol=1e-4, rtol=0
            )


@pytest.mark.parametrize("reduction", ["token", "response"])
def test_microbatches_do_not_change_an_update(world: World, reduction: str) -> None:
    pairs = read_pairs(world.pairs)[:8]
    results = []
    for micro in (1, 4):
        changes = {"micro_batch_size": micro, "loss_reduction": reduction}
        learner = new_learner(world, RL.model_copy(update=changes))
        trajectories = uneven(score_by_tokens(pairs, rl.rollout(learner, pairs, 1)))
        minibatches = rl.prepare(learner, trajectories, 1)
        rl.advantages([c for m in minibatches for c in m], trajectories, settings=learner.settings)
        results.append((rl.update(learner, minibatches[0]), [p.grad for p in learner.model.parameters()]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4, abs=1e-6)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_the_reduction_of_the_loss_reaches_the_gradient(world: World) -> None:
    pairs, gradients = read_pairs(world.pairs)[:8], {}
    for reduction in ("token", "response"):
        learner = new_learner(world, RL.model_copy(update={"loss_reduction": reduction}))
        trajectories = uneven(score_by_tokens(pairs, rl.rollout(learner, pairs, 1)))
        minibatches = rl.prepare(learner, trajectories, 1)
        rl.advantages([c for m in minibatches for c in m], trajectories, settings=learner.settings)
        rl.update(learner, minibatches[0])
        gradients[reduction] = [p.grad for p in learner.model.parameters() if p.grad is not None]
    pairs_of = zip(gradients["token"], gradients["response"], strict=True)
    assert not all(torch.allclose(one, other, rtol=1e-2) for one, other in pairs_of)


def uneven(trajectories: Sequence[Any]) -> list[Any]:
    """The same with answers of two to six tokens."""
    cut = []
    for index, one in enumerate(trajectories):
        length, said = 2 + index % 5, one.completion
        shorter = replace(said, token_ids=said.token_ids[:length], log_probs=said.log_probs[:length])
        cut.append(replace(one, completion=shorter))
    return cut


@pytest.mark.usefixtures("easy_reward")
def test_a_resumed_run_keeps_the_start_as_its_reference(world: World, tmp_path: Path) -> None:
    """The policy goes on from the checkpoint; the KL penalty is against where it came from."""
    train(world, tmp_path, max_steps=1, save_steps=1)
    checkpoint = tmp_path / "checkpoints/step_000001"
    settings = RL.model_copy(update={"kl_coef": 0.1})
    learner = new_learner(world, settings, checkpoint=checkpoint)
    start, trained = (load_model(folder)[0].state_dict() for folder in (world.model, checkpoint))
    policy, reference = learner.model.state_dict(), learner.reference.state_dict()
    assert all(torch.equal(policy[name], trained[name]) for name in trained)
    assert all(torch.equal(reference[name], start[name]) for name in start)
    assert any(not torch.equal(trained[name], start[name]) for name in start)


def plain_loss(algorithm: str, new: torch.Tensor, chunk: rl.Chunk) -> torch.Tensor:
    """Loss of each token (B, T), written down from the paper's section 2 for a range of 0.1, KL at 0.1."""
    ratio, z = torch.exp(new - chunk.old.log_probs), chunk.advantages
    if algorithm == "reinforce":
        return -new * z
    surrogate = -torch.minimum(ratio * z, ratio.clamp(0.9, 1.1) * z)
    if algorithm in ("ppo", "reinforce_pp", "stable_reinforce"):
        return surrogate
    assert algorithm == "grpo", f"write down the loss of {algorithm} here"
    assert chunk.reference is not None
    return surrogate + 0.1 * (torch.exp(chunk.reference - new) - (chunk.reference - new) - 1)


@pytest.mark.parametrize("algorithm", LOSSES)
def test_every_algorithm_takes_the_gradient_of_its_loss(world: World, algorithm: Any) -> None:
    """Loss and gradient of a second mini-batch, whose ratios are not 1, against plain formulas."""
    settings = RL.model_copy(
        update={"algorithm": algorithm, "samples_per_prompt": 2, "kl_coef": 0.1, "clip_eps": 0.1}
    )
    learner, pairs = new_learner(world, settings), read_pairs(world.pairs)[:4]
    trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
    first, second = rl.prepare(learner, trajectories, 1)
    rl.advantages([*first, *second], trajectories, settings=settings)
    rl.update(learner, first)
    learner.model.zero_grad()
    tokens = sum(int(chunk.mask.sum()) for chunk in second)
    total, distances = 0.0, []
    for chunk in second:
        # A prompt of its own for each sample.
        asked = encode(
            learner.processor, [learner.task.request(trajectories[row].item) for row in chunk.rows]
        )
        new = policy_forward(learner.model, asked, responses=chunk.responses, mask=chunk.mask).log_probs
        loss = plain_loss(algorithm, new, chunk)[chunk.mask].sum() / tokens
        loss.backward()
        total += float(loss)
        distances.append((new - chunk.old.log_probs)[chunk.mask].abs().max())
    assert max(distances) > 0.1
    grads = [parameter.grad for parameter in learner.model.parameters() if parameter.grad is not None]
    norm = float(torch.stack([grad.norm() for grad in grads]).norm())
    row = rl.update(learner, second)
    assert row["policy_loss"] == pytest.approx(total, rel=1e-3, abs=1e-5)
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-3)


@pytest.mark.usefixtures("easy_reward")
def test_stable_reinforce_without_its_parts_is_reinforce_pp(world: World, tmp_path: Path) -> None:
    runs: dict[str, dict[str, Any]] = {
        "bare": {"algorithm": "stable_reinforce", "pre_clip": "off", "advantage_limit": "off"},
        "reinforce_pp": {"algorithm": "reinforce_pp"},
    }
    models = [train(world, tmp_path / name, max_steps=2, **changes).model for name, changes in runs.items()]
    one, other = (load_file(model / "model.safetensors") for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("easy_reward")
def test_a_loss_that_is_not_finite_stops_the_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss: Callable[..., Any] = rl.policy_loss
    calls = 0

    def breaks(name: Any, log_probs: torch.Tensor, **others: Any) -> Any:
        nonlocal calls
        calls += 1
        return loss(name, log_probs * (torch.inf if calls == 6 else 1.0), **others)

    monkeypatch.setattr(rl, "policy_loss", breaks)
    result = train(world, tmp_path, algorithm="reinforce")
    assert (result.status, result.steps) == ("collapsed", 2)
    status = read_json(tmp_path / "status.json")
    assert (status["status"], status["step"], status["reason"]) == ("collapsed", 2, result.reason)
    assert "not finite" in result.reason
    evidence = read_json(tmp_path / "collapse/step_2.json")
    assert evidence["reason"] == "the loss is not finite"
    tensors = load_file(tmp_path / "collapse/step_2.safetensors")
    assert {"old_log_probs", "advantages", "responses", "mask", "log_probs"} <= set(tensors)
    weights = load_file(result.model / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert [row["step"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [1]
    monkeypatch.setattr(rl, "make_learner", None)
    assert train(world, tmp_path, algorithm="reinforce") == result
    assert [row["step"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [1]


@pytest.mark.usefixtures("easy_reward")
def test_a_model_of_nans_is_a_collapse(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = rl.rollout

    def spoiled(learner: Learner, pairs: Sequence[PreferencePair], step: int) -> Any:
        torch.nn.init.constant_(learner.model.model.language_model.norm.weight, torch.nan)
        return rollout(learner, pairs, step)

    monkeypatch.setattr(rl, "rollout", spoiled)
    assert train(world, tmp_path).status == "collapsed"
    assert "probabilities are not finite" in read_json(tmp_path / "collapse/step_1.json")["reason"]


def test_a_faulty_row_costs_that_row(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At mini's pixels a picture of 4000 x 20 cannot be shown."""
    lines = world.pairs.read_text().splitlines()
    thin = json.loads(lines[0]) | {"images": [str(tmp_path / "thin.png")], "frames": []}
    Image.new("RGB", (4000, 20)).save(tmp_path / "thin.png")
    path = world.pairs.with_name("faulty.jsonl")
    path.write_text("\n".join([lines[0], json.dumps(thin), "{", *lines[1:]]))
    trained: list[Any] = []
    choose = rl.choose_prompts

    def watched(items: Sequence[PreferencePair], learner: Learner, step: int) -> Any:
        trained.append(items)
        return choose(items, learner, step)

    monkeypatch.setattr(rl, "choose_prompts", watched)
    rl.train_rl(
        world.model,
        path,
        out=tmp_path,
        settings=RL.model_copy(update={"max_steps": 1}),
        model_settings=MODEL.model_copy(update={"max_pixels": 7056}),
        engine_settings=ENGINE,
        seed=1,
    )
    assert trained == [read_pairs(world.pairs)]
    used = read_json(tmp_path / "status.json")["used"]
    assert used["items"] == 16 and used["left_out"] == {"picture too narrow": 1, "not JSON": 1}
    assert "2 of 18 rows are faulty" in caplog.text and "row 2: picture" in caplog.text


def test_a_run_with_other_settings_is_another_run(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    """By what a folder is compared with, before anything is trained in it."""
    keys = []
    monkeypatch.setattr(rl.checkpoint, "open_run", lambda out, key, **_: keys.append(json.dumps(key)))
    monkeypatch.setattr(rl.checkpoint, "final_status", lambda *_: {"status": "finished", "step": 1})
    known = {"settings": RL, "model_settings": MODEL, "engine_settings": ENGINE, "seed": 1}
    changes: list[dict[str, Any]] = [
        {},
        {"settings": RL.model_copy(update={"clip_eps": 0.1})},
        {"model_settings": MODEL.model_copy(update={"prompt": "reworded"})},
        {"engine_settings": ENGINE.model_copy(update={"max_new_tokens": 7})},
        {"seed": 2},
        {"judge": RandomConsistencyJudge(seed=0)},
    ]
    for change in changes:
        rl.train_rl(world.model, world.pairs, out=tmp_path, **(known | change))
    assert len(set(keys)) == len(changes)


@pytest.mark.usefixtures("easy_reward")
def test_golden_trajectory(world: World, tmp_path: Path) -> None:
    """Four steps against the committed ones. R1REWARD_UPDATE_GOLDEN=1 writes them anew."""
    train(world, tmp_path, epochs=2)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert all(set(row) >= SPEC_KEYS for row in rows)
    measured = without_time(rows)
    if os.environ.get(UPDATE_GOLDEN):
        environment = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        }
        write_json(GOLDEN, {"environment": environment, "rows": json.loads(json.dumps(measured))})
    golden = read_json(GOLDEN)["rows"]
    assert [row["step"] for row in golden] == [1, 2, 3, 4]
    for row, expected in zip(measured, golden, strict=True):
        assert row == pytest.approx(expected, rel=2e-2, abs=2e-4)


@pytest.mark.usefixtures("easy_reward")
def test_a_run_whose_answers_fall_apart_is_stopped(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "MAX_TRUNCATED_SHARE", -1.0)
    result = train(world, tmp_path, collapse_patience=1)
    assert (result.status, result.steps) == ("collapsed", 1)
    assert "cut off" in result.reason and not (tmp_path / "collapse").exists()
    assert train(world, tmp_path, collapse_patience=1) == result


@pytest.mark.usefixtures("easy_reward")
def test_a_resumed_run_remembers_how_its_answers_fell_apart(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps running, with a kill between them."""
    monkeypatch.setattr(monitor, "MAX_TRUNCATED_SHARE", -1.0)
    take_step = rl.take_step

    def killed(learner: Learner, items: Sequence[Any], step: int) -> dict[str, float]:
        if step == 2:
            raise KeyboardInterrupt
        return take_step(learner, items, step)

    monkeypatch.setattr(rl, "take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(world, tmp_path, collapse_patience=2, save_steps=1)
    monkeypatch.setattr(rl, "take_step", take_step)
    result = train(world, tmp_path, collapse_patience=2, save_steps=1)
    assert (result.status, result.steps) == ("collapsed", 2)
