import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.judge.consistency import ScriptedConsistencyJudge
from r1reward.types import Verdict


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
