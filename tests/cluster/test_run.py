"""Ray, two DeepSpeed ZeRO-3 actors, vLLM and OpenRLHF, all real, on CPUs; an actor is killed on the way."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from r1reward import mini
from r1reward.config import load_profile
from r1reward.data.annotate import annotate_pairs
from r1reward.data.build import build_dataset
from r1reward.data.cold_start import select_sft
from r1reward.data.storage import write_pairs
from r1reward.engines import Sampling, load_engine
from r1reward.files import read_jsonl
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.mini.world import write_world
from r1reward.settings import ScriptSettings, WorldSettings
from r1reward.train.sft import train_sft
from r1reward.types import Request

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not find_spec("openrlhf"), reason="openrlhf is not installed: make test-cluster"),
]
STEPS, KILLED_AFTER, LIMIT = 16, 4, 900
HERE = Path(__file__).parent
ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_HOST_IP": "127.0.0.1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(HERE / "shim"),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge after a short cold start, pairs for RL, and an untrained consistency judge."""
    out = tmp_path_factory.mktemp("cluster")
    write_world(
        out / "world", WorldSettings(pairs_per_source=400, benchmark_pairs=14, validation_pairs=8), seed=0
    )
    built = build_dataset(out / "world", out / "built", sampled_pairs=1200, seed=0)
    annotator = ScriptedAnnotator(out / "world" / "truth.jsonl", ScriptSettings(misreading=0.2, slips=0.1), 0)
    annotations = annotate_pairs(annotator, built, path=out / "a.jsonl", max_attempts=3)
    write_pairs(out / "sft.jsonl", select_sft(built, annotations))
    write_pairs(out / "rl.jsonl", built)
    profile = load_profile("mini", overrides={"sft": {"epochs": 3}})
    common = {"settings": profile.sft, "model_settings": profile.model, "seed": 0}
    train_sft("mini", out / "sft.jsonl", out=out / "sft", **common)
    (out / "judges" / "strong").mkdir(parents=True)
    (out / "judges" / "strong" / "model").symlink_to(mini.base_folder())
    return out


def launch(start: Path, out: Path, log: Path) -> subprocess.Popen:
    log.mkdir(exist_ok=True)
    places = [out, start / "sft" / "model", start / "rl.jsonl", start / "judges", STEPS]
    return subprocess.Popen(
        [sys.executable, HERE / "driver.py", *map(str, places)],
        env={**os.environ, **ENVIRONMENT, "R1REWARD_SHIM_LOG": str(log)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def kill_actor(driver: int) -> None:
    children = psutil.Process(driver).children(recursive=True)
    actors = [one for one in children if "PolicyModelActor" in " ".join([one.name(), *one.cmdline()])]
    actors[-1].kill()


@pytest.fixture(scope="module")
def trained(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose actor is killed after its first checkpoint, and which the same command finishes."""
    out = tmp_path_factory.mktemp("run")
    first = launch(start, out, out / "first")
    checkpoint = out / "checkpoints" / "_actor" / "latest"
    for _ in first.stdout:
        if checkpoint.exists() and checkpoint.read_text().strip() == f"global_step{KILLED_AFTER}":
            kill_actor(first.pid)
            break
    said = finish(first)
    assert first.returncode != 0, said[-3000:]
    steps = (
        [row["step"] for row in read_jsonl(out / "metrics.jsonl")] if (out / "metrics.jsonl").exists() else []
    )
    assert steps == list(range(1, len(steps) + 1)), "what was written while it trained"
    second = launch(start, out, out / "second")
    said = finish(second)
    assert second.returncode == 0, said[-5000:]
    return out


def lines(folder: Path, name: str) -> list[dict]:
    return [
        json.loads(line) for file in folder.glob(f"{name}_*.jsonl") for line in file.read_text().splitlines()
    ]


def test_every_step_is_there_and_sound(trained: Path) -> None:
    rows = read_jsonl(trained / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert all(abs(row["policy_loss"]) < 10 and 0 < row["grad_norm"] < 100 for row in rows)
    assert all(row["vllm_kl"] < 0.05 for row in rows), "trainer and engine hold the same policy"
    assert sum(row["reward_failed"] for row in rows) == 0


def test_the_reward_rises(trained: Path) -> None:
    rewards = [row["reward"] for row in read_jsonl(trained / "metrics.jsonl")]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.1, rewards


def test_actor_engine_and_export_hold_the_same_weights(trained: Path) -> None:
    for part in ("first", "second"):
        sent, received = lines(trained / part, "sent"), lines(trained / part, "received")
        assert received and received == sent[: len(received)] and len(sent) - len(received) < 100
    weights = load_file(trained / "model" / "model.safetensors")
    last = sum(one["sum"] for one in lines(trained / "second", "sent")[-len(weights) :])
    assert last == pytest.approx(sum(float(one.double().abs().sum()) for one in weights.values()), rel=1e-9)


def test_pictures_reach_old_and_new_policy(trained: Path) -> None:
    seen = lines(trained / "second", "pictures")
    assert {one["kind"] for one in seen} == {"old", "new"} and all(one["difference"] > 0.1 for one in seen)


def test_the_rest_of_the_package_loads_what_was_trained(trained: Path) -> None:
    engine = load_engine(trained / "model", load_profile("mini"))
    ((answer,),) = engine.generate([Request("what ?")], Sampling(4, temperature=0))
    assert answer.token_ids
