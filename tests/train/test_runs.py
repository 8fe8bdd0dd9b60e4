"""What a training is the run of, and what it trains with, under a profile without equal numbers."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import World
from wires import Wires, distinct_profile

from r1reward.data.rows import Sifted
from r1reward.data.storage import read_sft
from r1reward.train import rl, scalar_head, sft, trainer

SEED = 3


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    return Wires(monkeypatch)


def open_run(wires: Wires, place: Any) -> None:
    """End a training where its folder is opened: what it is the run of is known then."""
    for name in ("weights_hash", "files_hash"):
        wires.cut(place, name, lambda path, name=name: f"{name} of {path}")
    wires.cut(place.checkpoint, "open_run")
    wires.cut(place.checkpoint, "final_status", {"status": "collapsed", "step": 7, "reason": "why"})


def test_a_supervised_run_is_of_all_that_it_follows_from(world: World, wires: Wires, tmp_path: Path) -> None:
    profile = distinct_profile(sft={"max_examples": 5, "batch_size": 4, "micro_batch_size": 2})
    open_run(wires, trainer)
    record = tmp_path / "record"
    asked: dict[str, Any] = {"model_settings": profile.model, "seed": SEED, "out": tmp_path, "record": record}
    done = sft.train_sft("start", world.examples, settings=profile.sft, **asked)
    assert done == tmp_path / "model"
    common = {
        "model": profile.model.model_dump(mode="json"), "seed": SEED, "start": "weights_hash of start",
        "start_files": "files_hash of start", "examples": trainer.sha256_file(world.examples),
    }  # fmt: skip
    key = {"sft": profile.sft.model_dump(mode="json")} | common
    opened = wires.of("open_run")[0]
    assert opened == {"out": tmp_path, "key": key, "record": record}
    settings = profile.reward_model.model_copy(update={"batch_size": 4, "micro_batch_size": 2})
    scalar_head.train_reward_model("start", world.pairs, kind="scalar", settings=settings, **asked)
    common["examples"] = trainer.sha256_file(world.pairs)
    key = {"kind": "scalar", "reward_model": settings.model_dump(mode="json")} | common
    assert wires.of("open_run")[1] == {**opened, "key": key}


@pytest.mark.parametrize("own", [False, True])
def test_an_rl_run_is_of_all_that_it_follows_from(own: bool, wires: Wires, tmp_path: Path) -> None:
    profile, record = distinct_profile(), tmp_path / "record"
    open_run(wires, rl)
    task: Any = SimpleNamespace(fingerprint="who rewards")
    sections = {"settings": profile.rl, "model_settings": profile.model, "engine_settings": profile.engine}
    formulas = SimpleNamespace(described={"reward": "its source"}) if own else rl.PAPER
    where: dict[str, Any] = {"out": tmp_path, "record": record, "formulas": formulas, "seed": SEED}
    done = rl.train_policy(task, "start", [1, 2], items_hash="items", **sections, **where)
    assert done == rl.RLResult("collapsed", 7, tmp_path / "model", "why")
    key = {
        "rl": profile.rl.model_dump(mode="json"), "model": profile.model.model_dump(mode="json"),
        "engine": profile.engine.model_dump(mode="json"), "seed": SEED, "start": "weights_hash of start",
        "start_files": "files_hash of start", "pairs": "items", "judge": "who rewards",
    }  # fmt: skip
    key |= {"formulas": {"reward": "its source"}} if own else {}
    assert wires.once("open_run") == {"out": tmp_path, "key": key, "record": record}


def test_a_supervised_trainer_gets_the_settings_of_its_run(
    world: World, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of steps, sizes and rates of HF's own arguments, and what else a trainer is made with."""
    profile = distinct_profile(
        sft={"max_examples": 10, "batch_size": 6, "micro_batch_size": 2, "epochs": 2.5}
    )
    settings, made, trained = profile.sft, list[dict[str, Any]](), list[Any]()

    class Stopped:
        def __init__(self, **given: Any) -> None:
            made.append(given)

        def remove_callback(self, kind: Any) -> None:
            pass

        def train(self, *, resume_from_checkpoint: Any) -> None:
            trained.append(resume_from_checkpoint)

        def save(self, out: Path, record: Path, *, used: dict[str, Any]) -> None:
            trained.append((out, record, used, self.processor, self.checkpoints))  # type: ignore[attr-defined]

    found = Sifted(list(read_sft(world.examples)), {"too long": 2})
    record = tmp_path / "record"
    wires.cut(trainer, "Recorder", "recorder")
    trainer.run_trainer(
        Stopped, found, name="sft", key={}, model_path=world.model, examples_path=world.examples,  # type: ignore[arg-type]
        load=lambda last: ("model", f"processor of {last}"), make_collator=lambda one: f"collator of {one}",  # type: ignore[arg-type, return-value]
        out=tmp_path, record=record, settings=settings, model_settings=profile.model, seed=SEED,
        options={"batch_size": 6},
    )  # fmt: skip
    (given,) = made
    arguments, stream = given.pop("args"), given.pop("train_dataset")
    assert given == {"model": "model", "data_collator": "collator of processor of None", "batch_size": 6,
                     "callbacks": ["recorder"]}  # fmt: skip
    assert wires.once("Recorder")["path"] == record / "metrics.jsonl"
    steps = 5  # 2.5 passes over 10 examples in batches of 6, rounded up
    assert {name: getattr(arguments, name) for name in (
        "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
        "save_steps", "warmup_steps", "seed", "weight_decay", "adam_beta2", "max_grad_norm")} == {
        "max_steps": steps, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3,
        "learning_rate": settings.learning_rate, "save_steps": settings.save_steps,
        "warmup_steps": math.ceil(settings.warmup_ratio * steps), "seed": SEED, "weight_decay": 0.0,
        "adam_beta2": 0.95, "max_grad_norm": 1.0,
    }  # fmt: skip
    chosen = trainer.choose_examples(found.kept, 10, SEED)
    assert len(stream) == 30 and len(chosen) == 10
    drawn = [chosen[index] for number in range(3) for index in trainer.order_of_pass(10, SEED, number)]
    for start in range(0, 30, 6):
        shown = [stream[place] for place in range(start, start + 6)]
        by_length = sorted(
            drawn[start : start + 6],
            key=lambda one: len(one.request(profile.model.prompt).text) + len(one.completion),
        )
        assert shown == by_length, "each pass in an order of its own, each update by length"
    used = {"examples": 10, "left_out": {"too long": 2}}
    assert trained == [None, (tmp_path, record, used, "processor of None", tmp_path / "checkpoints")]
