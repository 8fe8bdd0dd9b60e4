"""Reward models with a head: the loss, what is learnt, resuming, and what a saved folder scores."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import MODEL, SFT, World, without_time
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid

from r1reward.data.cold_start import split_critiques
from r1reward.data.storage import SFTExample, read_sft, write_pairs
from r1reward.engines.loading import load_model
from r1reward.files import read_json, read_jsonl
from r1reward.judge.scalar import (
    Kind,
    load_reward_model,
    new_reward_model,
    score_request,
    score_responses,
)
from r1reward.settings import RewardModelSettings
from r1reward.train import checkpoint
from r1reward.train.scalar_head import PairCollator, bradley_terry, train_reward_model
from r1reward.train.trainer import ExampleStream

SETTINGS = RewardModelSettings(**{**SFT.model_dump(), "warmup_ratio": 0.0})
KINDS: tuple[Kind, ...] = ("scalar", "critique")


@pytest.fixture(scope="module")
def examples(world: World) -> Path:
    """The ring is always better, in either place, and the reasoning has a critique of each response."""
    remarks = {"a ring .": "ring right", "a star .": "star wrong"}
    rows = []
    for index, example in enumerate(read_sft(world.examples)):
        pair = replace(example.pair, preferred=1)
        pair = pair.swapped() if index % 2 else pair
        first, second = (remarks[response] for response in pair.responses)
        text = f"<think>it is {index} : 1 {first} , 2 {second} .</think><answer>{pair.preferred}</answer>"
        rows.append(SFTExample(pair, text))
    return write_pairs(world.examples.parent / "critiques.jsonl", rows)


def train(world: World, examples: Path, out: Path, kind: Kind, **changes: Any) -> Path:
    settings = SETTINGS.model_copy(update=changes)
    return train_reward_model(
        world.model,
        examples,
        kind=kind,
        out=out / "work",
        record=out / "record",
        settings=settings,
        model_settings=MODEL,
        seed=3,
    )


def test_bradley_terry_by_hand() -> None:
    chosen = torch.tensor([0.0, math.log(3.0), 0.0], requires_grad=True)
    rejected = torch.tensor([0.0, 0.0, math.log(3.0)], requires_grad=True)
    loss = bradley_terry(chosen, rejected)
    # sigmoid(log 3) = 3/4 and sigmoid(-log 3) = 1/4.
    assert loss.tolist() == pytest.approx([math.log(2), math.log(4 / 3), math.log(4)])
    loss.sum().backward()
    assert chosen.grad is not None and rejected.grad is not None
    assert chosen.grad.tolist() == pytest.approx([-0.5, -0.25, -0.75])
    assert rejected.grad.tolist() == pytest.approx([0.5, 0.25, 0.75])


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_which_response_is_better(
    world: World, examples: Path, tmp_path: Path, kind: Kind
) -> None:
    folder = train(world, examples, tmp_path, kind, epochs=3.0)
    rows = read_jsonl(tmp_path / "record/metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 13))
    names = {"preference_loss", "accuracy", "margin", *(["critique_loss"] if kind == "critique" else [])}
    names |= {"step", "loss", "learning_rate", "grad_norm", "update_to_weight", "seconds", "cpu_seconds"}
    assert set(rows[0]) == names
    assert rows[0]["loss"] == pytest.approx(rows[0]["preference_loss"] + rows[0].get("critique_loss", 0.0))
    assert rows[-1]["accuracy"] == 1.0 and rows[-1]["preference_loss"] < 0.1 < rows[0]["preference_loss"]
    if kind == "critique":
        assert rows[-1]["critique_loss"] < 0.8 * rows[0]["critique_loss"]
    status = read_json(tmp_path / "record/status.json")
    assert (status["status"], status["step"], status["run"]["kind"]) == ("finished", 12, kind)
    pairs = [example.pair for example in read_sft(examples)[:4]]
    if kind == "scalar":  # twelve updates do not teach a model from nothing to write critiques
        requests = [score_request(p, k, prompt="mini") for p in pairs for k in (p.preferred, 3 - p.preferred)]
        scores = [response.score for response in score_responses(*load_reward_model(folder), requests)]
        assert all(chosen > rejected for chosen, rejected in zip(scores[::2], scores[1::2], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_loss_is_the_mean_over_the_whole_batch(
    world: World, examples: Path, tmp_path: Path, kind: Kind
) -> None:
    """Two micro-batches of two pairs against each response alone; the critiques differ in length."""
    train(world, examples, tmp_path, kind, epochs=0.25, critique_weight=0.5)
    model, processor = new_reward_model(world.model, kind=kind, seed=3)
    rows = read_sft(examples) if kind == "critique" else [SFTExample(e.pair, "") for e in read_sft(examples)]
    stream = ExampleStream(rows, prompt="mini", batch_size=4, steps=1, seed=3)
    collate = PairCollator(processor, "mini", kind=kind)
    preference, critique, tokens = 0.0, 0.0, 0
    for place in range(4):
        inputs = collate([stream[place]])
        mask = inputs["labels"] != -100
        with torch.no_grad():
            scores, log_probs = model(inputs["batch"], responses=inputs["responses"], mask=mask)
        preference -= float(logsigmoid(scores[0] - scores[1])) / 4
        critique, tokens = critique - float(log_probs.sum()), tokens + int(mask.sum())
    (row,) = read_jsonl(tmp_path / "record/metrics.jsonl")
    assert row["preference_loss"] == pytest.approx(preference, abs=1e-5)
    expected = preference + (0.5 * critique / tokens if kind == "critique" else 0.0)
    assert row["loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_like_a_whole_one(
    world: World, examples: Path, tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(world, examples, tmp_path / "whole", kind)
    saved = checkpoint.save_optimizer
    calls = []

    def stop_at_the_second(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        saved(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save_optimizer", stop_at_the_second)
        train(world, examples, tmp_path / "stopped", kind)
    assert checkpoint.latest_checkpoint(tmp_path / "stopped" / "work/checkpoints") is not None
    assert not (tmp_path / "stopped" / "work/model").exists()
    train(world, examples, tmp_path / "stopped", kind)

    whole, stopped = (tmp_path / name for name in ("whole", "stopped"))
    rows = [without_time(read_jsonl(out / "record/metrics.jsonl")) for out in (whole, stopped)]
    assert rows[0] == rows[1] and [row["step"] for row in rows[0]] == [1, 2, 3, 4]
    start, _ = new_reward_model(world.model, kind=kind, seed=3)
    for name in ("model.safetensors", "reward_head.safetensors"):
        weights = [load_file(out / "work/model" / name) for out in (whole, stopped)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["output.weight"], start.head.output.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_a_critique_starts_after_the_prompt_and_the_chosen_come_first(
    world: World, examples: Path, kind: Kind
) -> None:
    _, processor = load_model(world.model)
    rows = read_sft(examples)[:2]
    inputs = PairCollator(processor, "mini", kind=kind)(rows)
    prompts = processor.tokenizer.batch_decode(inputs["batch"]["input_ids"])
    for index, prompt in enumerate(prompts):
        example = rows[index % 2]
        position = example.pair.preferred if index < 2 else 3 - example.pair.preferred
        assert f"response : {example.pair.responses[position - 1]}\n" in prompt
        assert example.pair.responses[2 - position] not in prompt
        ids = [token for token in inputs["labels"][index].tolist() if token != -100]
        if kind == "scalar":
            assert ids == []
            continue
        assert ids[-1] == processor.tokenizer.eos_token_id
        text = processor.tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False)
        assert text == split_critiques(example.completion).texts[position - 1]
        assert ("right" if index < 2 else "wrong") in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_gives_the_same_scores(world: World, tmp_path: Path, kind: Kind) -> None:
    model, processor = new_reward_model(world.model, kind=kind, seed=1)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, own_processor = load_reward_model(tmp_path)
    pairs = [example.pair for example in read_sft(world.examples)[:3]]
    requests = [score_request(pair, position, prompt="mini") for pair in pairs for position in (1, 2)]
    limits = {"max_new_tokens": 5, "max_prompt_tokens": 512}
    before = score_responses(model, processor, requests, **limits)
    assert loaded.kind == kind
    assert score_responses(loaded, own_processor, requests, **limits) == before
    assert len({response.score for response in before}) == len(before)
    # What shares a batch with a response does not matter beyond rounding.
    one_by_one = score_responses(model, processor, requests, batch_size=1, **limits)
    assert [r.score for r in one_by_one] == pytest.approx([r.score for r in before], abs=1e-5)
    assert [r.critique for r in one_by_one] == [r.critique for r in before]
    assert all((response.tokens > 0) == (kind == "critique") for response in before)


def test_a_model_without_a_head_is_refused(world: World) -> None:
    with pytest.raises(FileNotFoundError, match=r"reward_head\.json"):
        load_reward_model(world.model)


def test_pairs_without_examples_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no examples"):
        train(world, write_pairs(tmp_path / "none.jsonl", []), tmp_path, "scalar")
    # A critique cannot be learnt from pairs alone.
    with pytest.raises(ValueError, match="completion"):
        train(world, world.pairs, tmp_path, "critique")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_left_out_are_in_the_record(
    world: World, examples: Path, tmp_path: Path, kind: Kind
) -> None:
    """An answer outside the format is no critique to learn; the scalar model reads no answers."""
    lines = examples.read_text().splitlines()[:6]
    lines[1] = json.dumps(json.loads(lines[1]) | {"completion": "<answer>1</answer>"})
    path = examples.with_name("faulty.jsonl")
    path.write_text("\n".join([*lines, "{"]))
    train(world, path, tmp_path, kind, epochs=0.01)
    counts = {"not JSON": 1} | ({"the answer is no target": 1} if kind == "critique" else {})
    used = {"examples": 7 - len(counts), "left_out": counts}
    assert read_json(tmp_path / "record/status.json")["used"] == used
