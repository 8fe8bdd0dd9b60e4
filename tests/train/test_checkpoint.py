from pathlib import Path

import pytest
import torch

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
        (tmp_path / name).mkdir()
    latest = checkpoint.latest_checkpoint(tmp_path)
    assert latest is not None and latest.name == "step_000010"


def test_open_run_cuts_metrics_to_the_checkpoint(tmp_path: Path) -> None:
    out, record = tmp_path / "out", tmp_path / "record"
    assert checkpoint.open_run(out, {"seed": 1}, resume=True, record=record) is None
    append_jsonl(record / "metrics.jsonl", [{"step": step} for step in (1, 2, 3)])
    write_json(out / "checkpoints/step_000002/state.json", {"step": 2})
    latest = checkpoint.open_run(out, {"seed": 1}, resume=True, record=record)
    assert latest is not None and checkpoint.checkpoint_state(latest) == {"step": 2}
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
