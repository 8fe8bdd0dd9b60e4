"""Many answers a pair, and rankings of several responses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from r1reward.bench.best_of_n import rank_with, ranking_questions
from r1reward.bench.files import spread
from r1reward.bench.mm_rlhf_rewardbench import load_benchmark
from r1reward.bench.pool import judge_often
from r1reward.config import load_profile
from r1reward.files import read_jsonl
from r1reward.mini.world.benchmark import write_mm_rlhf_rewardbench
from r1reward.mini.world.cases import Writer
from r1reward.settings import Profile
from r1reward.types import PreferencePair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[PreferencePair]:
    folder = tmp_path_factory.mktemp("world")
    write_mm_rlhf_rewardbench(folder, 30, Writer("mm_rlhf_rewardbench", "test", 0))
    return load_benchmark(folder)


@pytest.fixture
def profile() -> Profile:
    small = {"engine": {"max_new_tokens": 6}, "scaling": {"samples": 3, "pairs": 4}}
    return load_profile("mini", overrides=small)


def test_the_record_holds_every_answer_and_repeats(
    pairs: list[PreferencePair], profile: Profile, tmp_path: Path
) -> None:
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        judge_often("mini", pairs, profile=profile, seed=1, work=place, record=place / "pool.jsonl")
    first, second = ((place / "pool.jsonl").read_bytes() for place in places)
    assert first == second
    lines = read_jsonl(places[0] / "pool.jsonl")
    assert [line["row"] for line in lines] == [0, 17, 18, 19]
    texts = read_jsonl(places[0] / "texts.jsonl")
    assert len(texts) == 8 and all(len(line["texts"]) == 3 for line in texts)
    for line, pair in zip(lines, spread(pairs, 4), strict=True):
        assert (line["group"], line["preferred"], line["question"]) == (
            pair.category,
            1,
            pair.meta["question"],
        )
        assert [len(marks) for marks in line["verdicts"]] == [3, 3]
        assert np.shape(line["probabilities"]) == (2, 3) and len(line["tokens"]) == 2


def test_questions_with_several_pairs_are_ranked(
    pairs: list[PreferencePair], profile: Profile, tmp_path: Path
) -> None:
    questions = ranking_questions(pairs)
    assert questions and all(len(responses) >= 3 for _, responses, _ in questions)
    for item, responses, good in questions:
        about = [pair for pair in pairs if pair.meta["question"] == item.label]
        assert [responses[index] for index in good] == [about[0].responses[0]]
        assert responses == sorted({text for pair in about for text in pair.responses})
    rank_with("mini", questions, profile=profile, record=tmp_path / "rankings.jsonl")
    lines = read_jsonl(tmp_path / "rankings.jsonl")
    assert [line["question"] for line in lines] == [item.label for item, _, _ in questions]
    assert all(sorted(line["order"]) == list(range(line["responses"])) for line in lines)


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
