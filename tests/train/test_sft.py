import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, SFT, World, score_by_tokens
from transformers import AutoModelForImageTextToText, AutoProcessor

from r1reward.data.cold_start import read_sft
from r1reward.engines.inputs import encode
from r1reward.engines.loading import load_model, weights_hash
from r1reward.files import read_json, read_jsonl
from r1reward.judge.reward_model import judge_request
from r1reward.locks import BusyError
from r1reward.settings import RewardModelSettings
from r1reward.train.reward_model import train_reward_model
from r1reward.train.rl import train_rl
from r1reward.train.sft import Collator, train_sft
from r1reward.train.tasks import JudgeTask
from r1reward.train.trainer import ExampleStream, choose_examples


def test_labels_are_the_answers_and_their_end(world: World) -> None:
    _, processor = load_model(world.model)
    examples = read_sft(world.examples)[:3]
    collated = Collator(processor, "mini", None)(examples)
    for row, example in enumerate(examples):
        kept = collated["labels"][row][collated["labels"][row] != -100].tolist()
        assert kept[-1] == processor.tokenizer.eos_token_id
        assert processor.tokenizer.decode(kept[:-1], clean_up_tokenization_spaces=False) == example.completion
    batch = encode(processor, [judge_request(example.pair, prompt="mini") for example in examples])
    assert all(torch.equal(batch[name], collated["batch"][name]) for name in batch)


def test_training_lowers_the_loss_and_saves_what_the_auto_classes_load(world: World, tmp_path: Path) -> None:
    settings = SFT.model_copy(update={"epochs": 4.0, "warmup_ratio": 0.0})
    folder = train_sft(
        world.model,
        world.examples,
        out=tmp_path / "work",
        record=tmp_path / "record",
        settings=settings,
        model_settings=MODEL,
        seed=0,
        quiet=True,
    )
    rows = read_jsonl(tmp_path / "record/metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    times = {"seconds", "cpu_seconds"}
    assert set(rows[0]) == {"step", "loss", "learning_rate", "grad_norm", "update_to_weight", *times}
    status = read_json(tmp_path / "record/status.json")
    assert (status["status"], status["step"]) == ("finished", 16)
    assert status["weights"] == weights_hash(tmp_path / "work/model") != status["run"]["start"]
    assert status["run"]["sft"]["learning_rate"] == SFT.learning_rate
    assert AutoModelForImageTextToText.from_pretrained(folder).config.model_type == "qwen2_5_vl"
    assert AutoProcessor.from_pretrained(folder).tokenizer.eos_token == "<|im_end|>"
    pickles = [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]
    assert pickles == []


def test_the_first_loss_is_the_mean_over_the_tokens_of_the_whole_batch(world: World, tmp_path: Path) -> None:
    """Two micro-batches of different length against the library's loss on each answer alone."""
    train_sft(
        world.model, world.examples, out=tmp_path, settings=SFT, model_settings=MODEL, seed=0, quiet=True
    )
    model, processor = load_model(world.model)
    examples = read_sft(world.examples)
    stream = ExampleStream(examples, seed=0, length=SFT.batch_size)
    total, tokens = 0.0, 0
    for place in range(SFT.batch_size):
        collated = Collator(processor, "mini", None)([stream[place]])
        batch, answer = collated["batch"], collated["responses"]
        ids = torch.cat([batch["input_ids"], answer], dim=1)
        labels = ids.clone()
        labels[:, : batch["input_ids"].shape[1]] = -100
        kinds = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(answer)], dim=1)
        inputs: dict[str, Any] = {**batch, "input_ids": ids, "mm_token_type_ids": kinds}
        inputs["attention_mask"] = torch.ones_like(ids)
        with torch.no_grad():
            total += float(model(**inputs, labels=labels).loss) * answer.shape[1]
        tokens += answer.shape[1]
    # Vision tokens have no share of the probability here, hence the tolerance.
    assert read_jsonl(tmp_path / "metrics.jsonl")[0]["loss"] == pytest.approx(total / tokens, abs=0.01)


def test_a_finished_run_is_not_trained_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"settings": SFT, "model_settings": MODEL, "seed": 0, "quiet": True}
    folder = train_sft(world.model, world.examples, out=tmp_path, **arguments)

    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("r1reward.train.sft.load_policy", no_training)
    assert train_sft(world.model, world.examples, out=tmp_path, **arguments) == folder
    with pytest.raises(AssertionError, match="trained again"):
        train_sft(world.model, world.examples, out=tmp_path, **{**arguments, "seed": 1})


@pytest.mark.parametrize("kind", ["sft", "rl", "reward_model"])
def test_changed_inputs_leave_the_finished_model(
    kind: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same folder with fewer examples: what was trained before keeps its weights and its records."""
    monkeypatch.setattr(JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
    first, fewer = tmp_path / "all.jsonl", tmp_path / "fewer.jsonl"
    first.write_bytes((world.pairs if kind == "rl" else world.examples).read_bytes())
    lines = first.read_text().splitlines(keepends=True)
    fewer.write_text("".join(lines[3:]))
    for file in (first, fewer):
        text = file.read_text().replace('"images": ["', f'"images": ["{world.model.parent}/')
        file.write_text(text)
    model = train(kind, world, first, tmp_path / "run")
    weights = weights_hash(model)
    train(kind, world, fewer, tmp_path / "run")
    (kept,) = (tmp_path / "run/earlier").iterdir()
    assert weights_hash(kept / "model") == weights == read_json(kept / "status.json")["weights"]
    assert read_json(tmp_path / "run/status.json")["weights"] != weights
    assert [row["step"] for row in read_jsonl(kept / "metrics.jsonl")] == [1]


@pytest.mark.parametrize("kind", ["sft", "rl", "reward_model"])
def test_a_folder_in_which_another_process_trains_is_refused(kind: str, world: World, tmp_path: Path) -> None:
    code = (
        "import sys; from r1reward.locks import exclusive\n"
        "with exclusive(sys.argv[1]): print(flush=True), input()"
    )
    folder, pipe = tmp_path / "run", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdin=pipe, stdout=pipe) as other:
        assert other.stdout and other.stdout.readline()
        with pytest.raises(BusyError, match=f"run is in use by another process .process {other.pid} "):
            train(kind, world, world.pairs if kind == "rl" else world.examples, folder)
        other.communicate(b"\n")
    assert not folder.exists()


def train(kind: str, world: World, data: Path, out: Path) -> Path:
    """A run of one of the trainings, on its smallest settings."""
    common: dict[str, Any] = {"out": out, "model_settings": MODEL, "seed": 0, "quiet": True}
    sft = SFT.model_copy(update={"epochs": 0.25, "warmup_ratio": 0.0})
    if kind == "sft":
        return train_sft(world.model, data, settings=sft, **common)
    if kind == "rl":
        one_step = RL.model_copy(update={"max_steps": 1})
        return train_rl(world.model, data, settings=one_step, engine_settings=ENGINE, **common).model
    settings = RewardModelSettings(**sft.model_dump())
    return train_reward_model(world.model, data, kind="scalar", settings=settings, **common)


def test_every_pass_shows_every_example_once(world: World) -> None:
    examples = read_sft(world.examples)
    stream = ExampleStream(examples, seed=1, length=3 * len(examples))
    passes = [
        [stream[place].pair.pair_id for place in range(start, start + len(examples))]
        for start in range(0, len(stream), len(examples))
    ]
    assert all(sorted(ids) == sorted(example.pair.pair_id for example in examples) for ids in passes)
    assert passes[0] != passes[1] != passes[2]
    limited = choose_examples(examples, 5, 1)
    assert len(limited) == 5 and limited == choose_examples(examples, 5, 1) != choose_examples(examples, 5, 2)


def test_a_batch_that_does_not_split_is_refused(world: World, tmp_path: Path) -> None:
    settings = SFT.model_copy(update={"micro_batch_size": 3})
    with pytest.raises(ValueError, match="multiple of micro_batch_size"):
        train_sft(
            world.model,
            world.examples,
            out=tmp_path,
            settings=settings,
            model_settings=MODEL,
            seed=0,
            quiet=True,
        )
