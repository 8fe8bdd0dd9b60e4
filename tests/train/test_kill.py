"""A run that is killed with SIGKILL, again and again, ends like one that was not."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from driver import train
from helpers import World, without_time
from safetensors.torch import load_file

from r1reward.files import read_json, read_jsonl
from r1reward.train.checkpoint import latest_checkpoint

DRIVER = Path(__file__).parent / "driver.py"
# What each process of a run dies in, and at which call there.
DEATHS = {
    "rl": [("update", 6), ("rollout", 25), ("checkpoint", 2), ("rename", 2)],
    "sft": [("loss", 7), ("checkpoint", 2)],
}


def run_until_killed(kind: str, world: World, out: Path, death: tuple[str, int]) -> None:
    arguments = [kind, str(world.model.parent), str(out), death[0], str(death[1])]
    done = subprocess.run(
        [sys.executable, str(DRIVER), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


@pytest.mark.parametrize("kind", ["rl", "sft"])
def test_a_killed_run_ends_like_any_other(kind: str, world: World, tmp_path: Path) -> None:
    train(kind, world, tmp_path / "whole")
    for death in DEATHS[kind]:
        run_until_killed(kind, world, tmp_path / "killed", death)
        assert not (tmp_path / "killed/work/model").exists()
    train(kind, world, tmp_path / "killed")

    records = [tmp_path / name / "record" for name in ("whole", "killed")]
    whole, killed = (without_time(read_jsonl(record / "metrics.jsonl")) for record in records)
    assert [row["step"] for row in whole] == list(range(1, len(whole) + 1))
    assert whole == killed
    assert read_json(records[0] / "status.json") == read_json(records[1] / "status.json")
    weights = [load_file(tmp_path / name / "work/model/model.safetensors") for name in ("whole", "killed")]
    start = load_file(world.model / "model.safetensors")
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], start[name]) for name in start)
    states = [latest_checkpoint(tmp_path / name / "work/checkpoints") for name in ("whole", "killed")]
    assert states[0] is not None and states[1] is not None and states[0].name == states[1].name
    for name, tensor in load_file(states[0] / "optimizer.safetensors").items():
        assert torch.equal(tensor, load_file(states[1] / "optimizer.safetensors")[name])
    half = {".tmp", ".unfinished", ".removed"}
    leftovers = [path for path in (tmp_path / "killed").rglob("*") if path.suffix in half]
    assert leftovers == []
