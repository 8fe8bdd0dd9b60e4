"""Votes by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.judge.voting import decide
from r1reward.types import Completion, Verdict, Vote

FIRST, SECOND, UNPARSED = Verdict.FIRST, Verdict.SECOND, Verdict.UNPARSED


def vote(verdict: Verdict, probability: float | None = None) -> Vote:
    return Vote(verdict, f"{verdict} {probability}", Completion("", (), (), "stop"), probability)


def test_the_majority_decides_and_probability_only_breaks_ties() -> None:
    votes = [vote(FIRST, 0.51), vote(FIRST, 0.52), vote(SECOND, 0.99)]
    judged = decide(votes)
    assert (judged.verdict, judged.reasoning) == (FIRST, "1 0.52")
    assert judged.confidence == pytest.approx((0.51 + 0.52 + 0.01) / 3)
    assert decide(votes[1:]).verdict is SECOND
    assert judged.votes == tuple(votes)


def test_weights_overrule_numbers() -> None:
    votes = [vote(FIRST, 0.5), vote(FIRST, 0.45), vote(SECOND, 0.99)]
    assert decide(votes, weighted=True).verdict is SECOND
    assert decide(votes).verdict is FIRST


def test_without_a_difference_there_is_no_verdict() -> None:
    assert decide([vote(FIRST), vote(SECOND)]).verdict is UNPARSED
    assert decide([vote(UNPARSED), vote(UNPARSED)]).verdict is UNPARSED
    assert decide([]).verdict is UNPARSED
    judged = decide([vote(UNPARSED), vote(SECOND, 0.8)])
    assert (judged.verdict, judged.confidence) == (SECOND, pytest.approx(0.4))


def test_the_reasoning_is_of_a_vote_that_saw_the_given_order_if_there_is_one() -> None:
    seen, turned = vote(FIRST, 0.6), replace(vote(FIRST, 0.9), reasoning="response 2 is better", swapped=True)
    judged = decide([turned, seen])
    assert (judged.reasoning, judged.swapped) == (seen.reasoning, False)
    assert decide([turned, vote(UNPARSED)]).swapped


@given(
    st.lists(st.builds(vote, st.sampled_from(Verdict), st.none() | st.floats(0, 1)), max_size=8),
    st.booleans(),
    st.randoms(),
)
def test_order_and_names_do_not_matter(votes: list[Vote], weighted: bool, random) -> None:
    judged = decide(votes, weighted=weighted)
    assert 0 <= judged.confidence <= 1 + 1e-9
    turned = [Vote(v.verdict.swapped(), v.reasoning, v.completion, v.probability) for v in votes]
    assert decide(turned, weighted=weighted).verdict is judged.verdict.swapped()
    if not weighted and len({v.probability for v in votes}) <= 1:
        random.shuffle(votes)
        assert decide(votes).verdict is judged.verdict
