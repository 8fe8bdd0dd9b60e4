import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, SFT, World, score_by_tokens
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from r1reward.data.storage import read_pairs, read_sft, write_pairs
from r1reward.engines import PromptTooLongError
from r1reward.engines.inputs import encode
from r1reward.engines.loading import files_hash, load_model, load_processor, weights_hash
from r1reward.files import append_jsonl, read_json, read_jsonl, sha256_file
from r1reward.judge.generative import judge_request
from r1reward.locks import BusyError
from r1reward.settings import RewardModelSettings, SFTSettings
from r1reward.train import scalar_head as reward_module
from r1reward.train import sft as sft_module
from r1reward.train.rl import train_rl
from r1reward.train.scalar_head import train_reward_model
from r1reward.train.sft import Collator, continued_settings, run_seconds, train_sft
from r1reward.train.tasks import JudgeTask
from r1reward.train.trainer import ExampleStream, Recorder, choose_examples


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
    assert status["used"] == {"examples": len(read_sft(world.examples))}
    assert AutoModelForImageTextToText.from_pretrained(folder).config.model_type == "qwen2_5_vl"
    assert AutoProcessor.from_pretrained(folder).tokenizer.eos_token == "<|im_end|>"
    pickles = [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]
    assert pickles == []


@pytest.fixture
def uneven(world: World, tmp_path: Path) -> Path:
    """Examples whose answers have from 11 to about 60 tokens, so that their micro-batches are padded."""
    examples = [
        replace(
            example, completion=f"<think>{'it is a star . ' * (3 * index % 16)}yes</think><answer>1</answer>"
        )
        for index, example in enumerate(read_sft(world.examples))
    ]
    return write_pairs(tmp_path / "uneven.jsonl", examples)


def test_the_first_loss_is_the_mean_over_the_tokens_of_the_whole_batch(
    world: World, uneven: Path, tmp_path: Path
) -> None:
    """Against the library's logits for each answer alone, unpadded: not over padding, nor by micro-batch."""
    train("sft", world, uneven, tmp_path)
    model, processor = load_model(world.model)
    stream = ExampleStream(read_sft(uneven), prompt="mini", batch_size=SFT.batch_size, steps=1, seed=0)
    sums = [loss_of(model, processor, stream[place]) for place in range(SFT.batch_size)]
    total, tokens = (sum(column) for column in zip(*sums, strict=True))
    assert read_jsonl(tmp_path / "metrics.jsonl")[0]["loss"] == pytest.approx(total / tokens, rel=1e-4)
    counts = [count for _, count in sums]
    assert len(set(counts)) > 2
    size = SFT.micro_batch_size
    parts = [sums[start : start + size] for start in range(0, len(sums), size)]
    by_part = [sum(one for one, _ in part) / sum(count for _, count in part) for part in parts]
    assert abs(sum(by_part) / len(by_part) - total / tokens) > 1e-3


def loss_of(model: Any, processor: Any, example: Any) -> tuple[float, int]:
    """Sum of the negative log-probabilities of an answer and its end token, and their number."""
    picture = Image.open(example.pair.images[0])
    content = [{"type": "image"}, {"type": "text", "text": judge_prompt(example.pair)}]
    turn = [{"role": "user", "content": content}]
    prompt = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    whole = processor(text=[f"{prompt}{example.completion}<|im_end|>"], images=[picture], return_tensors="pt")
    length = processor(text=[prompt], images=[picture], return_tensors="pt")["input_ids"].shape[1]
    with torch.no_grad():
        logits = model(**whole).logits[0, length - 1 : -1].clone()
    config = model.config
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        logits[:, getattr(config, name)] = -torch.inf
    answer = whole["input_ids"][0, length:]
    chosen = logits.log_softmax(-1).gather(1, answer[:, None])
    return -float(chosen.sum()), len(answer)


def judge_prompt(pair: Any) -> str:
    return judge_request(pair, prompt="mini").text


QUOTES = ("<|image_pad|>", "<|im_end|>", "<|vision_start|>", "<|endoftext|>")


def test_control_tokens_that_an_answer_quotes_are_text(world: World, tmp_path: Path) -> None:
    """A finite loss, and the end token once, where the answer ends."""
    quoting = [
        replace(example, completion=f"<think>it says {QUOTES[index % 4]} here</think><answer>1</answer>")
        for index, example in enumerate(read_sft(world.examples))
    ]
    _, processor = load_model(world.model)
    special = set(processor.tokenizer.convert_tokens_to_ids(list(QUOTES)))
    collated = Collator(processor, "mini", None)(quoting)
    for labels in collated["labels"].tolist():
        answer = [token for token in labels if token != -100]
        assert answer[-1] == processor.tokenizer.eos_token_id and not special.intersection(answer[:-1])
    train("sft", world, write_pairs(tmp_path / "quoting.jsonl", quoting), tmp_path / "run")
    (row,) = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert math.isfinite(row["loss"]) and 0 < row["loss"] < 20


def test_the_rate_rises_and_falls(world: World, tmp_path: Path) -> None:
    """A quarter of eight updates is warm-up; then a straight line to 0 after the last."""
    train(
        "sft",
        world,
        world.examples,
        tmp_path,
        batch_size=1,
        micro_batch_size=1,
        epochs=0.5,
        warmup_ratio=0.25,
    )
    rates = [row["learning_rate"] for row in read_jsonl(tmp_path / "metrics.jsonl")]
    expected = [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates == pytest.approx([SFT.learning_rate * share for share in expected])


@pytest.mark.parametrize("kind", ["sft", "rl", "reward_model"])
def test_a_run_sees_the_pictures_of_its_examples(
    kind: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes into the vision tower is what the library makes of the files, for all examples."""
    monkeypatch.setattr(JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
    seen: list[torch.Tensor] = []
    forward = Qwen2_5_VisionTransformerPretrainedModel.forward

    def watched(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            seen.append(hidden_states.detach().clone())
        return forward(self, hidden_states, *args, **kwargs)

    monkeypatch.setattr(Qwen2_5_VisionTransformerPretrainedModel, "forward", watched)
    changes = {"rollout_batch_size": 16} if kind == "rl" else {"epochs": 1.0}
    train(kind, world, world.pairs if kind == "rl" else world.examples, tmp_path, **changes)
    processor = load_processor(world.model)
    files = [pair.images[0] for pair in read_pairs(world.pairs)]
    known = {patches_of(processor, Image.open(file)): file for file in files}
    found = [known.get(part.numpy().tobytes()) for part in torch.cat(seen).split(8)]
    assert None not in found and set(found) == set(files)


def patches_of(processor: Any, picture: Image.Image) -> bytes:
    """The eight patches of a picture of 28 x 56 pixels."""
    return processor.image_processor([picture], return_tensors="pt")["pixel_values"].numpy().tobytes()


@pytest.mark.parametrize("kind", ["sft", "reward_model"])
def test_another_seed_is_another_order_of_the_examples(kind: str, world: World, tmp_path: Path) -> None:
    """The model of SFT is the same before its first update, and a reward model without its head."""
    shown: dict[int, list[str]] = {}
    for seed in (0, 1):
        asked = shown[seed] = []
        with pytest.MonkeyPatch.context() as patch:
            module = sft_module if kind == "sft" else reward_module
            encode_them = module.encode
            patch.setattr(
                module, "encode", lambda p, r, a=asked, e=encode_them, **k: (a.extend(r), e(p, r, **k))[1]
            )
            train(kind, world, world.examples, tmp_path / str(seed), seed=seed)
    assert shown[0] and [r.text for r in shown[0]] != [r.text for r in shown[1]]


@pytest.mark.parametrize("kind", ["sft", "scalar", "critique"])
def test_an_example_whose_picture_does_not_fit_is_left_out(
    kind: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At mini's pixels a picture of 4000 x 20 cannot be shown."""
    Image.new("RGB", (4000, 20)).save(tmp_path / "long.png")
    examples = read_sft(world.examples)
    long = replace(examples[0], pair=replace(examples[0].pair, images=(str(tmp_path / "long.png"),)))
    path = write_pairs(tmp_path / "sft.jsonl", [long, *examples])
    trained: list[Any] = []
    module = sft_module if kind == "sft" else reward_module
    monkeypatch.setattr(module, "run_trainer", lambda _, found, **__: trained.extend(found.kept))
    narrow = {"out": tmp_path, "model_settings": MODEL.model_copy(update={"max_pixels": 7056}), "seed": 0}
    if kind == "sft":
        train_sft(world.model, path, settings=SFT, **narrow)
    else:
        settings = RewardModelSettings(**SFT.model_dump())
        train_reward_model(world.model, path, kind=kind, settings=settings, **narrow)
    assert [found.pair for found in trained] == [example.pair for example in examples]


def test_a_finished_run_is_not_trained_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"settings": SFT, "model_settings": MODEL, "seed": 0}
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
    run = read_json(tmp_path / "run/status.json")["run"]
    assert run["start"] == weights_hash(world.model) and run["start_files"] == files_hash(world.model) != ""
    assert run["pairs" if kind == "rl" else "examples"] == sha256_file(first) and run["seed"] == 0
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


def train(kind: str, world: World, data: Path, out: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A run of one of the trainings, of one update unless changed."""
    common: dict[str, Any] = {"out": out, "model_settings": MODEL, "seed": seed}
    sft = SFT.model_copy(update={"epochs": 0.25, "warmup_ratio": 0.0, **changes})
    if kind == "sft":
        return train_sft(world.model, data, settings=sft, **common)
    if kind == "rl":
        one_step = RL.model_copy(update={"max_steps": 1, **changes})
        return train_rl(world.model, data, settings=one_step, engine_settings=ENGINE, **common).model
    settings = RewardModelSettings(**sft.model_dump())
    return train_reward_model(world.model, data, kind="scalar", settings=settings, **common)


def test_every_pass_shows_every_example_once_and_an_update_sorts_them_by_length(world: World) -> None:
    examples, size = read_sft(world.examples), 4
    assert len(examples) % size == 0
    stream = ExampleStream(examples, prompt="mini", batch_size=size, steps=3 * len(examples) // size, seed=1)
    shown = [stream[place] for place in range(len(stream))]
    passes = [shown[start : start + len(examples)] for start in range(0, len(shown), len(examples))]
    ids = [[example.pair.pair_id for example in one] for one in passes]
    assert all(sorted(one) == sorted(example.pair.pair_id for example in examples) for one in ids)
    assert ids[0] != ids[1] != ids[2]
    lengths = [len(judge_prompt(one.pair)) + len(one.completion) for one in shown]
    updates = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    assert all(update == sorted(update) for update in updates)
    assert any(len(set(update)) > 1 for update in updates)
    limited = choose_examples(examples, 5, 1)
    assert len(limited) == 5 and limited == choose_examples(examples, 5, 1) != choose_examples(examples, 5, 2)


def test_prompts_above_the_limit_are_refused(world: World, tmp_path: Path) -> None:
    how: dict[str, Any] = {"settings": SFT, "model_settings": MODEL, "seed": 0}
    with pytest.raises(PromptTooLongError, match="the limit is 8"):
        train_sft(world.model, world.examples, out=tmp_path, max_prompt_tokens=8, **how)


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
        )


def test_the_control_gets_the_time_of_the_rl_run(tmp_path):
    append_jsonl(
        tmp_path / "rl" / "metrics.jsonl", [{"step": 1, "cpu_seconds": 4.0}, {"step": 2, "cpu_seconds": 6.0}]
    )
    append_jsonl(
        tmp_path / "sft" / "metrics.jsonl", [{"step": 1, "cpu_seconds": 1.0}, {"step": 8, "cpu_seconds": 4.0}]
    )
    assert run_seconds(tmp_path / "rl") == 10.0
    settings = SFTSettings(batch_size=16, micro_batch_size=16, max_examples=50)
    control = continued_settings(
        settings, rl_record=tmp_path / "rl", sft_record=tmp_path / "sft", num_examples=160
    )
    # Ten seconds at two updates a second are 20 updates of 16, which is twice around 160 examples.
    assert control.epochs == 2.0
    assert control.max_examples is None
    assert control.learning_rate == settings.learning_rate


def test_the_pace_of_a_cold_start_counts_the_time_before_a_kill(tmp_path):
    """Its updates count from the start of the run, and so do the seconds that the control is matched by."""
    file, shown = tmp_path / "metrics.jsonl", []
    append_jsonl(file, {"step": 8, "loss": 1.0, "seconds": 500.0, "cpu_seconds": 400.0})
    recorder = Recorder(file, shown.append)
    recorder.on_train_begin(None, None, None)
    recorder.on_log(None, SimpleNamespace(global_step=9), None, logs={"loss": 0.5, "epoch": 2.0})
    row = read_jsonl(file)[-1]
    assert (row["step"], row["loss"], shown) == (9, 0.5, [row])
    assert row["seconds"] >= 500.0 and row["cpu_seconds"] >= 400.0
