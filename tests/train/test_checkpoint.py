from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from r1reward.files import append_jsonl, read_json, read_jsonl, write_json
from r1reward.train import checkpoint


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
    tokenizer = SimpleNamespace(
        backend_tokenizer=SimpleNamespace(no_padding=lambda: None, no_truncation=lambda: None)
    )

    def save_pretrained(self, folder: Path) -> None:
        write_json(folder / "tokenizer.json", {"words": ["a"]})
        write_json(folder / "tokenizer_config.json", {})


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
        return checkpoint.open_run(tmp_path, {"seed": 1}, record=tmp_path)

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
    assert checkpoint.open_run(out, {"seed": 1}, record=record) is None
    append_jsonl(record / "metrics.jsonl", [{"step": step} for step in (1, 2, 3)])
    save(out / "checkpoints", 2)
    latest = checkpoint.open_run(out, {"seed": 1}, record=record)
    assert latest is not None and checkpoint.checkpoint_state(latest) == {"step": 2, "rate": 0.1}
    assert read_jsonl(record / "metrics.jsonl") == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("apart", [False, True])
def test_another_run_is_moved_aside_whole(
    tmp_path: Path, apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    out, record = tmp_path / "out", tmp_path / ("record" if apart else "out")
    checkpoint.open_run(out, {"seed": 1}, record=record)
    append_jsonl(record / "metrics.jsonl", {"step": 1})
    write_json(out / "checkpoints/step_000001/state.json", {"step": 1})
    write_json(record / "status.json", {"status": "finished", "step": 1})
    write_json(out / "model/config.json", {"finished": True})
    assert checkpoint.open_run(out, {"seed": 2}, record=record) is None
    (kept,) = (out / "earlier").iterdir()
    assert sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*.json*")) == [
        "checkpoints/step_000001/state.json", "metrics.jsonl", "model/config.json", "run.json",
        "status.json"]  # fmt: skip
    assert read_json(kept / "run.json") == {"seed": 1} and read_json(kept / "model/config.json")["finished"]
    assert sorted(path.name for path in out.iterdir()) == ["earlier", "run.json"]
    assert read_json(out / "run.json") == {"seed": 2}
    assert str(kept) in caplog.text and "(seed)" in caplog.text


def test_the_names_of_what_changed_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = {"sft": {"learning_rate": 0.1, "epochs": 1}, "examples": "a", "seed": 1}
    checkpoint.open_run(tmp_path, first, record=tmp_path)
    second = {"sft": {"learning_rate": 0.2, "epochs": 1}, "examples": "b", "seed": 1}
    checkpoint.open_run(tmp_path, second, record=tmp_path)
    assert "(examples, sft.learning_rate)" in caplog.text


def test_files_that_belong_to_no_run_are_not_gone_on_with(tmp_path: Path) -> None:
    """As a kill in the middle of moving leaves them: nothing of it may become part of the next run."""
    write_json(tmp_path / "checkpoints/step_000003/state.json", {"step": 3})
    append_jsonl(tmp_path / "metrics.jsonl", {"step": 3})
    assert checkpoint.open_run(tmp_path, {"seed": 1}, record=tmp_path) is None
    (kept,) = (tmp_path / "earlier").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["checkpoints", "metrics.jsonl"]
