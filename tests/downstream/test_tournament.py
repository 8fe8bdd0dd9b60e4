"""Scores of a tournament by hand, as properties, and through the RL loop's task."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.downstream.questions import Question
from r1reward.downstream.tournament import TOURNAMENTS, TournamentTask, hold_tournaments, tournament_scores
from r1reward.types import Comparison, Completion, Judgment, Trajectory, Verdict

ITEM = Question("what ?", ("a.png",), label="q")


def judge_by(better: Callable[[str, str], Verdict]) -> Callable[[list[Comparison]], list[Judgment]]:
    return lambda asked: [Judgment(better(*one.responses), 1.0, "", ()) for one in asked]


def longer(first: str, second: str) -> Verdict:
    return Verdict.FIRST if len(first) > len(second) else Verdict.SECOND


def test_the_better_answer_wins_all_and_the_worst_none() -> None:
    (scores,) = tournament_scores([(ITEM, ["aa", "a", "aaaa", "aaa"])], judge_by(longer))
    assert scores.tolist() == [1, 0, 3, 2]


def test_always_the_first_is_worth_nothing() -> None:
    (scores,) = tournament_scores([(ITEM, list("abcdefgh"))], judge_by(lambda *_: Verdict.FIRST))
    assert scores.tolist() == [3.5] * 8


@given(
    st.lists(st.sampled_from("abcdef"), min_size=8, max_size=8),
    st.dictionaries(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), st.sampled_from(Verdict)
    ),
)
def test_eight_scores_sum_to_28_whatever_the_judge_says(answers: list[str], said: dict) -> None:
    (scores,) = tournament_scores([(ITEM, answers)], judge_by(lambda *two: said.get(two, Verdict.UNPARSED)))
    assert scores.sum() == pytest.approx(28)
    assert scores.min() >= 0 and scores.max() <= 7
    by_text = {
        text: {score for one, score in zip(answers, scores, strict=True) if one == text} for text in answers
    }
    assert all(len(found) == 1 for found in by_text.values()), "equal answers have equal scores"


def test_each_pair_is_asked_once_in_each_order_and_everything_in_one_call() -> None:
    calls: list[list[Comparison]] = []

    def compare(asked: list[Comparison]) -> list[Judgment]:
        calls.append(asked)
        return judge_by(longer)(asked)

    tournament_scores([(ITEM, ["a", "bb", "a"]), (ITEM, ["a", "ccc"])], compare)
    (asked,) = calls
    assert sorted(one.responses for one in asked) == [("a", "bb"), ("a", "ccc"), ("bb", "a"), ("ccc", "a")]
    assert {one.images for one in asked} == {("a.png",)}
    assert tournament_scores([(ITEM, ["a", "a"])], compare)[0].tolist() == [0.5, 0.5] and len(calls) == 1


@pytest.mark.parametrize("pairing", ["random", "swiss"])
@given(
    answers=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=8),
    rounds=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_in_a_cheaper_tournament_nobody_meets_twice_or_two_in_a_round(pairing, answers, rounds, seed) -> None:
    calls: list[list[Comparison]] = []

    def compare(asked: list[Comparison]) -> list[Judgment]:
        calls.append(asked)
        return judge_by(lambda one, other: Verdict.FIRST if one > other else Verdict.SECOND)(asked)

    (scores,) = tournament_scores([(ITEM, answers)], compare, pairing=pairing, rounds=rounds, seed=seed)
    assert len(calls) <= rounds
    for asked in calls:
        met = [frozenset(one.responses) for one in asked]
        assert all(met.count(two) == 2 for two in met), "both orders"
        assert len({text for two in met for text in two}) == len(asked), "one opponent a round"
    everything = [one.responses for asked in calls for one in asked]
    assert len(set(everything)) == len(everything), "nothing is asked twice"
    assert scores.min() >= 0 and scores.max() <= len(answers) - 1


def rounds_of(answers: list[str], **how: Any) -> tuple[list[list[tuple[str, str]]], list[float]]:
    """Who met in each round, shown first and second, and the scores where the longer answer wins."""
    calls: list[list[tuple[str, str]]] = []

    def compare(asked: list[Comparison]) -> list[Judgment]:
        calls.append([one.responses for one in asked])
        return judge_by(longer)(asked)

    (scores,) = tournament_scores([(ITEM, answers)], compare, **how)
    return calls, scores.tolist()


def test_swiss_lets_winners_meet_winners_whatever_is_drawn() -> None:
    answers = ["a" * length for length in range(1, 9)]
    first_rounds = set()
    for seed in range(25):
        calls, scores = rounds_of(answers, pairing="swiss", rounds=2, seed=seed)
        won = dict.fromkeys(answers, 0)
        for asked in calls:
            assert all(won[one] == won[other] for one, other in asked), "equals meet"
            for one, other in asked[::2]:
                won[max(one, other, key=len)] += 1
        assert sorted(won.values()) == [0, 0, 1, 1, 1, 1, 2, 2]
        assert scores == pytest.approx([7 * won[answer] / 2 for answer in answers])
        first_rounds.add(tuple(calls[0]))
    assert len(first_rounds) > 15, "the first round is drawn by the seed"


def test_random_opponents_are_drawn_evenly() -> None:
    answers = ["a" * length for length in range(1, 9)]
    met = Counter[str]()
    for seed in range(210):
        calls, _ = rounds_of(answers, pairing="random", rounds=1, seed=seed)
        (asked,) = calls
        met.update(other for one, other in asked if one == "a")
    assert set(met) == set(answers[1:])
    # 210 draws of seven: 30 each, five standard deviations of 5.1 to both sides.
    assert all(5 < count < 55 for count in met.values())


def test_who_was_not_met_counts_like_those_who_were() -> None:
    (scores,) = tournament_scores([(ITEM, ["a", "aa", "aa"])], judge_by(longer), pairing="random")
    assert scores.tolist() == [0, 1.5, 1.5], "half a point for a twin, one for beating the other"
    (scores,) = tournament_scores([(ITEM, ["a", "aa", "aaa"])], judge_by(longer), pairing="random", rounds=1)
    assert sorted(scores) == [0, 1, 2], "who sits out stands in the middle"


def test_cheaper_tournaments_are_held_with_the_verdicts_of_the_full_one() -> None:
    calls: list[list[Comparison]] = []

    def compare(asked: list[Comparison]) -> list[Judgment]:
        calls.append(asked)
        return judge_by(longer)(asked)

    answers = ["a" * length for length in (3, 1, 4, 2, 5, 6, 8, 7)]
    lines = hold_tournaments([(ITEM, ["b", "b"]), (ITEM, answers)], compare)
    assert len(calls) == 1 and len(calls[0]) == 56
    cost = {(line["pairing"], line["rounds"]): line["comparisons"] for line in lines}
    assert cost["all", 1] == 56 and cost["random", 1] == 8 and cost["swiss", 3] == 24
    assert [(line["pairing"], line["rounds"]) for line in lines] == list(TOURNAMENTS)
    assert lines[0]["scores"] == [2, 0, 3, 1, 4, 5, 7, 6]


def test_opponents_of_each_question_are_drawn_anew() -> None:
    answers = ["a" * length for length in range(1, 9)]
    lines = hold_tournaments([(ITEM, answers)] * 6, judge_by(longer))
    for kind, fewest in {("all", 1): 1, ("random", 1): 4, ("swiss", 2): 2}.items():
        found = {str(line["scores"]) for line in lines if (line["pairing"], line["rounds"]) == kind}
        assert len(found) == 1 if kind[0] == "all" else len(found) >= fewest, kind


class Judge:
    name = "longer is better"

    def compare_all(self, asked, *, votes):
        assert votes == 1
        return judge_by(longer)(asked)


def test_the_task_rewards_the_mean_win() -> None:
    task = TournamentTask(Judge())  # type: ignore[arg-type]
    samples = tuple(Completion(text, (1,), (0.0,), "stop") for text in ("a", "aaa", "aa"))
    trajectories = task.score([ITEM], [samples])
    assert [one.reward for one in trajectories] == [0.0, 1.0, 0.5]
    assert [one.completion.text for one in trajectories] == ["a", "aaa", "aa"]
    assert task.request(ITEM).images == ("a.png",) and task.fingerprint == "longer is better"
    assert task.metrics(trajectories) == {"distinct_share": 1.0, "reference_share": 0.0}
    assert np.isclose(sum(one.reward for one in trajectories), 1.5)
    cheaper = TournamentTask(Judge(), "swiss", 1)  # type: ignore[arg-type]
    assert sorted(one.reward for one in cheaper.score([ITEM], [samples])) == [0.0, 0.5, 1.0]
    assert cheaper.fingerprint == "longer is better swiss 1"


def test_the_metrics_say_how_often_the_reference_answer_wins() -> None:
    def rewarded(label: str, answer: str, **rewards: float) -> list[Trajectory]:
        item = Question("what ?", ("a.png",), answer, label=label)
        return [Trajectory(item, Completion(text, (1,), (0.0,), "stop"), r) for text, r in rewards.items()]

    first = rewarded("one", "right ", right=0.5, equal=0.5, lower=0.2, higher=0.8)
    others = rewarded("two", "right", all=0.5, wrong=0.5) + rewarded("three", "", no=1.0, reference=0.0)
    found = TournamentTask(Judge()).metrics([*first, *others])  # type: ignore[arg-type]
    expected = {"distinct_share": 1.0, "reference_share": 1 / 8, "reference_above_share": 0.5}
    assert found == pytest.approx(expected)
