"""The cold start in two processes under DeepSpeed ZeRO-3 against one process, and how they are started."""

import os
import subprocess
import sys
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from r1reward.cluster import sft as sharded
from r1reward.cluster.sft import command, launch
from r1reward.config import load_profile
from r1reward.data.annotate import annotate_pairs
from r1reward.data.build import build_dataset
from r1reward.data.cold_start import select_sft
from r1reward.data.storage import SFTExample, write_pairs
from r1reward.files import read_jsonl
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.mini.world import write_world
from r1reward.settings import Profile, ScriptSettings, WorldSettings
from r1reward.train.sft import train_sft
from r1reward.types import PreferencePair

need_deepspeed = pytest.mark.skipif(
    not find_spec("deepspeed"), reason="deepspeed is not installed: make test-cluster"
)
STEPS = 12


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("examples")
    write_world(
        out / "world", WorldSettings(pairs_per_source=60, benchmark_pairs=14, validation_pairs=8), seed=0
    )
    built = build_dataset(out / "world", out / "built", sampled_pairs=200, seed=0)
    annotator = ScriptedAnnotator(out / "world" / "truth.jsonl", ScriptSettings(misreading=0.2, slips=0.1), 0)
    annotations = annotate_pairs(annotator, built, path=out / "a.jsonl", max_attempts=3)
    return write_pairs(out / "sft.jsonl", list(select_sft(built, annotations))[: 16 * STEPS])


def profile(zero_stage: int = 3, **cluster: object) -> Profile:
    shards = {"gpus_per_node": 2, "zero_stage": zero_stage, **cluster}
    sft = {"batch_size": 16, "micro_batch_size": 4, "epochs": 1, "save_steps": 5, "learning_rate": 5e-4}
    return load_profile("mini", overrides={"sft": sft, "cluster": shards})


@pytest.fixture(scope="module")
def alone(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, chosen = tmp_path_factory.mktemp("alone"), profile()
    common = {"settings": chosen.sft, "model_settings": chosen.model, "seed": 0}
    train_sft("mini", examples, out=out, **common)
    return out


def run(examples: Path, out: Path, chosen: Profile) -> Path:
    launch(command(chosen, start="mini", examples=examples, out=out, seed=0))
    return out


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(out / "metrics.jsonl")]


@pytest.mark.cluster
@need_deepspeed
@pytest.mark.parametrize("changes", [{}, {"zero_stage": 2}, {"gradient_checkpointing": False}])
def test_two_processes_learn_as_one(examples: Path, alone: Path, tmp_path: Path, changes: dict) -> None:
    out = run(examples, tmp_path, profile(**changes))
    assert losses(out) == pytest.approx(losses(alone), abs=1e-3) and len(losses(out)) == STEPS
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (alone, out))
    assert ours.keys() == theirs.keys()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 2e-3


@pytest.mark.cluster
@need_deepspeed
def test_what_sees_can_be_frozen(examples: Path, tmp_path: Path) -> None:
    out = run(examples, tmp_path, profile(freeze_vision=True))
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (_base(), out / "model"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any("visual" in name for name in changed)


@pytest.mark.cluster
@need_deepspeed
def test_a_killed_run_goes_on(examples: Path, alone: Path, tmp_path: Path) -> None:
    words = command(profile(), start="mini", examples=examples, out=tmp_path, seed=0)
    process = subprocess.Popen(words, start_new_session=True)
    while not (tmp_path / "checkpoints" / "checkpoint-5" / "trainer_state.json").exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
        assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, 9)
    process.wait()
    launch(words)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-3)


@pytest.mark.parametrize("status", [0, 3, -9])
def test_processes_that_fail_fail_the_launch(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharded, "find_spec", lambda name: name)
    ended = nullcontext() if status == 0 else pytest.raises(RuntimeError, match=f"ended with status {status}")
    with ended:
        launch(
            [
                sys.executable,
                "-c",
                f"import os; os.kill(os.getpid(), 9) if {status} < 0 else os._exit({status})",
            ]
        )


def test_a_process_trains_with_what_the_launch_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the file that the launch writes; no value is the default."""
    pair = PreferencePair("p", "s", "what ?", ("red .", "blue ."), 1)
    file = write_pairs(tmp_path / "sft.jsonl", [SFTExample(pair, "<think>t</think><answer>1</answer>")])
    chosen = load_profile("mini", overrides={"sft": {"batch_size": 24}, "model": {"max_pixels": 12544},
                                             "engine": {"max_prompt_tokens": 321},
                                             "cluster": {"zero_stage": 2}})  # fmt: skip
    words = command(chosen, start="some/model", examples=file, out=tmp_path / "out", seed=7)
    given: dict[str, object] = {}

    def train(start: str, examples: str, **others: object) -> None:
        given.update(others, start=start, examples=examples)

    monkeypatch.setattr(sharded, "train_sft", train)
    monkeypatch.setattr(sys, "argv", words[-2:])
    sharded.main()
    assert given == {
        "start": "some/model", "examples": str(file), "out": str(tmp_path / "out"), "seed": 7,
        "settings": chosen.sft, "model_settings": chosen.model, "cluster": chosen.cluster,
        "max_prompt_tokens": 321,
    }  # fmt: skip


def _base() -> Path:
    from r1reward import mini  # noqa: PLC0415

    return mini.base_folder()
