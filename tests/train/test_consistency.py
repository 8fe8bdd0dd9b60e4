"""The small judges of consistency: what they are taught, and on what they are measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import MODEL, World

from r1reward.config import load_profile
from r1reward.engines import Sampling
from r1reward.files import read_jsonl
from r1reward.settings import JudgeSettings
from r1reward.train import consistency
from r1reward.train.consistency import (
    Opinion,
    make_consistency_judges,
    make_opinions,
    measure_consistency_judge,
    sample_answers,
    train_consistency_judge,
)
from r1reward.types import Completion, PreferencePair, Request, Verdict

FIRST, SECOND = Verdict.FIRST, Verdict.SECOND
ONE, TWO = "response 1 is better .", "response 2 is better ."


def test_every_answer_gives_an_opinion_and_its_opposite() -> None:
    """The reasoning decides which of the two agrees, whichever answer stood below it."""
    texts = [
        f"<think>{ONE}</think><answer>1</answer>",
        f"<think>{ONE}</think><answer>2</answer>",
        f"<think>{TWO}</think><answer>2</answer>",
        "<think>hm .</think><answer>1</answer>",
        f"<think>{ONE}</think>",
    ]
    assert make_opinions([("p", text) for text in texts]) == [
        Opinion(ONE, FIRST, True, "p"), Opinion(ONE, SECOND, False, "p"),
        Opinion(ONE, SECOND, False, "p"), Opinion(ONE, FIRST, True, "p"),
        Opinion(TWO, SECOND, True, "p"), Opinion(TWO, FIRST, False, "p")]  # fmt: skip


OPINIONS = [
    Opinion(f"{reasoning} {index}", verdict, (reasoning == ONE) == (verdict is FIRST), str(index))
    for index in range(8)
    for reasoning in (ONE, TWO)
    for verdict in (FIRST, SECOND)
]


def test_a_judge_is_taught_1_where_reasoning_and_answer_agree(world: World, tmp_path: Path) -> None:
    """By the examples that a real training read: 1 exactly where the conclusion names the answer."""
    settings = JudgeSettings(examples=12, epochs=1.0, batch_size=12)
    folder = train_consistency_judge(
        OPINIONS, base=world.model, out=tmp_path, settings=settings, model_settings=MODEL, seed=0
    )
    rows = read_jsonl(tmp_path / "examples.jsonl")
    assert len(rows) == 12 and {row["completion"] for row in rows} == {"0", "1"}
    for row in rows:
        reasoning, answer = row["text"].split("\n")[:2]
        same = ("response 1" in reasoning) == ("response 1" in answer)
        assert row["completion"] == str(int(same)), row["text"]
    assert folder == tmp_path / "model" and len(read_jsonl(tmp_path / "metrics.jsonl")) == 1


class Remembering:
    """A judge that agrees with everything and remembers what it was asked."""

    fingerprint = "remembering"

    def __init__(self) -> None:
        self.asked: list[tuple[str, Verdict]] = []

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        self.asked += zip(reasonings, verdicts, strict=True)
        return [None if "7" in reasoning else True for reasoning in reasonings]


def test_accuracy_counts_what_is_unknown_as_wrong() -> None:
    measured = measure_consistency_judge(Remembering(), OPINIONS)
    assert (measured["n"], measured["unknown"], measured["accuracy"]) == (32, 4, 14 / 32)
    low, high = measured["interval"]
    assert low < 14 / 32 < high
    assert measure_consistency_judge(Remembering(), [])["accuracy"] is None


def test_both_judges_learn_from_one_part_and_are_measured_on_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own settings; the judge that is measured is the one that was trained."""
    taught: dict[str, dict[str, Any]] = {}
    judges: dict[str, Remembering] = {}

    def teach(opinions: Sequence[Opinion], *, out: Path, **others: Any) -> Path:
        taught[out.name] = {"opinions": list(opinions), **others}
        return out / "model"

    def make(profile: Any, name: str, folder: Path, **others: Any) -> Remembering:
        assert folder == tmp_path and others["cache"] == tmp_path / name
        return judges.setdefault(name, Remembering())

    monkeypatch.setattr(consistency, "train_consistency_judge", teach)
    monkeypatch.setattr(consistency, "make_consistency_judge", make)
    profile = load_profile("mini")
    learned, held_out = OPINIONS[:20], OPINIONS[20:]
    measured = make_consistency_judges(learned, held_out, profile=profile, out=tmp_path, seed=5)
    assert list(measured) == ["strong", "weak"] and {one["n"] for one in measured.values()} == {12}
    for name, judge in judges.items():
        assert taught[name]["opinions"] == learned and taught[name]["seed"] == 5
        assert taught[name]["settings"] == getattr(profile.judges, name)
        assert judge.asked == [(opinion.reasoning, opinion.verdict) for opinion in held_out]
    assert profile.judges.strong != profile.judges.weak


def test_a_judge_is_not_measured_on_pairs_that_it_learnt_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 pairs, 4 among them, are both learnt from and held out"):
        make_consistency_judges(
            OPINIONS[:17], OPINIONS[17:], profile=load_profile("mini"), out=tmp_path, seed=0
        )


def test_a_policys_answers_are_drawn_at_temperature_1_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Policy:
        def generate(self, requests: Sequence[Request], sampling: Sampling, **_: Any) -> list[Any]:
            asked.append(sampling)
            return [(Completion(f"answer to {one.text[-9:]}", (1,), (0.0,), "stop"),) for one in requests]

    def load(*given: Any) -> Policy:
        asked.append(given)
        return Policy()

    monkeypatch.setattr(consistency, "load_engine", load)
    profile = load_profile("mini", overrides={"engine": {"max_new_tokens": 9}})
    pairs = [PreferencePair(f"p{n}", "povid", "which ?", ("a", f"b{n}"), 1) for n in range(2)]
    found = sample_answers("policy", pairs, profile=profile, seed=7)
    assert [name for name, _ in found] == ["p0", "p1"]
    assert all(text.startswith("answer to") for _, text in found)
    assert asked == [("policy", profile), Sampling(9, temperature=1.0, seed=7)]
