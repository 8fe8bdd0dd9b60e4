from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, SFT, World, score_by_tokens
from safetensors.torch import load_file, save_file

from r1reward.engines.inputs import encode
from r1reward.engines.loading import load_model
from r1reward.files import append_jsonl, read_json, read_jsonl, write_json
from r1reward.judge.scalar_model import new_reward_model
from r1reward.settings import LoraSettings, RewardModelSettings
from r1reward.train import checkpoint, rl
from r1reward.train.checkpoint import add_adapters, load_policy, merged_weights, save_trained
from r1reward.train.rl import train_rl
from r1reward.train.scalar_head import train_reward_model
from r1reward.train.sft import train_sft
from r1reward.train.trainer import CheckpointedTrainer
from r1reward.types import Request


def make_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.95))
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_optimizer_survives_without_a_pickle(tmp_path: Path) -> None:
    model, optimizer = make_optimizer()
    checkpoint.save_optimizer(optimizer, tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    fresh = torch.optim.AdamW(model.parameters(), lr=9.0)
    checkpoint.load_optimizer(fresh, tmp_path)
    before, after = optimizer.state_dict(), fresh.state_dict()
    assert before["param_groups"] == after["param_groups"]
    for number, entries in before["state"].items():
        for key, value in entries.items():
            assert torch.equal(value, after["state"][number][key])


class Weights:
    """As much of a model as a checkpoint writes."""

    def __init__(self, value: float) -> None:
        self.value = value

    def named_parameters(self) -> list[Any]:
        return []

    def save_pretrained(self, folder: Path) -> None:
        save_file({"weight": torch.full((64,), self.value)}, folder / "model.safetensors")


class Processor:
    def save_pretrained(self, folder: Path) -> None:
        write_json(folder / "tokenizer.json", {"words": ["a"]})


def save(folder: Path, step: int) -> Path:
    """A checkpoint whose weights are its step."""
    optimizer = make_optimizer()[1]
    model, state = Weights(float(step)), {"rate": 0.1}
    return checkpoint.save_checkpoint(
        folder, step, model=model, processor=Processor(), optimizer=optimizer, state=state
    )


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "hashes.json"])
@pytest.mark.parametrize("fault", ["flipped", "truncated", "lost"])
def test_a_damaged_checkpoint_gives_way_to_an_older_one(
    name: str, fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older, newest = save(tmp_path, 1), save(tmp_path, 2)
    assert checkpoint.latest_checkpoint(tmp_path) == newest
    file = newest / name
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    if fault == "lost":
        file.unlink()
    else:
        file.write_bytes(bytes(content) if fault == "flipped" else bytes(content[:-3]))
    assert checkpoint.latest_checkpoint(tmp_path) == older
    assert "step_000002 is damaged" in caplog.text and name in caplog.text
    # It is kept, out of the way of the checkpoint that will be written again.
    assert len(list(tmp_path.glob("step_000002_damaged_*"))) == 1
    assert save(tmp_path, 2).is_dir() and older.is_dir()


def test_without_a_whole_checkpoint_a_run_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (save(tmp_path, 1) / "extra.json").write_text("{}")
    assert checkpoint.latest_checkpoint(tmp_path) is None
    assert "extra.json" in caplog.text


def test_a_finished_model_with_other_weights_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def reopen() -> Path | None:
        return checkpoint.open_run(tmp_path, {"seed": 1}, resume=True, record=tmp_path)

    reopen()
    newest = save(tmp_path / "checkpoints", 4)
    write_json(tmp_path / "model/config.json", {})
    Weights(4.0).save_pretrained(tmp_path / "model")
    checkpoint.write_status(tmp_path, tmp_path, status="finished", step=4)
    assert reopen() == newest and checkpoint.final_status(tmp_path, tmp_path)
    weights = tmp_path / "model/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert reopen() == newest and checkpoint.final_status(tmp_path, tmp_path) is None
    (aside,) = tmp_path.glob("model_damaged_*")
    assert (aside / "model.safetensors").read_bytes() == bytes(content)
    assert "is not the model that was written" in caplog.text


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def fail(folder: Path) -> None:
        (folder / "part").write_text("new")
        raise RuntimeError("disk full")

    checkpoint.write_folder(target, lambda folder: (folder / "part").write_text("old"))
    with pytest.raises(RuntimeError, match="disk full"):
        checkpoint.write_folder(target, fail)
    assert (target / "part").read_text() == "old"
    checkpoint.write_folder(target, lambda folder: (folder / "part").write_text("newer"))
    assert (target / "part").read_text() == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_latest_checkpoint_is_the_highest_whole_one(tmp_path: Path) -> None:
    assert checkpoint.latest_checkpoint(tmp_path) is None
    for name in ("step_000009", "step_000010", "step_000011.unfinished", "step_x"):
        write_json(tmp_path / name / "hashes.json", {})
    latest = checkpoint.latest_checkpoint(tmp_path)
    assert latest is not None and latest.name == "step_000010"


def test_open_run_cuts_metrics_to_the_checkpoint(tmp_path: Path) -> None:
    out, record = tmp_path / "out", tmp_path / "record"
    assert checkpoint.open_run(out, {"seed": 1}, resume=True, record=record) is None
    append_jsonl(record / "metrics.jsonl", [{"step": step} for step in (1, 2, 3)])
    save(out / "checkpoints", 2)
    latest = checkpoint.open_run(out, {"seed": 1}, resume=True, record=record)
    assert latest is not None and checkpoint.checkpoint_state(latest) == {"step": 2, "rate": 0.1}
    assert read_jsonl(record / "metrics.jsonl") == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(("key", "resume"), [({"seed": 2}, True), ({"seed": 1}, False)])
@pytest.mark.parametrize("apart", [False, True])
def test_another_run_is_moved_aside_whole(
    tmp_path: Path, key: dict[str, int], resume: bool, apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    out, record = tmp_path / "out", tmp_path / ("record" if apart else "out")
    checkpoint.open_run(out, {"seed": 1}, resume=True, record=record)
    append_jsonl(record / "metrics.jsonl", {"step": 1})
    write_json(out / "checkpoints/step_000001/state.json", {"step": 1})
    write_json(record / "status.json", {"status": "finished", "step": 1})
    write_json(out / "model/config.json", {"finished": True})
    assert checkpoint.open_run(out, key, resume=resume, record=record) is None
    (kept,) = (out / "earlier").iterdir()
    assert sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*.json*")) == [
        "checkpoints/step_000001/state.json", "metrics.jsonl", "model/config.json", "run.json",
        "status.json"]  # fmt: skip
    assert read_json(kept / "run.json") == {"seed": 1} and read_json(kept / "model/config.json")["finished"]
    assert sorted(path.name for path in out.iterdir()) == ["earlier", "run.json"]
    assert read_json(out / "run.json") == key
    assert str(kept) in caplog.text and ("(seed)" in caplog.text) == (key != {"seed": 1})


def test_the_names_of_what_changed_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = {"sft": {"learning_rate": 0.1, "epochs": 1}, "examples": "a", "seed": 1}
    checkpoint.open_run(tmp_path, first, resume=True, record=tmp_path)
    second = {"sft": {"learning_rate": 0.2, "epochs": 1}, "examples": "b", "seed": 1}
    checkpoint.open_run(tmp_path, second, resume=True, record=tmp_path)
    assert "(examples, sft.learning_rate)" in caplog.text


def test_files_that_belong_to_no_run_are_not_gone_on_with(tmp_path: Path) -> None:
    """As a kill in the middle of moving leaves them: nothing of it may become part of the next run."""
    write_json(tmp_path / "checkpoints/step_000003/state.json", {"step": 3})
    append_jsonl(tmp_path / "metrics.jsonl", {"step": 3})
    assert checkpoint.open_run(tmp_path, {"seed": 1}, resume=True, record=tmp_path) is None
    (kept,) = (tmp_path / "earlier").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["checkpoints", "metrics.jsonl"]


pytest.importorskip("peft")
LORA = MODEL.model_copy(update={"lora": LoraSettings(rank=4, alpha=8)})


def train(kind: str, world: World, out: Path, **changes: Any) -> Path:
    common = {"out": out, "model_settings": LORA, "seed": 3, "quiet": True}
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
