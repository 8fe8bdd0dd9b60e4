"""Many answers a pair, and rankings of several responses."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_judge import KnownJudge

from r1reward.bench.evaluate import judge_often, rank_with, ranking_questions
from r1reward.bench.load import spread
from r1reward.bench.mm_rlhf_rewardbench import load_benchmark
from r1reward.config import load_profile
from r1reward.engines import EngineError, Sampling
from r1reward.files import read_jsonl
from r1reward.mini.world.benchmark import write_mm_rlhf_rewardbench
from r1reward.mini.world.sources import Writer
from r1reward.prompts import judge_prompt
from r1reward.settings import Profile
from r1reward.types import Completion, PreferencePair, Request


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[PreferencePair]:
    folder = tmp_path_factory.mktemp("world")
    write_mm_rlhf_rewardbench(folder, 30, Writer("mm_rlhf_rewardbench", "test", 0))
    return load_benchmark(folder)


@pytest.fixture
def profile() -> Profile:
    small = {"engine": {"max_new_tokens": 6}, "scaling": {"samples": 3, "pairs": 4}}
    return load_profile("mini", overrides={**small, "bench": {"sampled_temperature": 0.7}})


@pytest.fixture
def judges(pairs: list[PreferencePair], monkeypatch: pytest.MonkeyPatch) -> dict[str, KnownJudge]:
    """By the checkpoint that is asked for."""
    known = {"good": KnownJudge(pairs), "bad": KnownJudge(pairs, wrong=True)}
    for module in ("r1reward.bench.evaluate", "r1reward.judge.generative"):
        monkeypatch.setattr(f"{module}.load_engine", lambda checkpoint, profile: known[checkpoint])
        monkeypatch.setattr(f"{module}.identify", lambda checkpoint, profile: str(checkpoint))
    return known


def test_answers_are_drawn_as_the_profile_says_and_kept_with_their_probability(
    judges: dict[str, KnownJudge], pairs: list[PreferencePair], profile: Profile, tmp_path: Path
) -> None:
    """A sampled answer of the known judge is 1 with a probability of 0.8, one at temperature 0 another."""
    where = {"work": tmp_path / "work", "record": tmp_path / "pool.jsonl"}
    judge_often("good", pairs, profile=profile, seed=1, **where)
    shown = spread(pairs, 4)
    assert [request.text for request, _ in judges["good"].asked] == [
        judge_prompt(one, name="mini") for pair in shown for one in (pair, pair.swapped())
    ]
    assert {(s.temperature, s.samples, s.max_new_tokens) for _, s in judges["good"].asked} == {(0.7, 3, 6)}
    for line, pair in zip(read_jsonl(tmp_path / "pool.jsonl"), shown, strict=True):
        assert (line["row"], line["group"], line["preferred"]) == (pair.meta["row"], pair.category, 1)
        assert line["question"] == pair.meta["question"]
        assert line["verdicts"] == ["111", "111"] and line["tokens"] == [18, 18]
        assert line["probabilities"] == [[800] * 3] * 2
    assert not judges["bad"].asked


def test_a_pool_repeats_and_another_seed_is_another_pool(
    pairs: list[PreferencePair], profile: Profile, tmp_path: Path
) -> None:
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        place = tmp_path / str(number)
        judge_often("mini", pairs, profile=profile, seed=seed, work=place, record=place / "pool.jsonl")
        drawn.append([line["texts"] for line in read_jsonl(place / "texts.jsonl")])
    assert drawn[0] == drawn[1] != drawn[2]
    assert any(len(set(texts)) > 1 for texts in drawn[0]), "the answers are drawn"
    lines = read_jsonl(tmp_path / "0" / "pool.jsonl")
    assert [np.shape(line["probabilities"]) for line in lines] == [(2, 3)] * 4


def test_questions_with_several_pairs_are_ranked_by_the_judge_that_is_named(
    judges: dict[str, KnownJudge], pairs: list[PreferencePair], profile: Profile, tmp_path: Path
) -> None:
    questions = ranking_questions(pairs)
    assert questions and all(len(responses) >= 3 for _, responses, _ in questions)
    for item, responses, good in questions:
        about = [pair for pair in pairs if pair.meta["question"] == item.label]
        assert [responses[index] for index in good] == [about[0].responses[0]]
        assert responses == sorted({text for pair in about for text in pair.responses})
    # Between two responses that no pair compares, the known judge is told which to take.
    everything = [
        PreferencePair("x", "x", item.question, (responses[i], responses[j]), 1, item.images, item.frames)
        for item, responses, good in questions
        for i, j in combinations(sorted(range(len(responses)), key=lambda i: (i not in good, i)), 2)
    ]
    places = {}
    for name in judges:
        judges[name] = KnownJudge(everything, wrong=name == "bad")
        rank_with(name, questions, profile=profile, record=tmp_path / f"{name}.jsonl")
        places[name] = [
            [line["order"].index(index) for index in line["good"]]
            for line in read_jsonl(tmp_path / f"{name}.jsonl")
        ]
    assert places["good"] == [[0]] * len(questions)
    assert places["bad"] == [[len(responses) - 1] for _, responses, _ in questions]
    ways = {(sampling.samples, sampling.temperature) for _, sampling in judges["good"].asked}
    assert ways == {(1, 0.0)}
    judges["good"].asked.clear()
    rank_with("good", questions, profile=profile, record=tmp_path / "votes.jsonl", votes=3)
    ways = {(sampling.samples, sampling.temperature) for _, sampling in judges["good"].asked}
    assert ways == {(3, 0.7)}, "votes are sampled"


class Refusing(KnownJudge):
    """Cannot be asked about one question."""

    refused = ""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Any = None
    ) -> list[tuple[Completion, ...]]:
        for request in requests:
            if self.refused and self.refused in request.text:
                raise EngineError(f"{request.origin}: no")
        return super().generate(requests, sampling, progress=progress)


def test_what_cannot_be_asked_costs_its_own_line(
    judges: dict[str, KnownJudge], pairs: list[PreferencePair], profile: Profile, tmp_path: Path
) -> None:
    """In the pool and in best-of-N: the others' lines are those of a judge that can be asked everything."""
    questions = ranking_questions(pairs)
    everything = [
        PreferencePair("x", "x", item.question, (responses[i], responses[j]), 1, item.images, item.frames)
        for item, responses, _ in questions
        for i, j in combinations(range(len(responses)), 2)
    ]
    refused = questions[0][0].question
    chosen = [pair for pair in pairs if pair.question in (refused, pairs[-1].question)][-4:]
    judge = Refusing([*pairs, *everything])
    judges["good"] = judge
    lines: dict[str, list[list[dict[str, Any]]]] = {"pool": [], "ranks": []}
    for judge.refused in ("", refused):
        place = tmp_path / f"{judge.refused}"
        judge_often("good", chosen, profile=profile, seed=1, work=place, record=place / "pool.jsonl")
        rank_with("good", questions, profile=profile, record=place / "ranks.jsonl")
        for name, found in lines.items():
            found.append(read_jsonl(place / f"{name}.jsonl"))
    for whole, part in lines.values():
        failed = [index for index, line in enumerate(part) if "not_asked" in line]
        assert 0 < len(failed) < len(part) == len(whole)
        assert [line for line in part if "not_asked" not in line] == [
            line for index, line in enumerate(whole) if index not in failed
        ]
    assert next(line for line in lines["pool"][1] if "not_asked" in line)["verdicts"] == ["uuu", "uuu"]
    assert lines["ranks"][1][0]["order"] == [] and lines["ranks"][1][0]["not_asked"] > 0
    judge.refused = " "
    with pytest.raises(EngineError, match="nothing could be asked"):
        rank_with("good", questions, profile=profile, record=tmp_path / "none.jsonl")


def test_a_response_that_is_rejected_in_one_pair_is_not_a_good_one() -> None:
    """And a question of which no response is only preferred, or which has two, is not asked."""
    compared = {"chain": "ab bc", "circle": "ab bc ca", "two": "ab", "fork": "ca cb"}
    pairs = [
        PreferencePair("p", "s", name, (better, worse), 1, meta={"question": name})
        for name, all_pairs in compared.items()
        for better, worse in all_pairs.split()
    ]
    pairs = [pair if index % 2 else pair.swapped() for index, pair in enumerate(pairs)]
    found = {item.label: (responses, good) for item, responses, good in ranking_questions(pairs)}
    assert found == {"chain": (["a", "b", "c"], [0]), "fork": (["a", "b", "c"], [2])}


def test_part_of_a_benchmark_is_spread_over_it_and_keeps_questions_whole() -> None:
    pairs = [
        PreferencePair(
            f"p{i}", "s", "q", ("a", "b"), 1, category=str(i // 10), meta={"question": f"q{i // 2}"}
        )
        for i in range(40)
    ]
    part = spread(pairs, 8)
    assert len(part) == 8 and {pair.category for pair in part} == {"0", "1", "2", "3"}
    names = [pair.meta["question"] for pair in part]
    assert names[::2] == names[1::2]
    assert spread(pairs, 40) == pairs
    assert len(spread([replace(pair, meta={}) for pair in pairs], 7)) == 7
