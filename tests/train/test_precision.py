"""Training in bfloat16 moves the weights as training in float32 does, and says how far."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, SFT, World, score_by_tokens
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, Qwen2_5_VLForConditionalGeneration

from r1reward.data.storage import read_pairs
from r1reward.engines.loading import load_model, load_processor, save_model
from r1reward.files import read_json, read_jsonl
from r1reward.mini.tiny import build_config
from r1reward.settings import LoraSettings, ModelSettings, RewardModelSettings
from r1reward.train import rl
from r1reward.train.learner import Learner, make_learner
from r1reward.train.scalar_head import train_reward_model
from r1reward.train.sft import train_sft
from r1reward.train.tasks import JudgeTask

HALF = MODEL.model_copy(update={"dtype": "bfloat16"})
ADAPTERS = HALF.model_copy(update={"lora": LoraSettings(rank=4, alpha=8)})
# The first step of the Trainer's warm-up has a rate of 0.
ONCE = {"epochs": 0.25, "save_steps": 1, "warmup_ratio": 0.0}


@pytest.fixture(scope="module")
def large(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights with the vocabulary of Qwen2.5."""
    processor = load_processor(world.model)
    config = build_config(processor.tokenizer)
    config.text_config.vocab_size = 152_064  # type: ignore[union-attr]
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    assert sum(parameter.numel() for parameter in model.parameters()) > 20e6
    folder = tmp_path_factory.mktemp("large")
    save_model(model, processor, folder)
    return folder


@pytest.fixture(autouse=True)
def easy_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that depends on the sampled tokens, so that there are advantages."""
    monkeypatch.setattr(JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))


def train(kind: str, start: Path, world: World, out: Path, *, model: ModelSettings, **changes: Any) -> Path:
    """The folder of the finished model."""
    common: dict[str, Any] = {"out": out, "model_settings": model, "seed": 1}
    if kind == "rl":
        settings = RL.model_copy(update={"train_batch_size": 8, "warmup_ratio": 0.0, **changes})
        return rl.train_rl(start, world.pairs, settings=settings, engine_settings=ENGINE, **common).model
    settings = SFT.model_copy(update=changes)
    if kind == "sft":
        return train_sft(start, world.examples, settings=settings, **common)
    settings = RewardModelSettings(**settings.model_dump())
    return train_reward_model(start, world.examples, kind="scalar", settings=settings, **common)


def share_changed(checkpoint: Path, start: Path) -> float:
    """Of all weights, heads left out."""
    before, after = (load_file(folder / "model.safetensors") for folder in (start, checkpoint))
    assert before.keys() == after.keys()
    changed = sum(int((after[name] != before[name].to(after[name].dtype)).sum()) for name in before)
    return changed / sum(value.numel() for value in before.values())


@pytest.mark.parametrize(
    ("kind", "steps"),
    [("sft", 2), *(pytest.param(kind, 20, marks=pytest.mark.full) for kind in ("sft", "rl", "scalar"))],
)
def test_bfloat16_changes_as_many_weights_as_float32(
    kind: str, steps: int, large: Path, world: World, tmp_path: Path
) -> None:
    """At the paper's rate, whose updates are smaller than bfloat16 resolves."""
    length = {"epochs": steps // 2} if kind == "rl" else {"epochs": steps / 4}
    shares = []
    for settings in (MODEL, HALF):
        out = tmp_path / settings.dtype
        train(kind, large, world, out, model=settings, learning_rate=1e-6, save_steps=steps, **length)
        shares.append(share_changed(out / f"checkpoints/step_{steps:06d}", large))
    print(f"{kind}, {steps} steps: {shares[0]:.4%} of the weights in float32, {shares[1]:.4%} in bfloat16")
    assert shares[0] > 0.5
    assert shares[1] == pytest.approx(shares[0], rel=0.01)


@pytest.mark.parametrize("kind", ["sft", "rl", "scalar"])
def test_checkpoints_keep_float32_and_the_finished_model_has_the_type_of_the_profile(
    kind: str, world: World, tmp_path: Path
) -> None:
    changes = {"save_steps": 1, "max_steps": 1} if kind == "rl" else ONCE
    model = train(kind, world.model, world, tmp_path, model=HALF, **changes)
    kept = load_file(tmp_path / "checkpoints/step_000001/model.safetensors")
    finished = load_file(model / "model.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float32}
    assert finished.keys() == kept.keys() == load_file(world.model / "model.safetensors").keys()
    assert all(torch.equal(finished[name], kept[name].bfloat16()) for name in kept)
    assert read_json(model / "config.json")["dtype"] == "bfloat16"
    assert AutoModelForImageTextToText.from_pretrained(model, dtype="auto").dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["sft", "rl", "scalar"])
@pytest.mark.parametrize("settings", [MODEL, HALF], ids=["float32", "bfloat16"])
def test_every_run_says_how_far_an_update_moved_the_weights(
    kind: str, settings: ModelSettings, world: World, tmp_path: Path
) -> None:
    """Against the weights themselves, before and after the only update."""
    changes = {"save_steps": 1, "max_steps": 1} if kind == "rl" else ONCE
    train(kind, world.model, world, tmp_path, model=settings, **changes)
    before, after = (
        load_file(folder / "model.safetensors")
        for folder in (world.model, tmp_path / "checkpoints/step_000001")
    )
    moved = sum(float((after[name].double() - before[name]).square().sum()) for name in before)
    weight = sum(float(before[name].double().square().sum()) for name in before)
    (row,) = read_jsonl(tmp_path / "metrics.jsonl")
    # A reward model's new head counts, too, and is a small part of all weights.
    tolerance = 0.2 if kind == "scalar" else 1e-4
    assert row["update_to_weight"] == pytest.approx((moved / weight) ** 0.5, rel=tolerance)


def new_learner(world: World, kl_coef: float) -> Learner:
    settings = RL.model_copy(update={"kl_coef": kl_coef})
    return make_learner(
        world.model,
        settings=settings,
        model_settings=HALF,
        engine_settings=ENGINE,
        task=JudgeTask(rl.ScriptedConsistencyJudge(), settings=settings, prompt="mini"),
        seed=1,
        steps=1,
    )


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
def test_in_bfloat16_rollout_old_and_new_policy_and_reference_agree_before_the_first_update(
    kl_coef: float, world: World
) -> None:
    learner = new_learner(world, kl_coef)
    pairs = read_pairs(world.pairs)[:8]
    trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
    minibatches = rl.prepare(learner, trajectories, 1)
    rl.advantages([c for m in minibatches for c in m], trajectories, settings=learner.settings)
    row = rl.update(learner, minibatches[0])
    assert row["approx_kl"] == pytest.approx(0.0, abs=1e-6) and row["clip_share"] == 0.0
    for chunk in minibatches[0]:
        if kl_coef:
            assert chunk.reference is not None and torch.equal(chunk.reference, chunk.old.log_probs)
        _assert_sampled_from(chunk.old.log_probs, chunk, trajectories)


def _assert_sampled_from(log_probs: torch.Tensor, chunk: rl.Chunk, trajectories: Sequence[Any]) -> None:
    """Up to the rounding of bfloat16, which the cache of the engine adds to."""
    for place, row in enumerate(chunk.rows):
        sampled = torch.tensor(trajectories[row].completion.log_probs)
        torch.testing.assert_close(log_probs[place, chunk.mask[place]], sampled, atol=0.03, rtol=0)


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_adapters_of_a_bfloat16_model_are_float32_in_weights_and_optimizer(
    kind: str, world: World, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    changes = {"save_steps": 1, "max_steps": 1} if kind == "rl" else ONCE
    train(kind, world.model, world, tmp_path, model=ADAPTERS, **changes)
    folder = tmp_path / "checkpoints/step_000001"
    adapters, state = load_file(folder / "adapters.safetensors"), load_file(folder / "optimizer.safetensors")
    assert {value.dtype for value in (*adapters.values(), *state.values())} == {torch.float32}
    assert len(state) == 3 * len(adapters)  # two moments and the step of each
    finished = load_file(tmp_path / "model/model.safetensors")
    assert {value.dtype for value in finished.values()} == {torch.bfloat16}


def test_what_is_not_trained_stays_in_the_type_of_the_profile(world: World) -> None:
    model, _ = load_model(world.model, settings=HALF)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
