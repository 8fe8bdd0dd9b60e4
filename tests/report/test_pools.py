"""Votes of a pool, against enumeration of all draws and against the voting that judges use."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from r1reward.judge.generative import decide
from r1reward.report.pools import (
    Pool,
    any_right,
    early_stopping,
    majority,
    read_pool,
    swapped_majority,
    weighted_majority,
)
from r1reward.report.records import Records
from r1reward.report.scaling import figure_3, table_12, voting_rows
from r1reward.types import Completion, Verdict, Vote

VERDICTS = {"1": Verdict.FIRST, "2": Verdict.SECOND, "u": Verdict.UNPARSED}


def line(row: int, preferred: int, given: str, exchanged: str) -> dict:
    rng = np.random.default_rng(row)
    probabilities = rng.integers(500, 1000, (2, len(given))).tolist()
    both = {"verdicts": [given, exchanged], "probabilities": probabilities, "tokens": [9, 11]}
    return {"row": row, "group": "general", "preferred": preferred, **both}


LINES = [
    line(0, 1, "11121", "22222"),
    line(1, 2, "u1122", "1u2uu"),
    line(2, 1, "22222", "11111"),
    line(3, 1, "uuuuu", "uuuu2"),
]


@pytest.fixture
def pool() -> Pool:
    pool = read_pool({0: LINES}, origin="pool.jsonl")
    assert pool is not None
    return pool


def votes(one: dict, order: int) -> list[Vote]:
    marks, chances = one["verdicts"][order], one["probabilities"][order]
    said = [VERDICTS[mark] for mark in marks]
    return [Vote(v, "", Completion("", (), (), "stop"), p / 1000) for v, p in zip(said, chances, strict=True)]


def right(one: dict, order: int) -> Verdict:
    return VERDICTS[str(one["preferred"] if order == 0 else 3 - one["preferred"])]


def credit(found: list[Vote], answer: Verdict) -> float:
    names = [vote.verdict for vote in found]
    if set(names) == {Verdict.UNPARSED}:
        return 0.0
    margin = names.count(answer) - names.count(answer.swapped())
    return 0.5 * (np.sign(margin) + 1)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_majority_and_any_are_means_over_all_draws(pool: Pool, k: int) -> None:
    for row, one in enumerate(LINES):
        for order in range(2):
            draws = [list(draw) for draw in combinations(votes(one, order), k)]
            answer = right(one, order)
            assert majority(pool, k)[0, row, order] == pytest.approx(
                np.mean([credit(d, answer) for d in draws])
            )
            hit = np.mean([any(vote.verdict is answer for vote in draw) for draw in draws])
            assert any_right(pool, k)[0, row, order] == pytest.approx(hit)


def test_half_exchanged_votes_are_means_over_draws_of_both_orders(pool: Pool) -> None:
    for row, one in enumerate(LINES):
        credits = []
        for given in combinations(votes(one, 0), 2):
            for exchanged in combinations(votes(one, 1), 2):
                turned = [Vote(v.verdict.swapped(), "", v.completion) for v in exchanged]
                credits.append(credit([*given, *turned], right(one, 0)))
        assert swapped_majority(pool, 4)[0, row] == pytest.approx(np.mean(credits))


def test_the_whole_pool_votes_as_a_judge_would(pool: Pool) -> None:
    for row, one in enumerate(LINES):
        for order in range(2):
            judged = decide(votes(one, order), weighted=True).verdict
            assert weighted_majority(pool)[0, row, order] == (judged is right(one, order))


def test_early_stopping_takes_what_was_said_three_times(pool: Pool) -> None:
    accuracy, drawn = early_stopping(pool)
    assert accuracy[0, 2].tolist() == [0, 0] and drawn[0, 2].tolist() == [3, 3]
    assert accuracy[0, 0, 1] == 1 and drawn[0, 0, 1] == 3
    assert 3 < drawn[0, 0, 0] < 5 and drawn[0, 1, 0] == 5
    assert accuracy[0, 1, 0] == 0.5, "two votes for each, one abstains"
    assert accuracy[0, 3].tolist() == [0, 1], "nothing was said; one answer has a verdict"


def test_a_way_to_vote_costs_the_answers_that_it_drew(pool: Pool) -> None:
    cost = {name: answers for name, (_, answers) in voting_rows(pool).items()}
    drawn = float(early_stopping(pool)[1].mean())
    assert 3 < drawn < 5 and cost.pop("Early Stopping") == pytest.approx(drawn)
    asked = {"One sampled answer": 1, "Voting@5": 5, "Confidence-Weighted": 5, "Voting@4, half exchanged": 4}
    assert cost == asked


def test_seeds_must_be_about_the_same_pairs(run_root: Path, write_jsonl) -> None:
    for seed, preferred in enumerate((1, 2)):
        folder = run_root / f"records/scaling/vl_rewardbench/stable_reinforce/seed_{seed}"
        write_jsonl(folder / "pool.jsonl", [{**LINES[0], "preferred": preferred}])
    with pytest.raises(ValueError, match=r"seed_0/pool.jsonl, .*seed_1/pool.jsonl are about different pairs"):
        Records.of_run(run_root).pool("vl_rewardbench", "stable_reinforce")
    assert read_pool({}, origin="") is None


def test_one_greedy_answer_stands_beside_the_votes_even_of_fewer_pairs(run_root: Path, write_jsonl) -> None:
    write_jsonl(run_root / "records/scaling/vl_rewardbench/stable_reinforce/seed_0/pool.jsonl", LINES)
    records = Records.of_run(run_root)
    rows = table_12(records).set_index("model")
    numbers = {name.split(": ")[-1]: row["n"] for name, row in rows.iterrows() if row["source"] == "measured"}
    greedy = records.bench("stable_reinforce", "greedy")
    assert greedy and numbers["One greedy answer"] == str(greedy.values.shape[1]) != "4"
    assert numbers["Voting@5"] == numbers["Early Stopping"] == "4"
    for axes in figure_3(records).axes[1:4:2]:
        assert "one greedy answer" in [curve.get_label() for curve in axes.lines], axes.get_title()
