import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.judge.consistency_judges import (
    FlippedConsistencyJudge,
    ModelConsistencyJudge,
    RandomConsistencyJudge,
    ScriptedConsistencyJudge,
    read_opinion,
)
from r1reward.types import Completion, Verdict


@pytest.mark.parametrize(
    ("reasoning", "verdict", "expected"),
    [
        ("ring red : 1 red right . response 1 is better .", Verdict.FIRST, True),
        ("response 1 is better .", Verdict.SECOND, False),
        ("response 1 is better . no : response 2 is better .", Verdict.SECOND, True),
        ("Overall, Response\n2 is clearly better.", Verdict.SECOND, True),
        ("response 2 is not better", Verdict.SECOND, None),
        ("response 12 is better", Verdict.FIRST, None),
        ("both are good", Verdict.FIRST, None),
        ("response 1 is better .", Verdict.UNPARSED, None),
    ],
)
def test_the_last_conclusion_is_compared(reasoning: str, verdict: Verdict, expected: bool | None) -> None:
    assert ScriptedConsistencyJudge().judge([reasoning], [verdict]) == [expected]


@given(st.lists(st.tuples(st.text(), st.sampled_from(list(Verdict)))))
def test_any_text_gives_one_value(items: list[tuple[str, Verdict]]) -> None:
    judged = ScriptedConsistencyJudge().judge([text for text, _ in items], [verdict for _, verdict in items])
    assert len(judged) == len(items) and all(value in (True, False, None) for value in judged)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError):
        ScriptedConsistencyJudge().judge(["response 1 is better"], [])


class ScriptedEngine:
    """Answers a consistency question by comparing its two conclusions, and notes what it was asked."""

    def __init__(self, answers: dict[bool, str]) -> None:
        self.answers, self.asked = answers, []

    def generate(self, requests, sampling, *, progress=None):
        self.asked += [request.text for request in requests]
        said = [
            self.answers[len(set(re.findall(r"response (\d) is", request.text))) == 1] for request in requests
        ]
        return [(Completion(text, (), (), "stop"),) for text in said]


REASONINGS = ["response 1 is better .", "response 2 is better .", "response 1 is better ."]
VERDICTS = [Verdict.FIRST, Verdict.FIRST, Verdict.FIRST]


def test_a_model_is_asked_once_for_each_question() -> None:
    engine = ScriptedEngine({True: "1", False: "Output: 0"})
    judge = ModelConsistencyJudge("mini", engine=engine)
    assert judge.judge(REASONINGS, VERDICTS) == [True, False, True]
    assert judge.judge(REASONINGS[:1], VERDICTS[:1]) == [True]
    assert len(engine.asked) == 2 and all("same ?" in text for text in engine.asked)


@pytest.mark.parametrize(
    ("text", "opinion"),
    [
        ("1", True),
        ("0", False),
        (" Output: 1\n", True),
        ("10", False),
        ("yes", None),
        ("", None),
        ("output:0", False),
    ],
)
def test_opinions_are_read_as_released(text: str, opinion: bool | None) -> None:
    assert read_opinion(text) is opinion


def test_a_quarter_of_the_opinions_is_flipped_and_always_the_same() -> None:
    reasonings = [f"thing {index} . response 1 is better ." for index in range(4000)]
    verdicts = [Verdict.FIRST] * 3000 + [Verdict.UNPARSED] * 1000
    judge = FlippedConsistencyJudge(ScriptedConsistencyJudge(), share=0.25, seed=3)
    opinions = judge.judge(reasonings, verdicts)
    assert abs(opinions[:3000].count(False) / 3000 - 0.25) < 0.03
    assert opinions[3000:] == [None] * 1000
    assert judge.judge(reasonings[::-1], verdicts[::-1]) == opinions[::-1]
    assert (
        FlippedConsistencyJudge(ScriptedConsistencyJudge(), share=0.25, seed=4).judge(reasonings, verdicts)
        != opinions
    )


def test_a_random_judge_is_a_coin_that_remembers() -> None:
    reasonings = [str(index) for index in range(4000)]
    judge = RandomConsistencyJudge(seed=0)
    opinions = judge.judge(reasonings, [Verdict.FIRST] * 4000)
    assert abs(opinions.count(True) / 4000 - 0.5) < 0.03
    assert judge.judge(reasonings, [Verdict.FIRST] * 4000) == opinions
    others = judge.judge(reasonings, [Verdict.SECOND] * 4000)
    alike = sum(one == other for one, other in zip(opinions, others, strict=True))
    assert abs(alike / 4000 - 0.5) < 0.03, "each verdict has a coin of its own"


def test_fingerprints_tell_judges_apart() -> None:
    scripted = ScriptedConsistencyJudge()
    judges = [
        scripted,
        ModelConsistencyJudge("mini"),
        ModelConsistencyJudge("mini", prompt="released"),
        FlippedConsistencyJudge(scripted, share=0.25, seed=0),
        FlippedConsistencyJudge(scripted, share=0.25, seed=1),
        RandomConsistencyJudge(seed=0),
        RandomConsistencyJudge(seed=1),
    ]
    assert len({judge.fingerprint for judge in judges}) == len(judges)
