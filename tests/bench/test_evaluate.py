"""One checkpoint in every mode: each way of asking reaches the judge, and its answers the right record."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from known_judge import KnownJudge, is_grey

from r1reward.bench import evaluate as module
from r1reward.bench.evaluate import describe_answers, evaluate, validate
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.mini.world import write_world
from r1reward.scoring import read_records
from r1reward.settings import BenchSettings, EngineSettings, ModelSettings, Profile, WorldSettings
from r1reward.types import PreferencePair

PROFILE = Profile(
    name="test",
    sentence="A test.",
    engine=EngineSettings(max_new_tokens=17),
    bench=BenchSettings(sampled_temperature=0.5),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[PreferencePair]:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, WorldSettings(pairs_per_source=1, benchmark_pairs=10, validation_pairs=1), 0)
    return load_benchmark(folder / "vl_rewardbench")


@pytest.fixture
def judges(pairs: list[PreferencePair], monkeypatch: pytest.MonkeyPatch) -> dict[str, KnownJudge]:
    """By the checkpoint that is asked for."""
    known = {"good": KnownJudge(pairs), "bad": KnownJudge(pairs, wrong=True)}
    monkeypatch.setattr(module, "load_engine", lambda checkpoint, profile: known[checkpoint])
    monkeypatch.setattr(module, "identify", lambda checkpoint, profile: str(checkpoint))
    return known


def test_each_mode_asks_in_its_own_way_and_has_its_own_record(judges, pairs, tmp_path) -> None:
    where = {"work": tmp_path / "w", "record": tmp_path / "r"}
    scores = evaluate("good", pairs, profile=PROFILE, seed=0, **where)
    assert {mode: score.accuracy for mode, score in scores.items()} == {
        "greedy": 1.0,
        "sampled": 0.5,
        "blank_greedy": 0.0,
    }
    right = ["12" if pair.preferred == 1 else "21" for pair in pairs]
    assert set(right) == {"12", "21"}
    for mode, verdicts in {"greedy": right, "sampled": ["11"] * 10, "blank_greedy": ["uu"] * 10}.items():
        records = read_records(tmp_path / "r" / f"{mode}.jsonl")
        assert [record.verdicts for record in records] == verdicts
        assert [record.preferred for record in records] == [pair.preferred for pair in pairs]
        assert {record.pictures for record in records} == {"blank" if mode == "blank_greedy" else ""}
    asked = judges["good"].asked
    assert [sampling.temperature for _, sampling in asked] == [0.0] * 20 + [0.5] * 20 + [0.0] * 20
    assert [all(map(is_grey, request.images)) for request, _ in asked] == [False] * 40 + [True] * 20
    assert {(sampling.max_new_tokens, sampling.samples) for _, sampling in asked} == {(17, 1)}


def test_the_checkpoint_that_is_named_is_judged(judges, pairs, tmp_path) -> None:
    found = {
        name: evaluate(
            name,
            pairs,
            profile=PROFILE,
            seed=0,
            modes=["greedy"],
            work=tmp_path / name,
            record=tmp_path / name,
        )["greedy"].accuracy
        for name in judges
    }
    assert found == {"good": 1.0, "bad": 0.0}
    assert all(len(judge.asked) == 20 for judge in judges.values())


def test_the_prompt_of_the_profile_is_asked(pairs, tmp_path, monkeypatch) -> None:
    judge = KnownJudge(pairs, prompt="paper")
    monkeypatch.setattr(module, "load_engine", lambda checkpoint, profile: judge)
    monkeypatch.setattr(module, "identify", lambda checkpoint, profile: "")
    profile = PROFILE.model_copy(update={"model": ModelSettings(prompt="paper")})
    where = {"work": tmp_path / "w", "record": tmp_path / "r"}
    assert evaluate("x", pairs, profile=profile, seed=0, modes=["greedy"], **where)["greedy"].accuracy == 1.0


def test_seeds_draw_other_answers_and_a_run_can_be_repeated(judges, pairs, tmp_path) -> None:
    drawn: dict[int, set[int]] = {}
    for number, seed in enumerate((0, 1, 0)):
        judges["good"].asked.clear()
        where = {"work": tmp_path / str(number), "record": tmp_path / "r"}
        evaluate("good", pairs, profile=PROFILE, seed=seed, modes=["sampled"], **where)
        found = {sampling.seed for _, sampling in judges["good"].asked}
        assert drawn.setdefault(seed, found) == found
    assert not drawn[0] & drawn[1]


def test_judgments_are_reused_for_the_same_weights_only(judges, pairs, tmp_path) -> None:
    where = {"profile": PROFILE, "seed": 0, "work": tmp_path / "w", "record": tmp_path / "r"}
    evaluate("good", pairs, modes=["greedy"], **where)
    evaluate("good", pairs, modes=["greedy"], **where)
    assert len(judges["good"].asked) == 20
    assert evaluate("bad", pairs, modes=["greedy"], **where)["greedy"].accuracy == 0.0


@pytest.mark.parametrize(("policy", "accuracy"), [("wrong", 0.0), ("drop", math.nan)])
def test_the_policy_of_the_profile_scores_and_is_recorded(
    judges: Any, pairs: list[PreferencePair], tmp_path: Path, policy: Any, accuracy: float
) -> None:
    profile = PROFILE.model_copy(update={"bench": BenchSettings(unparsed=policy)})
    where = {"work": tmp_path / "w", "record": tmp_path / "r"}
    (scores,) = evaluate("good", pairs, profile=profile, seed=0, modes=["blank_greedy"], **where).values()
    assert scores.accuracy == pytest.approx(accuracy, nan_ok=True)
    records = read_records(tmp_path / "r" / "blank_greedy.jsonl")
    assert {record.unparsed for record in records} == {"" if policy == "wrong" else policy}


def test_validation_reports_both_ways_of_answering(judges, pairs, tmp_path) -> None:
    good, bad = (
        validate(name, pairs, profile=PROFILE, seed=0, work=tmp_path / name) for name in ("good", "bad")
    )
    assert (good["accuracy"], good["accuracy_sampled"]) == (1.0, 0.5)
    assert (bad["accuracy"], bad["accuracy_sampled"]) == (0.0, 0.5)
    assert (good["answer_one"], good["unparsed_share"], good["n"]) == (0.5, 0.0, 10)


def test_answers_are_described_by_what_could_differ_between_algorithms(pairs):
    """Of four answers to like questions, one contradicts its reasoning and one corrects itself."""
    better, worse = "response 1 is better .", "response 2 is better ."
    said = [
        (f"<think>{better}</think><answer>1</answer>", 10),
        (f"<think>{worse}</think><answer>1</answer>", 10),
        (f"<think>check red , no , blue . {better}</think><answer>1</answer>", 30),
        ("<think>nothing</think>", 10),
    ]
    asked = [replace(pair, question="what colour is it ?") for pair in pairs[:2]]
    row_of = [pair.meta.get("row", index) for index, pair in enumerate(asked)]
    lines = [{"row": row, "text": text, "tokens": tokens} for row in row_of for text, tokens in said]
    found = describe_answers(asked, lines)
    assert (found["contradicted"], found["corrected"], found["length_spread"]) == (0.25, 0.25, 3.0)
    # Whose length differs with the question alone does not spread.
    apart = [asked[0], replace(asked[1], question="how many are there ?")]
    equal = [{**line, "tokens": 10 if line["row"] == row_of[0] else 40} for line in lines]
    assert describe_answers(apart, equal)["length_spread"] == 1.0
