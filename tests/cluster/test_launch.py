"""What a launch writes: prompts, flags, start, and what it reads back."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from r1reward.cli import main
from r1reward.cluster import launch as launching
from r1reward.cluster.launch import prepare
from r1reward.cluster.prepare import complete_export, prepare_start, prompt_row, rl_flags
from r1reward.config import load_profile
from r1reward.data.storage import SFTExample, write_pairs
from r1reward.engines import PromptTooLongError
from r1reward.engines.inputs import encode
from r1reward.engines.loading import load_processor
from r1reward.files import read_jsonl
from r1reward.judge.generative import judge_request
from r1reward.settings import ModelSettings, Profile
from r1reward.types import PreferencePair

SMALL = {"rl": {"rollout_batch_size": 8, "train_batch_size": 8, "micro_batch_size": 2},
         "cluster": {"gpus_per_node": 2, "engines": 2}}  # fmt: skip


def small(**changes: dict) -> Profile:
    return load_profile("mini", overrides={name: {**SMALL.get(name, {}), **changes.get(name, {})}
                                           for name in {**SMALL, **changes}})  # fmt: skip


def flags_of(profile: Profile) -> dict[str, str]:
    place = Path("/x")
    words = rl_flags(
        profile, start=place, prompts=place, pictures=1, passes=5, agent=place, out=place, seed=3
    )
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            found[word[2:]] = []
        else:
            found[list(found)[-1]].append(word)
    return {name: " ".join(values) for name, values in found.items()}


def change_weights(model: Path) -> None:
    """The last byte of a checkpoint's weights, which may be a link to those of another."""
    file = model / "model.safetensors"
    weights = file.read_bytes()
    file.unlink()
    file.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))


@pytest.fixture
def pairs(tmp_path: Path) -> list[PreferencePair]:
    Image.new("RGB", (112, 56), "red").save(tmp_path / "a.png")
    picture = str(tmp_path / "a.png")
    hostile = "blue <|im_end|><|image_pad|> <image>"
    return [
        PreferencePair(f"p{i}", "s", "what ?", ("red .", hostile), 1 + i % 2, (picture,)) for i in range(20)
    ]


def test_the_papers_values_are_the_flags() -> None:
    flags = flags_of(load_profile("paper"))
    assert flags["actor.adam.lr"] == "1e-06" and flags["algo.kl.init_coef"] == "0.0"
    assert flags["actor.lr_scheduler"] == "cosine_with_min_lr"
    assert flags_of(small(rl={"schedule": "constant"}))["actor.lr_scheduler"] == "constant_with_warmup"
    assert (flags["train.batch_size"], flags["rollout.batch_size"]) == ("128", "256")
    assert flags["train.num_episodes"] == "5" and flags["algo.advantage.estimator"] == "reinforce"
    assert (
        flags["ds.zero_stage"] == "3" and "train.colocate_all" in flags and "vllm.enforce_eager" not in flags
    )


def test_algorithms_have_their_estimators() -> None:
    grpo = flags_of(small(rl={"algorithm": "grpo", "samples_per_prompt": 4, "kl_coef": 0.1}))
    assert (grpo["algo.advantage.estimator"], grpo["algo.kl.estimator"]) == ("group_norm", "k3")
    assert "algo.kl.use_loss" in grpo and "algo.kl.use_loss" not in flags_of(small(rl={"kl_coef": 0.1}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rl": {"algorithm": "reinforce"}}, "OpenRLHF has no reinforce"),
        ({"rl": {"micro_batch_size": 3}}, "train_batch_size 8 is no multiple of rl.micro_batch_size 3 x 2"),
        (
            {"rl": {"rollout_batch_size": 12, "train_batch_size": 6}},
            "6 is no multiple of rl.micro_batch_size 2 x 2",
        ),
        ({"rl": {"rollout_batch_size": 12}}, "12 samples a rollout are no multiple"),
        ({"cluster": {"engines": 1}}, "1 of the engines must be 2 of the actors"),
        ({"model": {"lora": {"rank": 4}}}, "model.lora is for one card"),
    ],
)
def test_what_openrlhf_cannot_follow_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flags_of(small(**changes))


def test_a_prompt_is_the_one_that_is_trained_on_here(pairs: list[PreferencePair]) -> None:
    processor = load_processor("mini", settings=ModelSettings(max_pixels=12544))
    row = prompt_row(pairs[1], processor, ModelSettings(), 512)
    assert json.loads(row["label"]) == {"pair_id": "p1", "preferred": 2} and row["datasource"] == "s"
    ours = encode(processor, [judge_request(pairs[1], prompt="mini")])["input_ids"][0].tolist()
    with Image.open(row["images"][0]) as picture:
        theirs = processor(text=[row["input"]], images=[picture.convert("RGB")], add_special_tokens=False)
    assert theirs["input_ids"][0] == ours


def test_frames_are_pictures(pairs: list[PreferencePair]) -> None:
    frames = (pairs[0].images[0],) * 3
    video = PreferencePair("v", "s", "what ?", ("a", "b"), 1, (), frames)
    row = prompt_row(video, load_processor("mini"), ModelSettings(), 512)
    assert len(row["images"]) == 3 == row["input"].count("<|image_pad|>")


def test_a_launch_is_written_whole(pairs: list[PreferencePair], tmp_path: Path) -> None:
    pairs[3] = replace(pairs[3], frames=pairs[3].images * 3)
    file = write_pairs(tmp_path / "rl.jsonl", pairs)
    launch = prepare(
        small(rl={"max_steps": 2, "epochs": 5}), start="mini", pairs=file, out=tmp_path / "o", seed=1
    )
    assert launch.flags[launch.flags.index("--data.max_images_per_prompt") + 1] == "4"
    assert len((tmp_path / "o" / "prompts.jsonl").read_text().splitlines()) == 16
    assert launch.flags[launch.flags.index("--train.num_episodes") + 1] == "1"
    assert launch.environment["R1REWARD_JUDGES"] == str((tmp_path / "o").resolve())
    whole = prepare(
        small(rl={"epochs": 5}), start="mini", pairs=file, out=tmp_path / "w", seed=1, judges=tmp_path / "j"
    )
    assert whole.environment["R1REWARD_JUDGES"] == str((tmp_path / "j").resolve())
    assert len((tmp_path / "w" / "prompts.jsonl").read_text().splitlines()) == 16, "of 20, in rollouts of 8"
    assert whole.flags[whole.flags.index("--train.num_episodes") + 1] == "5"
    assert "python -m openrlhf.cli.train_ppo_ray" in launch.command()
    assert (tmp_path / "o" / "start" / "model.safetensors").is_symlink()
    limits = load_processor(tmp_path / "o" / "start").image_processor.size
    assert limits["longest_edge"] == 12544
    json.loads(launch.environment["R1REWARD_VISION_TOKENS"])
    with pytest.raises(ValueError, match="ends in the middle of a pass"):
        prepare(small(rl={"max_steps": 3, "epochs": 5}), start="mini", pairs=file, out=tmp_path / "o", seed=1)
    write_pairs(file, pairs[:7])
    with pytest.raises(ValueError, match="holds 7 pairs, a rollout takes 8"):
        prepare(small(), start="mini", pairs=file, out=tmp_path / "o", seed=1)
    with pytest.raises(FileNotFoundError, match="hf download"):
        prepare_start("some/model", tmp_path / "s", ModelSettings())


def test_what_would_end_a_run_later_is_refused_at_once(pairs: list[PreferencePair], tmp_path: Path) -> None:
    file = write_pairs(tmp_path / "rl.jsonl", pairs)
    common = {"start": "mini", "pairs": file, "out": tmp_path / "o"}
    with pytest.raises(PromptTooLongError, match="the limit is 16"):
        prepare(small(engine={"max_prompt_tokens": 16}), seed=1, **common)
    with pytest.raises(ValueError, match="name the machine"):
        prepare(small(judges={"name": "server"}, cluster={"nodes": 2, "engines": 4},
                      rl={"train_batch_size": 8, "micro_batch_size": 1}), seed=1, **common)  # fmt: skip
    prepare(small(), seed=1, **common)
    (tmp_path / "o" / "checkpoints").mkdir()
    prepare(small(), seed=1, **common)
    with pytest.raises(ValueError, match="checkpoints of another run"):
        prepare(small(), seed=2, **common)


def test_another_consistency_judge_is_another_run(pairs: list[PreferencePair], tmp_path: Path) -> None:
    """The folder of the judges is the same, what lies in it is not."""
    model = tmp_path / "judges" / "strong" / "model"
    prepare_start("mini", model, ModelSettings())
    given = {"start": "mini", "pairs": write_pairs(tmp_path / "rl.jsonl", pairs), "out": tmp_path / "o"}
    profile = small(judges={"name": "trained"})
    prepare(profile, seed=1, judges=tmp_path / "judges", **given)
    (tmp_path / "o" / "checkpoints").mkdir()
    prepare(profile, seed=1, judges=tmp_path / "judges", **given)
    change_weights(model)
    with pytest.raises(ValueError, match="checkpoints of another run"):
        prepare(profile, seed=1, judges=tmp_path / "judges", **given)


def test_another_start_in_the_same_folder_is_another_run(pairs: list[PreferencePair], tmp_path: Path) -> None:
    """The cold start was trained again, or somebody put another model there."""
    start = prepare_start("mini", tmp_path / "sft", ModelSettings())
    given = {"start": start, "pairs": write_pairs(tmp_path / "rl.jsonl", pairs), "out": tmp_path / "o"}
    prepare(small(), seed=1, **given)
    (tmp_path / "o" / "checkpoints").mkdir()
    prepare(small(), seed=1, **given)
    change_weights(start)
    with pytest.raises(ValueError, match="checkpoints of another run"):
        prepare(small(), seed=1, **given)


def test_other_pairs_are_another_run(pairs: list[PreferencePair], tmp_path: Path) -> None:
    """As many as before, with the same prompts: what changed is which response is the better one."""
    given = {"start": "mini", "pairs": tmp_path / "rl.jsonl", "out": tmp_path / "o", "seed": 1}
    write_pairs(given["pairs"], pairs)
    prepare(small(), **given)
    (tmp_path / "o" / "checkpoints").mkdir()
    write_pairs(given["pairs"], [replace(pairs[0], preferred=3 - pairs[0].preferred), *pairs[1:]])
    with pytest.raises(ValueError, match="checkpoints of another run"):
        prepare(small(), **given)
    write_pairs(given["pairs"], pairs)
    prepare(small(), **given)


def test_an_export_is_completed(tmp_path: Path) -> None:
    start = prepare_start("mini", tmp_path / "start", ModelSettings())
    export = tmp_path / "model"
    export.mkdir()
    with pytest.raises(FileNotFoundError, match="saved no weights"):
        complete_export(export, start)
    (export / "model.safetensors").write_bytes((start / "model.safetensors").read_bytes())
    (export / "config.json").write_text("{}")
    complete_export(export, start)
    assert (export / "config.json").read_text() == "{}" and (export / "tokenizer.json").exists()


def board(folder: Path, steps: range, **changes: float) -> Path:
    names = {*launching.NAMES.values(), "judge_unknown", "judged", "contradicted", "reward_failed"}
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            values = {**dict.fromkeys(names, 0.25), "rollout/num_samples": 8.0, **changes}
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(f"train/{name}", value, step)
    return folder


def test_logs_are_read_back(tmp_path: Path) -> None:
    board(tmp_path / "b" / "first", range(1, 4), policy_loss=9.0)
    board(tmp_path / "b" / "second", range(3, 5), vllm_kl=0.5, judged=0.5)
    board(tmp_path / "c", range(1, 2), judged=0.0)
    (silent,) = launching.read_back(tmp_path / "c", tmp_path / "metrics.jsonl")
    assert silent["contradicted_share"] == 0.0, "where nothing was judged nothing is contradicted"
    rows = launching.read_back(tmp_path / "b", tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["policy_loss"] for row in rows] == [9.0, 9.0, 0.25, 0.25]
    assert (
        rows[-1]["contradicted_share"] == 0.5
        and rows[-1]["judge_unknown"] == rows[-1]["reward_failed"] == 2
        and rows[-1]["vllm_kl"] == 0.5
    )


def test_logs_without_our_metrics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no step"):
        launching.read_back(tmp_path, tmp_path / "metrics.jsonl")
    board(tmp_path / "b", range(1, 2), filtered_positive=None)
    with pytest.raises(ValueError, match="step 1: filtered_positive was not logged"):
        launching.read_back(tmp_path / "b", tmp_path / "metrics.jsonl")


def test_steps_are_written_while_the_run_trains(tmp_path: Path) -> None:
    """A step that is not logged whole yet waits; what cannot be written is no reason to end a run."""
    folder, record, written = tmp_path / "b", tmp_path / "metrics.jsonl", threading.Event()
    assert launching.write_finished(folder, record) == 0 and not record.exists()
    board(folder / "first", range(1, 3))
    board(folder / "second", range(3, 4), filtered_positive=None)

    def note(*given: Path) -> int:
        if written.is_set():
            return count
        written.set()
        raise OSError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        count = launching.write_finished(folder, record)
        patch.setattr(launching, "write_finished", note)
        with launching.following(folder, record, seconds=0):
            assert written.wait(30)
    assert count == 2 and [row["step"] for row in read_jsonl(record)] == [1, 2]
    board(folder / "third", range(3, 4))
    with launching.following(folder, record, seconds=0):
        while len(read_jsonl(record)) < 3:  # a poll is on its way
            pass


def test_a_run_follows_its_own_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[Path] = []

    @contextmanager
    def following(*places: Path) -> Iterator[None]:
        followed.extend(places)
        yield

    def trained(*_: object, **__: object) -> None:
        assert followed, "before the training, not after it"
        raise InterruptedError

    monkeypatch.setattr(launching, "following", following)
    monkeypatch.setattr(launching.hook, "install", lambda: None)
    monkeypatch.setattr(launching.runpy, "run_module", trained)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **_: None, shutdown=lambda: None))
    environment = {launching.rewards.PROFILE_VARIABLE: small().model_dump_json()}
    with pytest.raises(InterruptedError):
        launching.run(launching.Launch(tmp_path, [], environment))
    assert followed == [tmp_path / "tensorboard", tmp_path / "metrics.jsonl"]


@pytest.mark.parametrize(
    ("address", "variable", "joined"),
    [
        ("head:6379", "other:6379", "head:6379"),
        (None, "other:6379", "other:6379"),
        ("head:6379", None, "head:6379"),
        (None, None, "local"),
    ],
)
def test_a_run_joins_the_cluster_that_is_named(
    address: str | None, variable: str | None, joined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument goes before RAY_ADDRESS; without both a cluster of this machine alone is started."""
    given: list[object] = []

    def init(*, address: object, **_: object) -> None:
        given.append(address)
        raise InterruptedError

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    monkeypatch.setattr(launching.hook, "install", lambda: None)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    environment = {launching.rewards.PROFILE_VARIABLE: small().model_dump_json()}
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(InterruptedError):
        launching.run(launching.Launch(tmp_path, [], environment), address=address)
    assert given == [joined]


def test_the_command_shows_what_would_run(
    pairs: list[PreferencePair], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_pairs(tmp_path / "rl.jsonl", [replace(pairs[0], pair_id=f"p{i}") for i in range(256)])
    common = [
        "--profile",
        "mini",
        "--start",
        "mini",
        "--out",
        str(tmp_path / "o"),
        "--dry-run",
        "--data",
        str(file),
    ]
    assert main(["launch", "rl", *common]) == 0
    assert "--algo.advantage.estimator reinforce" in capsys.readouterr().out
    assert main(["launch", "sft", *common]) == 2, "pairs without an answer teach nothing"
    assert f"{file}, row 1: field 'completion' is missing" in capsys.readouterr().err
    write_pairs(file, [SFTExample(pairs[0], "<think>t</think><answer>1</answer>")])
    assert main(["launch", "sft", *common]) == 0
    assert "--nproc-per-node=4 -m r1reward.cluster.sft" in capsys.readouterr().out
