from dataclasses import replace
from pathlib import Path

import pytest
from helpers import World

from r1reward.config import load_profile
from r1reward.data.annotate import annotate_pairs
from r1reward.data.cold_start import select_rl, select_sft
from r1reward.data.storage import read_pairs, read_sft, write_pairs
from r1reward.engines.loading import load_model, weights_hash
from r1reward.files import read_json, read_jsonl
from r1reward.settings import Profile, ScriptSettings
from r1reward.train import annotators
from r1reward.train.annotators import (
    ARMS,
    arms_of,
    run_arm,
    train_weak_annotator,
    trained_arms,
    write_study_pairs,
)
from r1reward.types import PreferencePair

OVERRIDES = {
    "annotators": {"pairs": 8, "lessons": 5, "layers": 2, "batch_size": 4},
    "sft": {"batch_size": 8, "micro_batch_size": 8, "epochs": 1.0},
    "engine": {"batch_size": 8, "max_new_tokens": 6},
}


class Known:
    """Right at attempt 1, at attempt 2 and never, in turn."""

    fingerprint = "known"

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        right = attempt == int(pair.pair_id[1:]) % 3
        return f"<think>.</think><answer>{pair.preferred if right else 3 - pair.preferred}</answer>"


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    folder, pairs = tmp_path / "data", read_pairs(world.pairs)
    write_pairs(folder / "built" / "pairs.jsonl", pairs)
    write_pairs(folder / "validation.jsonl", [replace(pairs[0], pair_id="held out")])
    annotations = annotate_pairs(Known(), pairs, path=folder / "annotations.jsonl", max_attempts=2)
    write_pairs(folder / "sft.jsonl", select_sft(pairs, annotations))
    write_pairs(folder / "rl.jsonl", select_rl(pairs, annotations))
    return folder


def _profile(world: World) -> Profile:
    return load_profile("smoke", overrides={**OVERRIDES, "model": {"base": str(world.model)}})


def test_lessons_and_study_share_no_pair(world: World, data: Path, tmp_path: Path) -> None:
    write_study_pairs(data, tmp_path, profile=_profile(world))
    pairs, lessons = read_pairs(tmp_path / "pairs.jsonl"), read_sft(tmp_path / "lessons.jsonl")
    assert (len(pairs), len(lessons)) == (8, 5)
    assert not {pair.pair_id for pair in pairs} & {lesson.pair.pair_id for lesson in lessons}
    greedy = load_profile("smoke", overrides={"annotators": {"pairs": 16}})
    with pytest.raises(ValueError, match="leaves no cold-start example"):
        write_study_pairs(data, tmp_path, profile=greedy)
    write_pairs(data / "validation.jsonl", pairs)
    write_study_pairs(data, tmp_path, profile=_profile(world))
    assert not {pair.pair_id for pair in pairs} & {p.pair_id for p in read_pairs(tmp_path / "pairs.jsonl")}


def test_the_weak_annotator_is_a_smaller_model_whose_right_answers_are_kept(
    world: World, data: Path, tmp_path: Path
) -> None:
    profile, record = _profile(world), tmp_path / "record"
    write_study_pairs(data, tmp_path, profile=profile)
    for arm in trained_arms(profile):
        model, _ = load_model(train_weak_annotator(arm, out=tmp_path, profile=profile, seed=0))
        assert len(model.model.language_model.layers) == 2
        assert model.config.get_text_config().num_hidden_layers == 2
    found = run_arm(
        "weak_sampled",
        data=data,
        out=tmp_path,
        paid=tmp_path / "paid",
        record=record,
        profile=profile,
        seed=0,
    )
    folder = tmp_path / "weak_sampled" / "seed_0"
    rows, examples = read_jsonl(folder / "annotations.jsonl"), read_sft(folder / "sft.jsonl")
    assert found["pairs"] == len(rows) == 8
    assert found["examples"] == len(examples) == sum(row["reached"] for row in rows)
    assert read_json(record / "annotation.json") == found


@pytest.mark.parametrize("own", ["", "own"])
def test_answers_of_a_server_are_kept_where_they_outlive_the_run(
    world: World, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    profile, logs = _profile(world), []

    class Server:
        name = fingerprint = "a server"

        def __init__(self, settings: object, *, log: Path, **given: object) -> None:
            logs.append(log)

        def answer(self, pair: object, attempt: int) -> str:
            return "nothing"

    monkeypatch.setattr(annotators, "OpenAIAnnotator", Server)
    folder = str(tmp_path / own) if own else ""
    server = profile.annotators.openai.model_copy(update={"folder": folder})
    study = profile.annotators.model_copy(update={"openai": server})
    asked = profile.data.model_copy(update={"annotator": "openai"})
    profile = profile.model_copy(update={"annotators": study, "data": asked})
    out, paid = tmp_path / "out", tmp_path / "paid"
    write_study_pairs(data, out, profile=profile)
    run_arm("weak", data=data, out=out, paid=paid, record=tmp_path / "record", profile=profile, seed=0)
    kept = (tmp_path / own if own else paid / "annotators") / "weak" / "seed_0"
    assert logs == [kept / "requests.jsonl"]
    assert len(read_jsonl(kept / "annotations.jsonl")) == 8
    assert not list(out.rglob("annotations.jsonl"))


def test_the_strong_annotator_is_not_asked_again(world: World, data: Path, tmp_path: Path) -> None:
    profile, record = _profile(world), tmp_path / "record"
    write_study_pairs(data, tmp_path, profile=profile)
    found = run_arm(
        "strong", data=data, out=tmp_path, paid=tmp_path / "paid", record=record, profile=profile, seed=0
    )
    numbers = [int(pair.pair_id[1:]) % 3 for pair in read_pairs(tmp_path / "pairs.jsonl")]
    assert found["first_attempt_accuracy"] == numbers.count(0) / 8
    assert found["reached_share"] == (numbers.count(0) + numbers.count(1)) / 8
    assert weights_hash(tmp_path / "strong" / "seed_0" / "model") != weights_hash(world.model)
    assert read_jsonl(record / "metrics.jsonl")


def test_only_the_answers_tell_the_cold_starts_of_the_study_apart(
    world: World, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start, settings and prompt are those of all; the reworded arm is asked in other words, not taught."""
    taught: dict[str, tuple[object, ...]] = {}

    def teach(start: object, path: Path, *, out: Path, **how: object) -> None:
        taught[out.parent.name] = (start, path == out / "sft.jsonl", how)

    class Right:
        name = fingerprint = "right"

        def answer(self, pair: PreferencePair, attempt: int) -> str:
            return f"<think>.</think><answer>{pair.preferred}</answer>"

    monkeypatch.setattr(annotators, "train_sft", teach)
    monkeypatch.setattr(annotators, "_make_annotator", lambda *_, **__: Right())
    profile, record = _profile(world), tmp_path / "record"
    write_study_pairs(data, tmp_path, profile=profile)
    for arm in ARMS:
        run_arm(arm, data=data, out=tmp_path, paid=tmp_path, record=record, profile=profile, seed=5)
    changes = {"epochs": profile.annotators.epochs, "learning_rate": profile.annotators.learning_rate}
    sizes = {"batch_size": 4, "micro_batch_size": 4}
    settings = profile.sft.model_copy(update={**changes, **sizes, "max_examples": None})
    how = {"record": record, "seed": 5, "settings": settings, "model_settings": profile.model}
    assert taught == dict.fromkeys(ARMS, (profile.model.base, True, how))


def test_the_ideal_annotator_is_the_script_without_weaknesses_where_there_is_a_script(tmp_path: Path) -> None:
    """It knows the truth of the world that the data are from, and there is none beside a real annotator."""
    profile = load_profile("smoke")
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "truth.jsonl").write_text("")
    where = {"data": tmp_path, "out": tmp_path, "log": tmp_path / "log.jsonl", "seed": 3}
    ideal = annotators._make_annotator("ideal", profile=profile, **where)
    assert ideal.record() == {"annotator": "scripted", **ScriptSettings().model_dump(), "seed": 3}
    assert profile.data.script != ScriptSettings() and arms_of(profile) == ARMS
    own = load_profile("smoke", overrides={"data": {"root": str(tmp_path / "world")}})
    assert annotators._make_annotator("ideal", profile=own, **where).fingerprint == ideal.fingerprint
    real = load_profile("smoke", overrides={"data": {"annotator": "openai"}})
    assert arms_of(real) == ARMS[:-1]
