"""Questions, answers and reasoning of the mini world agree with each other and hide no shortcut."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.mini.tasks import (
    TASKS,
    moves_from,
    plural,
    read_claims,
    write_answer,
    write_question,
    write_reasoning,
)

PICTURE_ONLY = [name for name in TASKS if name != "secret"]


@given(st.sampled_from(sorted(TASKS)), st.integers(0, 2**32))
def test_claims_are_read_back_from_answers(task, seed):
    case = TASKS[task](np.random.default_rng(seed))
    right, wrong = case.right_values(), list(case.wrong)
    assert read_claims(task, case.answer(right)) == right
    assert read_claims(task, case.answer(wrong)) == wrong
    assert all(a != b for a, b in zip(right, wrong, strict=True))


@given(st.sampled_from(sorted(TASKS)), st.integers(0, 2**32))
def test_reasoning_prefers_the_right_response_in_either_place(task, seed):
    case = TASKS[task](np.random.default_rng(seed))
    right, wrong = case.right_values(), list(case.wrong)
    assert write_reasoning(case.facts, right, wrong, tie=2)[1] == 1
    assert write_reasoning(case.facts, wrong, right, tie=1)[1] == 2
    text, position = write_reasoning(case.facts, right, right, tie=2)
    assert position == 2 and text.endswith("response 2 is better .")


@pytest.mark.parametrize("task", PICTURE_ONLY)
def test_right_and_wrong_are_exchangeable(task):
    """Over many cases each (right, wrong) answer is as frequent as its mirror image."""
    rng = np.random.default_rng(0)
    counts = Counter()
    for _ in range(4000):
        case = TASKS[task](rng)
        counts[case.right_values()[0], case.wrong[0]] += 1
    both = {tuple(sorted(pair)) for pair in counts}
    first = sum(counts[a, b] for a, b in both)
    assert abs(first / 4000 - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_counts_are_uniform():
    rng = np.random.default_rng(0)
    counts = Counter(TASKS["count"](rng).right_values()[0] for _ in range(6000))
    assert set(counts) == {"1", "2", "3", "4", "5", "6"}
    assert max(abs(n / 6000 - 1 / 6) for n in counts.values()) < 0.025


def test_the_picture_shows_what_the_facts_say():
    rng = np.random.default_rng(1)
    for _ in range(200):
        case = TASKS["count"](rng)
        ((subject, value),) = case.facts
        assert sum(plural(item.name) == subject for _, item in case.scenes[0].items) == int(value)
        case = TASKS["existence"](rng)
        ((subject, value),) = case.facts
        shown = {f"{item.colour} {item.name}" for _, item in case.scenes[0].items}
        assert (subject in shown) == (value == "yes")
        case = TASKS["sum"](rng)
        words = case.facts[0][1].split()
        assert sorted(item.name for _, item in case.scenes[0].items) == sorted([words[0], words[2]])
        assert int(words[0]) + int(words[2]) == int(words[-1])


def test_motion_goes_where_it_says():
    rng = np.random.default_rng(2)
    steps = {"left": -1, "right": 1, "up": -3, "down": 3}
    for _ in range(200):
        case = TASKS["motion"](rng)
        ((start, _),), ((end, _),) = (scene.items for scene in case.scenes)
        words = case.facts[0][1].split()
        assert end - start == steps[words[-1]]
        assert words == ["from", str(start + 1), "to", str(end + 1), "is", words[-1]]


def test_moves_stay_on_the_grid():
    assert moves_from(4) == {"left": 3, "right": 5, "up": 1, "down": 7}
    assert moves_from(0) == {"right": 1, "down": 3}
    assert moves_from(8) == {"left": 7, "up": 5}


def test_plurals():
    assert [plural(shape) for shape in ("circle", "cross", "star")] == ["circles", "crosses", "stars"]


def test_unknown_task_is_refused():
    with pytest.raises(ValueError, match="unknown task"):
        write_question("nothing", [])
    with pytest.raises(ValueError, match="unknown task"):
        write_answer("nothing", ["x"], ["y"])
