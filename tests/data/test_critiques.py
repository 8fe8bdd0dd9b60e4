"""What a critique of one response says, and that it does not tell the verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.data.critiques import split_critiques
from r1reward.mini.tasks import TASKS, write_reasoning

PROSE = """The picture shows a red ring on a table. It is large.

**Response 1:** It says that the ring is red. This is correct.
**Response 2:** It says "blue", which is wrong. It also invents a cat.

Response 1 is better. Both responses are short, but Response 1 is right and Response 2 is wrong."""


def answer(text: str, verdict: int = 1) -> str:
    return f"<think>{text}</think><answer>{verdict}</answer>"


def test_prose_is_split_by_the_response_it_is_about() -> None:
    critiques = split_critiques(answer(PROSE))
    common = "The picture shows a red ring on a table. It is large."
    assert critiques.split
    assert critiques.texts == (
        f"{common} **The response:** It says that the ring is red. This is correct.",
        f'{common} **The response:** It says "blue", which is wrong. It also invents a cat.',
    )


def test_a_row_of_the_mini_world_is_split_in_two() -> None:
    text = "ring red : 1 red right , 2 blue wrong . sum 2 plus 3 is 5 : 1 4 wrong , 2 5 right ."
    critiques = split_critiques(answer(f"{text} response 2 is better ."))
    assert critiques.split
    assert critiques.texts == (
        "ring red : red right . sum 2 plus 3 is 5 : 4 wrong .",
        "ring red : blue wrong . sum 2 plus 3 is 5 : 5 right .",
    )


@given(st.sampled_from(sorted(TASKS)), st.integers(0, 2**32))
def test_every_task_of_the_mini_world_splits_and_exchanging_responses_exchanges_critiques(task, seed) -> None:
    case = TASKS[task](np.random.default_rng(seed))
    right, wrong = case.right_values(), list(case.wrong)
    given_order = split_critiques(answer(write_reasoning(case.facts, right, wrong, tie=1)[0]))
    swapped = split_critiques(answer(write_reasoning(case.facts, wrong, right, tie=1)[0]))
    assert given_order.split and given_order.texts == swapped.texts[::-1]
    assert "wrong" not in given_order.texts[0] and given_order.texts[1].count("wrong") == len(case.facts)
    assert all("better" not in text and "response" not in text for text in given_order.texts)


@pytest.mark.parametrize(
    "text",
    ["The ring is red.", "Response 1 is right.", "Response 1 is better than Response 2.", ""],
)
def test_reasoning_that_is_silent_about_a_response_is_left_whole_for_both(text: str) -> None:
    critiques = split_critiques(answer(text))
    assert not critiques.split and critiques.texts == (text, text)
