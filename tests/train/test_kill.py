"""A run that is killed, stopped, or finds the disk full, again and again, ends like one that was not."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from driver import train
from helpers import World, without_time
from safetensors.torch import load_file

from r1reward.files import read_json, read_jsonl
from r1reward.train.checkpoint import latest_checkpoint

DRIVER = Path(__file__).parent / "driver.py"
# Where each process of a run dies, and at which call there.
DEATHS = {
    "rl": [
        ("update", 6, "SIGKILL"),
        ("rollout", 25, "SIGTERM"),
        ("checkpoint", 2, "SIGKILL"),
        ("rename", 2, "SIGTERM"),
    ],
    "lagged": [("checkpoint", 2, "SIGKILL"), ("checkpoint", 4, "SIGTERM")],
    "sft": [("loss", 7, "SIGTERM"), ("checkpoint", 2, "SIGKILL")],
}


def run_driver(kind: str, world: World, out: Path, *fate: str | int) -> subprocess.CompletedProcess[str]:
    arguments = [kind, str(world.model.parent), str(out), *map(str, fate)]
    return subprocess.run(
        [sys.executable, str(DRIVER), *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def assert_same_end(one: Path, other: Path) -> None:
    """The same metrics, status, weights and optimizer, and nothing half-written in the other."""
    records = [folder / "record" for folder in (one, other)]
    whole, resumed = (without_time(read_jsonl(record / "metrics.jsonl")) for record in records)
    assert [row["step"] for row in whole] == list(range(1, len(whole) + 1))
    assert whole == resumed
    assert read_json(records[0] / "status.json") == read_json(records[1] / "status.json")
    weights = [load_file(folder / "work/model/model.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    states = [latest_checkpoint(folder / "work/checkpoints") for folder in (one, other)]
    assert states[0] is not None and states[1] is not None and states[0].name == states[1].name
    for name, tensor in load_file(states[0] / "optimizer.safetensors").items():
        assert torch.equal(tensor, load_file(states[1] / "optimizer.safetensors")[name])
    assert leftovers(other) == []


def leftovers(folder: Path) -> list[Path]:
    half = {".tmp", ".unfinished", ".removed"}
    return [path for path in folder.rglob("*") if path.suffix in half]


@pytest.mark.parametrize("kind", DEATHS)
def test_a_killed_run_ends_like_any_other(kind: str, world: World, tmp_path: Path) -> None:
    train(kind, world, tmp_path / "whole")
    for target, count, name in DEATHS[kind]:
        done = run_driver(kind, world, tmp_path / "killed", target, count, name)
        assert done.returncode == -signal.Signals[name], done.stderr[-2000:]
        assert not (tmp_path / "killed" / "work/model").exists()
    train(kind, world, tmp_path / "killed")
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    start = load_file(world.model / "model.safetensors")
    trained = load_file(tmp_path / "whole" / "work/model/model.safetensors")
    assert not all(torch.equal(trained[name], start[name]) for name in start)


def assert_disk_is_explained(done: subprocess.CompletedProcess[str], out: Path, kept: str) -> None:
    """The last line names the folder and what to do; the earlier checkpoint is whole and alone."""
    message = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "DiskFullError" in message, done.stderr[-3000:]
    assert str(out / "work") in message and "Free space there" in message
    assert "run the same command again" in message
    assert leftovers(out) == [] and not (out / "work/model").exists()
    found = latest_checkpoint(out / "work/checkpoints")
    assert found is not None and found.name == kept
    assert len(load_file(found / "optimizer.safetensors")) > 0 < len(load_file(found / "model.safetensors"))


@pytest.mark.parametrize("kind", ["rl", "sft"])
def test_no_room_for_a_checkpoint_is_explained_and_loses_nothing(
    kind: str, world: World, tmp_path: Path
) -> None:
    train(kind, world, tmp_path / "whole")
    done = run_driver(kind, world, tmp_path / "full", "checkpoint", 2, "full")
    assert_disk_is_explained(done, tmp_path / "full", "step_000002")
    train(kind, world, tmp_path / "full")
    assert_same_end(tmp_path / "whole", tmp_path / "full")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of its own, of 4 KiB until it is made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"only root may mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_full_disk_is_explained_and_loses_nothing(world: World, tmp_path: Path, small_disk: Path) -> None:
    train("rl", world, tmp_path / "whole")
    newest = latest_checkpoint(tmp_path / "whole" / "work/checkpoints")
    assert newest is not None
    size = sum(path.stat().st_size for path in newest.iterdir())
    resize(small_disk, int(1.6 * size))
    out = small_disk / "run"
    for _ in range(2):
        assert_disk_is_explained(run_driver("rl", world, out), out, "step_000002")
    resize(small_disk, 5 * size)
    assert run_driver("rl", world, out).returncode == 0
    assert_same_end(tmp_path / "whole", out)
