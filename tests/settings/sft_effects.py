"""What each setting of `sft`, `model`, `judges`, `annotators`, `reward_model` does to the smallest runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers import score_by_tokens
from PIL import Image
from studio import Studio, differ, effect, watch_collator, watch_engine

from r1reward.data.annotate import annotate_pairs
from r1reward.data.storage import read_sft, write_pairs
from r1reward.engines.loading import load_model
from r1reward.files import read_json, read_jsonl
from r1reward.judge.consistency_judges import (
    ModelConsistencyJudge,
    ServerConsistencyJudge,
    make_consistency_judge,
)
from r1reward.settings import RewardModelSettings
from r1reward.train import rl
from r1reward.train.annotators import run_arm, write_study_pairs
from r1reward.train.checkpoint import load_policy, merged_weights
from r1reward.train.consistency import Opinion, make_consistency_judges
from r1reward.train.scalar_head import train_reward_model
from r1reward.types import PreferencePair, Verdict


@effect("sft.epochs", "sft.batch_size")
def so_many_passes_in_batches(studio: Studio) -> None:
    """Eight examples: passes times eight over the size of a batch."""
    steps = {
        (passes, size): studio.sft({"sft.epochs": passes, "sft.batch_size": size}).status["step"]
        for passes, size in ((1.0, 4), (2.0, 4), (1.0, 8))
    }
    assert steps == {(1.0, 4): 2, (2.0, 4): 4, (1.0, 8): 1}


@effect("sft.learning_rate")
def the_first_adam_step_moves_weights_by_the_rate(studio: Studio) -> None:
    """A single update without warm-up."""
    for rate in (1e-3, 2e-4):
        changes = {"sft.batch_size": 8, "sft.warmup_ratio": 0.0, "sft.learning_rate": rate}
        assert studio.sft(changes).moved(studio.start) == pytest.approx(rate, rel=0.02)


@effect("sft.micro_batch_size")
def a_forward_pass_takes_so_many_examples(studio: Studio) -> None:
    """And the update is the same."""
    runs = []
    for size in (2, 4):
        with watch_collator() as seen:
            runs.append(studio.sft({"sft.micro_batch_size": size}, seed=12))
        assert [len(part) for part in seen] == [size] * (8 // size)
    losses = [[row["loss"] for row in run.rows] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@effect("sft.max_examples")
def only_so_many_examples_are_seen(studio: Studio) -> None:
    """Drawn by the seed."""
    drawn = []
    for seed in (21, 22):
        with watch_collator() as seen:
            studio.sft({"sft.max_examples": 4, "sft.epochs": 2.0}, seed=seed)
        drawn.append({text for part in seen for text in part})
    assert [len(texts) for texts in drawn] == [4, 4] and drawn[0] != drawn[1]


@effect("sft.warmup_ratio")
def the_rate_rises_and_falls_to_nothing(studio: Studio) -> None:
    """Four updates: at once at the peak, or after two of warm-up; then along a line to 0 after the last."""
    rates = {
        warmup: [
            row["learning_rate"] / 1e-3
            for row in studio.sft({"sft.epochs": 2.0, "sft.warmup_ratio": warmup}).rows
        ]
        for warmup in (0.0, 0.5)
    }
    assert rates == {0.0: pytest.approx([1, 0.75, 0.5, 0.25]), 0.5: pytest.approx([0, 0.5, 1, 0.5])}
    warm, cold = (studio.sft({"sft.batch_size": 8, "sft.warmup_ratio": value}) for value in (1.0, 0.0))
    assert warm.moved(studio.start) < 0.1 * cold.moved(studio.start)


@effect("sft.save_steps")
def a_checkpoint_after_so_many_updates(studio: Studio) -> None:
    """Of four updates; the last is always saved."""
    saved = {n: studio.sft({"sft.epochs": 2.0, "sft.save_steps": n}).checkpoints() for n in (3, 9)}
    assert saved == {3: ["step_000003", "step_000004"], 9: ["step_000004"]}


@effect("model.base")
def training_starts_from_the_base(studio: Studio) -> None:
    """The record names its weights; another start, other weights."""
    other = studio.sft({"sft.learning_rate": 1e-2}).folder / "model"
    one, two = studio.sft(), studio.sft({"model.base": str(other)})
    assert one.status["run"]["start"] != two.status["run"]["start"] and differ(one, two)


@effect("model.prompt")
def the_policy_is_asked_in_these_words(studio: Studio) -> None:
    """In a rollout and in the forward of its update."""
    words = {"mini": "compare two", "reworded": "about the picture", "paper": "impartial"}
    room = {"engine.max_prompt_tokens": 8192}
    for prompt in words:
        learner, pairs = studio.learner({"model.prompt": prompt, **room}), studio.pairs()[:2]
        with watch_engine() as calls:
            trajectories = score_by_tokens(pairs, rl.rollout(learner, pairs, 1))
        ((chunk,),) = rl.prepare(learner, trajectories, 1)
        decode = learner.processor.tokenizer.decode
        texts = [calls[0].requests[0].text, decode(chunk.batch["input_ids"][0])]
        assert [[said for said in words if words[said] in text] for text in texts] == [[prompt], [prompt]]


@effect("model.min_pixels", "model.max_pixels")
def pictures_are_resized_to_the_budget(studio: Studio) -> None:
    """Patches (of 14 x 14) of a picture of 280 x 280, in the forward of an update."""
    picture = studio.folder / "wide.png"
    studio.folder.mkdir(exist_ok=True)
    Image.new("RGB", (280, 280), "red").save(picture)
    pair = PreferencePair("w", "test", "what ?", ("a", "b"), 1, (str(picture),))
    patches = {}
    for low, high in ((784, 10 * 784), (784, 25 * 784), (400 * 784, 400 * 784)):
        changes = {"model.min_pixels": low, "model.max_pixels": high, "rl.train_batch_size": 1}
        learner = studio.learner({**changes, "engine.max_prompt_tokens": 1024})
        trajectories = score_by_tokens([pair], rl.rollout(learner, [pair], 1))
        ((chunk,),) = rl.prepare(learner, trajectories, 1)
        patches[low, high] = int(chunk.batch["image_grid_thw"].prod())
    # Ten cells of 28 x 28 allow 3 x 3, twenty-five 5 x 5; four patches are a cell.
    assert list(patches.values()) == [9 * 4, 25 * 4, 400 * 4]


@effect("model.dtype")
def weights_are_of_this_type(studio: Studio) -> None:
    """In the checkpoint that a run leaves."""
    for name in ("float32", "bfloat16"):
        model, _ = load_model(studio.world.model, settings=studio.profile({"model.dtype": name}).model)
        assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, name)}


@effect("model.lora.rank", "model.lora.alpha")
def adapters_add_alpha_over_rank_of_their_product(studio: Studio) -> None:
    """By hand from the matrices A (rank rows) and B."""
    pytest.importorskip("peft")
    for rank, alpha in ((2, 8), (4, 8), (4, 32)):
        settings = studio.profile({"model.lora.rank": rank, "model.lora.alpha": alpha}).model
        model, _ = load_policy(studio.world.model, checkpoint=None, settings=settings, seed=0)
        name = next(n for n, part in model.named_modules() if hasattr(part, "get_delta_weight"))
        layer = model.get_submodule(name)
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        torch.nn.init.constant_(b, 0.5)
        merged = merged_weights(model)
        assert merged is not None and a.shape[0] == rank
        added = merged[f"{name}.weight"] - layer.base_layer.weight
        torch.testing.assert_close(added, alpha / rank * (b @ a), atol=1e-5, rtol=1e-4)


@effect(
    "reward_model.epochs", "reward_model.learning_rate", "reward_model.batch_size",
    "reward_model.micro_batch_size", "reward_model.max_examples", "reward_model.warmup_ratio",
    "reward_model.save_steps", "reward_model.critique_weight",
)  # fmt: skip
def reward_models_learn_by_their_own_settings(studio: Studio) -> None:
    """Each value is another than that of the cold start; critique loss has its weight in the loss."""
    values = {"epochs": 3.0, "learning_rate": 2e-3, "batch_size": 2, "micro_batch_size": 1, "max_examples": 4,
              "warmup_ratio": 0.5, "save_steps": 5, "critique_weight": 3.0}  # fmt: skip
    profile = studio.profile({f"reward_model.{name}": value for name, value in values.items()})
    assert profile.reward_model == RewardModelSettings(**values)
    known = {"settings": profile.reward_model, "model_settings": profile.model, "seed": 0}
    out = studio.folder / "critique"
    train_reward_model(studio.world.model, studio.world.examples, kind="critique", out=out, **known)
    rows = read_jsonl(out / "metrics.jsonl")
    # Six updates, three of them warm-up.
    thirds = [0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]
    assert [row["learning_rate"] / 2e-3 for row in rows] == pytest.approx(thirds)
    for row in rows:
        parts = row["preference_loss"] + 3.0 * row["critique_loss"]
        assert row["loss"] == pytest.approx(parts, rel=1e-3)
    saved = sorted(path.name for path in (out / "checkpoints").glob("step_*"))
    assert saved == ["step_000005", "step_000006"]


def opinions(count: int) -> list[Opinion]:
    """Half of them agree."""
    return [
        Opinion(
            f"thing {index} . response 1 is better .", Verdict(str(1 + index % 2)), index % 2 == 0, str(index)
        )
        for index in range(count)
    ]


@effect(*(f"judges.{judge}.{name}" for judge in ("strong", "weak")
          for name in ("examples", "epochs", "learning_rate", "batch_size")))  # fmt: skip
def each_consistency_judge_learns_by_its_own_settings(studio: Studio) -> None:
    """Examples in its file, updates and rates in its record."""
    sizes = {
        "strong": {"examples": 8, "epochs": 2.0, "learning_rate": 1e-3, "batch_size": 4},
        "weak": {"examples": 4, "epochs": 1.0, "learning_rate": 3e-3, "batch_size": 2},
    }
    changes = {
        f"judges.{judge}.{name}": value for judge, some in sizes.items() for name, value in some.items()
    }
    out = studio.folder / "judges"
    make_consistency_judges(opinions(20), [], profile=studio.profile(changes), out=out, seed=0)
    for judge, size in sizes.items():
        steps = math.ceil(size["epochs"] * size["examples"] / size["batch_size"])
        rows = read_jsonl(out / judge / "metrics.jsonl")
        assert len(read_jsonl(out / judge / "examples.jsonl")) == size["examples"]
        assert len(rows) == steps
        assert max(row["learning_rate"] for row in rows) == pytest.approx(size["learning_rate"], rel=0.5)


@effect("judges.name")
def judges_are_trained_here_or_behind_a_server(studio: Studio) -> None:
    """By the name alone."""
    kinds = {"trained": ModelConsistencyJudge, "server": ServerConsistencyJudge}
    for name, kind in kinds.items():
        profile = studio.profile({"judges.name": name})
        for judge in ("strong", "weak"):
            assert isinstance(make_consistency_judge(profile, judge, studio.folder, seed=0), kind)


class Known:
    """Right at the first attempt about every other pair, else never."""

    fingerprint = "known"

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        right = int(pair.pair_id[1:]) % 2 == 0
        return f"<think>.</think><answer>{pair.preferred if right else 3 - pair.preferred}</answer>"


def study(studio: Studio, name: str) -> Path:
    """The folder of built pairs, validation split, cold start and answers that the study reads."""
    folder = studio.folder / name
    write_pairs(folder / "built" / "pairs.jsonl", studio.pairs())
    write_pairs(folder / "validation.jsonl", [])
    write_pairs(folder / "sft.jsonl", read_sft(studio.world.examples))
    annotate_pairs(Known(), studio.pairs(), path=folder / "annotations.jsonl", max_attempts=1)
    return folder


def drawn(studio: Studio, data: Path, changes: dict[str, object]) -> tuple[Sequence[str], Sequence[str]]:
    """Identifiers of the pairs and of the lessons of a study."""
    out = data / "study"
    write_study_pairs(data, out, profile=studio.profile(changes))
    pairs, lessons = read_jsonl(out / "pairs.jsonl"), read_sft(out / "lessons.jsonl")
    return [row["pair_id"] for row in pairs], [lesson.pair.pair_id for lesson in lessons]


@effect("annotators.pairs", "annotators.lessons")
def so_many_pairs_and_lessons_are_drawn(studio: Studio) -> None:
    """Of eight."""
    data = study(studio, "drawn")
    sizes = {"annotators.pairs": 3, "annotators.lessons": 2}
    pairs, lessons = drawn(studio, data, sizes)
    assert (len(pairs), len(lessons)) == (3, 2)
    others, more = drawn(studio, data, {**sizes, "annotators.pairs": 2, "annotators.lessons": 4})
    assert (len(others), len(more)) == (2, 4)


@effect(
    "annotators.layers", "annotators.temperature",
    "annotators.epochs", "annotators.learning_rate", "annotators.batch_size",
)  # fmt: skip
def the_weak_annotator_is_a_small_model_asked_at_its_temperature(studio: Studio) -> None:
    """Layers of its checkpoint, updates and rates of both trainings, temperature of every attempt."""
    data = study(studio, "arm")
    changes = {"annotators.pairs": 4, "annotators.lessons": 4, "annotators.layers": 2,
               "annotators.temperature": 0.5, "annotators.epochs": 3.0, "annotators.learning_rate": 2e-3,
               "annotators.batch_size": 2, "data.max_attempts": 2, "sft.warmup_ratio": 0.0}  # fmt: skip
    profile, record = studio.profile(changes), data / "record"
    write_study_pairs(data, data / "out", profile=profile)
    (data / "rl.jsonl").touch()
    asked = {}
    for arm in ("weak", "weak_sampled"):
        with watch_engine() as calls:
            run_arm(arm, data=data, out=data / "out", paid=data, record=record / arm, profile=profile, seed=0)
        asked[arm] = [call.sampling.temperature for call in calls]
    assert asked == {"weak": [0.0, 0.5], "weak_sampled": [0.5, 0.5]}
    model, _ = load_model(data / "out" / "annotator_mini" / "seed_0" / "model")
    assert len(model.model.language_model.layers) == 2
    rows = read_jsonl(data / "out" / "annotator_mini" / "seed_0" / "metrics.jsonl")
    rates = [2e-3 * left / 6 for left in range(6, 0, -1)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates), "four lessons, two an update"
    run_arm(
        "strong", data=data, out=data / "out", paid=data, record=record / "strong", profile=profile, seed=0
    )
    status = read_json(record / "strong" / "status.json")
    examples = len(read_sft(data / "out" / "strong" / "seed_0" / "sft.jsonl"))
    assert status["step"] == math.ceil(3.0 * examples / 2)
    assert read_jsonl(record / "strong" / "metrics.jsonl")[0]["learning_rate"] == 2e-3
