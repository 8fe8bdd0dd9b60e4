import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.parsing import TAGS, extract_reasoning, find_answer_token, follows_format, parse_verdict
from r1reward.types import Verdict

# Plain random text hardly ever holds a tag; this builds texts of tags, digits and anything else.
texts = st.lists(
    st.one_of(st.sampled_from([*TAGS, "1", "2", " ", "\n", "<", "response 1 is better"]), st.text(max_size=8))
).map("".join)
any_text = st.one_of(texts, st.text(st.characters(exclude_categories=())))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("<think>a</think><answer>1</answer>", Verdict.FIRST),
        ("<think>a</think><answer>2</answer>", Verdict.SECOND),
        ("<think>a</think>\n<answer> 2\n</answer> ", Verdict.SECOND),
        ("<answer>1</answer>", Verdict.FIRST),
        ("<think>first <answer>1</answer></think><answer>2</answer>", Verdict.SECOND),
        ("<think>a</think><answer>1</answer><answer>1</answer>", Verdict.FIRST),
        ("<think>a</think><answer>1</answer><answer>2</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>1</answer><answer>both</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>1/2</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>2.0</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>12</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>0</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>\uff11</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>\u00b2</answer>", Verdict.UNPARSED),
        ("<think>a</think><answer></answer>", Verdict.UNPARSED),
        ("<think>a</think><answer>1", Verdict.UNPARSED),
        ("<think>a</think>1</answer>", Verdict.UNPARSED),
        ("<think>a</think><ANSWER>1</ANSWER>", Verdict.UNPARSED),
        ("<think><answer>1</answer></think>", Verdict.UNPARSED),
        ("response 1 is better", Verdict.UNPARSED),
        ("1", Verdict.UNPARSED),
        ("", Verdict.UNPARSED),
    ],
)
def test_verdict(text: str, verdict: Verdict) -> None:
    assert parse_verdict(text) is verdict


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("<think> green is right </think><answer>1</answer>", "green is right"),
        ("<think>a\nb</think><answer>1</answer>", "a\nb"),
        ("<think>cut off in the mid", "cut off in the mid"),
        ("<think>never closed<answer>1</answer>", "never closed"),
        ("no tags at all", "no tags at all"),
        ("no opening</think><answer>1</answer>", "no opening"),
        ("only an answer <answer>1</answer>", "only an answer"),
        ("before <think>inside</think>", "inside"),
        ("<think></think><answer>1</answer>", ""),
        ("", ""),
    ],
)
def test_reasoning(text: str, reasoning: str) -> None:
    assert extract_reasoning(text) == reasoning


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("<think>a</think><answer>1</answer>", True),
        ("<think>a\n\nb</think><answer>2</answer>", True),
        ("\n<think>a</think><answer>2</answer>\n", True),
        ("<think></think><answer>1</answer>", True),
        ("<think>a</think> <answer>1</answer>", False),
        ("<think>a</think>\n<answer>1</answer>", False),
        ("<think>a</think><answer> 1</answer>", False),
        ("<think>a</think><answer>3</answer>", False),
        ("<think>a</think><answer>1/2</answer>", False),
        ("<think>a</think><answer></answer>", False),
        ("<think>a</think><answer>1</answer>.", False),
        ("Well: <think>a</think><answer>1</answer>", False),
        ("<think>a</think><answer>1</answer><answer>1</answer>", False),
        ("<think>a<think>b</think><answer>1</answer>", False),
        ("<think>a</think>b</think><answer>1</answer>", False),
        ("<think>see </answer></think><answer>1</answer>", False),
        ("<think>a<answer>1</answer>", False),
        ("<answer>1</answer><think>a</think>", False),
        ("<answer>1</answer>", False),
        ("", False),
    ],
)
def test_format(text: str, follows: bool) -> None:
    assert follows_format(text) is follows


@given(any_text)
def test_no_text_raises(text: str) -> None:
    assert isinstance(parse_verdict(text), Verdict)
    assert isinstance(extract_reasoning(text), str)
    assert isinstance(follows_format(text), bool)


@given(texts)
def test_what_follows_the_format_can_be_read(text: str) -> None:
    if follows_format(text):
        assert parse_verdict(text) is not Verdict.UNPARSED


@given(st.text().filter(lambda text: not any(tag in text for tag in TAGS)), st.sampled_from("12"))
def test_well_formed_answers_are_read_back(reasoning: str, digit: str) -> None:
    text = f"<think>{reasoning}</think><answer>{digit}</answer>"
    assert follows_format(text)
    assert parse_verdict(text) == digit
    assert extract_reasoning(text) == reasoning.strip()


def test_a_long_text_of_open_tags_is_read_in_one_pass() -> None:
    assert parse_verdict("<answer>" * 200_000) is Verdict.UNPARSED
    assert not follows_format("<think>" * 200_000)
    assert parse_verdict("<answer>" * 200_000 + "1</answer>") is Verdict.FIRST


@pytest.mark.parametrize(
    ("tokens", "place"),
    [
        (["<think>", "1", "</think>", "<answer>", "2", "</answer>", "<|im_end|>"], 4),
        (["<thi", "nk>a</think><ans", "wer> ", "1</answer>"], 3),
        (["<answer>", "1", "</answer>", "</think>", "<answer>", "2", "</answer>"], 5),
        (["<answer>", "1", "</answer>", "<answer>", "1", "</answer>"], 4),
        (["<think>", "1", "</think>", "2"], None),
        (["<answer>", "three", "</answer>", "1"], None),
        ([], None),
    ],
)
def test_the_token_of_the_answer(tokens, place):
    assert find_answer_token(tokens) == place


def test_the_answer_token_is_that_of_the_verdict() -> None:
    assert find_answer_token(["<answer>", "1", "</answer>", "<answer>", "2"]) == 1
