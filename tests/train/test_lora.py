"""Adapters: what is trained, what is saved, and that a run goes on as if it had not been stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, SFT, World, score_by_tokens
from safetensors.torch import load_file

from r1reward.engines.inputs import encode
from r1reward.engines.loading import load_model
from r1reward.judge.scalar import new_reward_model
from r1reward.settings import LoraSettings, RewardModelSettings
from r1reward.train import rl
from r1reward.train.checkpoint import add_adapters, load_policy, merged_weights, save_trained
from r1reward.train.rl import train_rl
from r1reward.train.scalar_head import train_reward_model
from r1reward.train.sft import train_sft
from r1reward.train.trainer import CheckpointedTrainer
from r1reward.types import Request

pytest.importorskip("peft")
LORA = MODEL.model_copy(update={"lora": LoraSettings(rank=4, alpha=8)})


def train(kind: str, world: World, out: Path, **changes: Any) -> Path:
    common = {"out": out, "model_settings": LORA, "seed": 3}
    if kind in ("scalar", "critique"):
        settings = RewardModelSettings(**SFT.model_copy(update=changes).model_dump())
        return train_reward_model(world.model, world.examples, kind=kind, settings=settings, **common)
    if kind == "sft":
        settings = SFT.model_copy(update=changes)
        return train_sft(world.model, world.examples, settings=settings, **common)
    settings = RL.model_copy(update=changes)
    return train_rl(world.model, world.pairs, settings=settings, engine_settings=ENGINE, **common).model


def logits(model: Any, processor: Any) -> torch.Tensor:
    batch = encode(processor, [Request("what is it 1 ?")])
    with torch.inference_mode():
        return model(**batch).logits


def test_new_adapters_change_nothing_and_are_all_that_is_trained(world: World) -> None:
    plain, processor = load_model(world.model)
    model, _ = load_policy(world.model, checkpoint=None, settings=LORA, seed=0)
    assert torch.equal(logits(plain, processor), logits(model, processor))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all(".lora_" in name and "language_model" in name for name in trained)
    assert {name.split(".")[-4] for name in trained} >= {"q_proj", "k_proj", "v_proj", "o_proj", "down_proj"}


def test_merged_weights_answer_like_the_adapters(world: World, tmp_path: Path) -> None:
    model, processor = load_policy(world.model, checkpoint=None, settings=LORA, seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    save_trained(model, processor, tmp_path)
    merged, _ = load_model(tmp_path)
    plain, _ = load_model(world.model)
    assert torch.allclose(logits(merged, processor), logits(model, processor), atol=1e-4)
    assert not torch.allclose(logits(merged, processor), logits(plain, processor), atol=1e-2)
    saved, known = (load_file(folder / "model.safetensors") for folder in (tmp_path, world.model))
    assert saved.keys() == known.keys()
    assert merged_weights(plain) is None


def test_bfloat16_weights_have_float32_adapters(world: World) -> None:
    model, _ = load_model(world.model, settings=MODEL.model_copy(update={"dtype": "bfloat16"}))
    add_adapters(model, LORA.lora, seed=0)
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    assert kinds == {torch.float32}
    merged = merged_weights(model)
    assert merged is not None and {value.dtype for value in merged.values()} == {torch.bfloat16}


@pytest.mark.parametrize("kind", ["scalar", "critique"])
def test_a_reward_model_trains_its_adapters_and_its_head_alone(
    kind: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the numbers of parameters that the optimizer holds, and by what the finished model has changed."""
    counted = []
    make = CheckpointedTrainer.create_optimizer

    def counting(self: Any) -> Any:
        optimizer = make(self)
        groups = (group["params"] for group in optimizer.param_groups)
        counted.append(sum(parameter.numel() for group in groups for parameter in group))
        return optimizer

    monkeypatch.setattr(CheckpointedTrainer, "create_optimizer", counting)
    folder = train(kind, world, tmp_path, epochs=0.25, warmup_ratio=0.0, save_steps=1)
    policy, _ = load_policy(world.model, checkpoint=None, settings=LORA, seed=3)
    adapters = sum(value.numel() for name, value in policy.named_parameters() if ".lora_" in name)
    width = policy.config.get_text_config().hidden_size
    assert counted == [adapters + width * width + 2 * width]
    before, after = (load_file(path / "model.safetensors") for path in (world.model, folder))
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all("proj" in name and "visual" not in name for name in changed)
    kept = load_file(tmp_path / "checkpoints/step_000001/adapters.safetensors")
    new, _ = new_reward_model(world.model, kind=kind, seed=3)
    head = load_file(folder / "reward_head.safetensors")
    assert torch.equal(head["output.weight"], kept["head.output.weight"])
    assert not torch.equal(head["output.weight"], new.head.output.weight)


def test_alpha_over_rank_is_the_share_of_the_adapters(world: World) -> None:
    """alpha 8 of rank 4 adds 2 B A."""
    model, _ = load_policy(world.model, checkpoint=None, settings=LORA, seed=0)
    name = "model.language_model.layers.0.self_attn.q_proj"
    layer = model.get_submodule(name)
    torch.nn.init.normal_(layer.lora_B["default"].weight, generator=torch.Generator().manual_seed(1))
    merged = merged_weights(model)
    assert merged is not None
    added = merged[f"{name}.weight"] - layer.base_layer.weight
    expected = 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(added, expected.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sft", "rl", "critique"])
def test_a_stopped_run_goes_on_from_its_adapters(
    kind: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rl.JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
    whole = train(kind, world, tmp_path / "whole")
    saved = sorted((tmp_path / "whole" / "checkpoints").glob("step_*"))
    assert not list(saved[0].glob("model*.safetensors")) and (saved[0] / "adapters.safetensors").is_file()
    stopped = tmp_path / "stopped"
    train(kind, world, stopped)
    # As a kill before the model was written leaves it, with the last checkpoint gone as well.
    (stopped / "status.json").unlink()
    for path in sorted((stopped / "checkpoints").glob("step_*"))[1:]:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    again = train(kind, world, stopped)
    weights = [load_file(folder / "model.safetensors") for folder in (whole, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    start = load_file(world.model / "model.safetensors")
    changed = {name for name, value in weights[0].items() if not torch.equal(value, start[name])}
    assert changed and all("proj" in name and "visual" not in name for name in changed)
